"""Runs a command: a user error becomes one sentence and an exit code, a bug a traceback."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from components._frame.exit_codes import (
    BAD_DATA,
    BAD_PARAMETERS,
    BUG,
    GATE_NOT_PASSED,
    OK,
    TEMPORARY,
    GateNotPassed,
    ProjectError,
    TemporaryError,
)
from longtail.errors import DataError, ParameterError

INTERRUPTED = 130  # as shells report Ctrl-C

# The settings that all command lines of the project share.
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def exit_code(error: BaseException) -> int:
    """The exit code for an exception; orchestrators retry only 75."""
    if isinstance(error, (ParameterError, ProjectError)):
        return BAD_PARAMETERS
    if isinstance(error, DataError):
        return BAD_DATA
    if isinstance(error, GateNotPassed):
        return GATE_NOT_PASSED
    return TEMPORARY if isinstance(error, TemporaryError) or _disk_is_full(error) else BUG


def _disk_is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # A short write in numpy and an error of safetensors have no errno, only a message.
    message = r"No space left on device|\d+ requested and \d+ written"
    return re.search(message, str(error)) is not None


def guarded(name: str, action: Callable[[], Any]) -> NoReturn:
    """Run `action` and exit with its code; a user error prints no traceback."""
    try:
        action()
    except click.ClickException as error:
        error.show()
        sys.exit(BAD_PARAMETERS)
    except (click.Abort, KeyboardInterrupt):
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        code = exit_code(error)
        if code == BUG:
            raise
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(code)
    sys.exit(OK)


def launch(command: click.Command, argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `python -m components.<command>`."""
    name = str(command.name)
    arguments = list(sys.argv[1:] if argv is None else argv)
    prog = f"python -m components.{name}"
    guarded(name, lambda: command.main(arguments, prog, standalone_mode=False))
