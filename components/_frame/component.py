"""The frame of every component: flags from `run`'s arguments, locks, exit codes."""

from __future__ import annotations

import argparse
import errno
import re
import sys
import typing
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, NoReturn

from components._frame.exit_codes import (
    BAD_DATA,
    BAD_PARAMETERS,
    BUG,
    GATE_NOT_PASSED,
    OK,
    TEMPORARY,
    GateNotPassed,
    TemporaryError,
)
from components._frame.files import locked
from components._frame.params import load_params
from longtail.errors import DataError, ParameterError

Input = Annotated[Path, "input"]
Output = Annotated[Path, "output"]


def stage_name(run: Callable[..., None]) -> str:
    """The stage that `run` belongs to: the name of its file."""
    return Path(run.__code__.co_filename).stem


def paths_of(run: Callable[..., None], kind: str) -> list[str]:
    """Names of `run`'s arguments that are paths of the given kind (`input` or `output`)."""
    hints = typing.get_type_hints(run, include_extras=True)
    return [name for name, hint in hints.items() if kind in getattr(hint, "__metadata__", ())]


def _parse(run: Callable[..., None], argv: list[str] | None) -> dict[str, Path]:
    module = sys.modules[run.__module__]
    parser = argparse.ArgumentParser(
        prog=f"python -m components.{stage_name(run)}", description=module.__doc__
    )
    for kind in ("input", "output"):
        for name in paths_of(run, kind):
            flag = "--" + name.replace("_", "-")
            parser.add_argument(flag, type=Path, required=True, metavar="PATH", help=kind)
    return vars(parser.parse_args(argv))


def _run_stage(run: Callable[..., None], argv: list[str] | None) -> None:
    paths = _parse(run, argv)
    model = typing.get_type_hints(run)["params"]
    params = load_params(stage_name(run), model)
    for name in paths_of(run, "input"):
        if not paths[name].exists():
            raise DataError(
                f"--{name.replace('_', '-')}: {paths[name]} does not exist; "
                "run `dvc repro`, which makes every input first."
            )
    with ExitStack() as stack:
        for folder in sorted({paths[name].parent for name in paths_of(run, "output")}):
            stack.enter_context(locked(folder))
        run(**paths, params=params)


def exit_code(error: BaseException) -> int:
    """The exit code that an exception means (see DESIGN: Airflow retries 75 only)."""
    if isinstance(error, ParameterError):
        return BAD_PARAMETERS
    if isinstance(error, DataError):
        return BAD_DATA
    if isinstance(error, GateNotPassed):
        return GATE_NOT_PASSED
    return TEMPORARY if isinstance(error, TemporaryError) or _disk_is_full(error) else BUG


def _disk_is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # numpy's short write and safetensors carry no errno, only these words.
    words = r"No space left on device|\d+ requested and \d+ written"
    return re.search(words, str(error)) is not None


def guarded(name: str, action: Callable[[], None]) -> NoReturn:
    """Run `action`, leave with its exit code; a user's mistake shows no traceback."""
    try:
        action()
    except Exception as error:
        code = exit_code(error)
        if code == BUG:
            raise
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(code)
    sys.exit(OK)


def main(run: Callable[..., None], argv: list[str] | None = None) -> NoReturn:
    """Entry point of a stage: `python -m components.<stage> --flag path …`."""
    guarded(stage_name(run), lambda: _run_stage(run, argv))
