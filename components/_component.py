"""The frame of every component: flags from `run`'s arguments, parameters, locks, exit codes."""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import re
import shutil
import sys
import tempfile
import typing
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from longtail.errors import DataError, ParameterError, unknown_name

OK, BUG, BAD_PARAMETERS, BAD_DATA, GATE_NOT_PASSED, TEMPORARY = 0, 1, 2, 3, 4, 75
PARAMS_FILE = Path("params.yaml")

Input = Annotated[Path, "input"]
Output = Annotated[Path, "output"]


P = TypeVar("P", bound="Section")


class GateNotPassed(Exception):  # noqa: N818 - a decision, not an error
    """The candidate was refused: a result, reported by its own exit code."""


class TemporaryError(Exception):
    """Something outside is away for now (tracking server, disk space): trying again may help."""


class Section(BaseModel):
    """Base of every `Params`: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def stage_name(run: Callable[..., None]) -> str:
    """The stage that `run` belongs to: the name of its file."""
    return Path(run.__code__.co_filename).stem


def paths_of(run: Callable[..., None], kind: str) -> list[str]:
    """Names of `run`'s arguments that are paths of the given kind (`input` or `output`)."""
    hints = typing.get_type_hints(run, include_extras=True)
    return [name for name, hint in hints.items() if kind in getattr(hint, "__metadata__", ())]


def load_params(stage: str, model: type[P], path: Path = PARAMS_FILE) -> P:
    """The stage's section of `params.yaml`, validated; every wrong value is reported at once."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(
            f"No {path} in {Path.cwd()}; run from the project's root folder."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is not YAML in UTF-8: {error}") from None
    if not isinstance(document, dict) or stage not in document:
        raise ParameterError(f"{path} has no section {stage!r}; add it (it may be empty: {{}}).")
    try:
        return model.model_validate({} if document[stage] is None else document[stage])
    except ValidationError as error:
        raise ParameterError(_explain(stage, path, model, error)) from None


def _explain(stage: str, path: Path, model: type[Section], error: ValidationError) -> str:
    lines = [f"{path} has {error.error_count()} wrong value(s):"]
    for item in error.errors():
        where = ".".join(str(part) for part in (stage, *item["loc"]))
        got = "" if item["type"] == "missing" else f" (got {item['input']!r})"
        said = item["msg"]
        if item["type"] == "extra_forbidden":
            said = str(unknown_name("parameter", str(item["loc"][-1]), _names(model, item["loc"])))
        lines.append(f"  {where}: {said}{got}")
    return "\n".join(lines)


def _names(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The fields that are valid beside the unknown one at `loc`."""
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return list(model.model_fields)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` (file or folder) that replaces it only on success."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        temporary = scratch / path.name
        yield temporary
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on `folder` itself, so that an orphaned run cannot mix its outputs."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{folder}: another run is writing here; waiting for it.", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


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
