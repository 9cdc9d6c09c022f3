"""Runs a stage: turns `run`'s arguments into flags, checks inputs, locks outputs, prints a line."""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Annotated, NoReturn

import click

from components._frame.files import locked
from components._frame.launch import CONTEXT, launch
from components._frame.params import Section, load_sections
from components._frame.pipeline import DVC_YAML, SHARED, load_stages, overlap
from components._frame.ranks import joined, n_nodes, n_ranks, one_voice, rank, run_in_ranks
from components._frame.usage import measured
from longtail.errors import DataError, ParameterError

Input = Annotated[Path, "input"]
Output = Annotated[Path, "output"]


def stage_name(run: Callable[..., str]) -> str:
    """The name of the stage that `run` belongs to, which is the name of its file."""
    return Path(run.__code__.co_filename).stem


def paths_of(run: Callable[..., str], kind: str) -> list[str]:
    """Names of `run`'s arguments that are paths of the given kind (`input` or `output`)."""
    hints = typing.get_type_hints(run, include_extras=True)
    return [name for name, hint in hints.items() if kind in getattr(hint, "__metadata__", ())]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def stage_command(run: Callable[..., str]) -> click.Command:
    """The command line of a stage: one required flag per input and output."""
    options = [
        click.Option([_flag(name), name], type=Path, required=True, metavar="PATH", help=kind)
        for kind in ("input", "output")
        for name in paths_of(run, kind)
    ]
    return click.Command(
        stage_name(run),
        CONTEXT,
        callback=lambda **paths: _run_stage(run, paths),
        params=list(options),
        help=sys.modules[run.__module__].__doc__,
    )


def sections_of(run: Callable[..., str]) -> dict[str, tuple[str, type[Section]]]:
    """Arguments of `run` that are parameters: the section of `params.yaml` and its model.

    `params` is the stage's own section; any other is the section of the argument's name.
    """
    hints = typing.get_type_hints(run)
    return {
        name: (stage_name(run) if name == "params" else name, hint)
        for name, hint in hints.items()
        if isinstance(hint, type) and issubclass(hint, Section)
    }


@one_voice()
def _run_stage(run: Callable[..., str], paths: dict[str, Path]) -> None:
    params = load_sections(sections_of(run))
    for name in paths_of(run, "input"):
        if not paths[name].exists():
            raise DataError(
                f"{_flag(name)}: {paths[name]} does not exist; "
                "run `dvc repro`, which creates all inputs."
            )
    outputs = [paths[name] for name in paths_of(run, "output")]
    stage = stage_name(run)
    together = max(n_ranks(), n_nodes())
    if together > 1 and stage not in SHARED:
        raise ParameterError(
            f"{stage} was started in {together} processes, but only {', '.join(SHARED)} shares "
            "its work; start it in one."
        )
    n = _processes(stage)
    if "RANK" not in os.environ and max(n, together) > 1:
        flags = [word for name, path in paths.items() for word in (_flag(name), str(path))]
        run_in_ranks(n, f"components.{stage}", flags)  # each comes back here
        return
    _check_folders(outputs)
    with ExitStack() as stack:
        if rank() == 0:
            for folder in sorted({path.parent for path in outputs}):
                stack.enter_context(locked(folder))
            stack.enter_context(measured(stage, outputs))
        stack.enter_context(joined(stage))
        print(f"{stage}: {run(**paths, **params)}")


def _processes(stage: str) -> int:
    """In how many processes `meta` in dvc.yaml has the stage run; 1 without that file."""
    if stage not in SHARED or not DVC_YAML.exists():
        return 1
    return next((row.processes for row in load_stages() if row.name == stage), 1)


def _check_folders(outputs: Iterable[Path]) -> None:
    """Check that no output replaces a folder of the user's own, or another output.

    Folders of earlier runs are replaced where `dvc.yaml` says that the pipeline writes them.

    Raises:
        DataError: one would, or one output is another one or inside it.
    """
    places = [_place(path) for path in outputs]
    for a, b in combinations(places, 2):
        if overlap(str(a), str(b)):
            raise DataError(
                f"Two outputs are {a} and {b}, so one would replace the other; pass two paths. "
                "Nothing was written."
            )
    try:
        filled = [path for path in places if path.is_dir() and any(path.iterdir())]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be written: {error.strerror}.") from None
    if not filled:
        return
    stages = load_stages() if DVC_YAML.exists() else []
    written = {_place(Path(out)) for stage in stages for out in stage.outs}
    for path in filled:
        if path not in written:
            raise DataError(
                f"{path} is a folder with files, and {DVC_YAML} does not name it as an output; "
                "pass a new path, or delete the folder first. Nothing was written."
            )


def _place(path: Path) -> Path:
    """Where the path is, whatever links lead there; a link at its end is itself replaced."""
    return path.parent.resolve() / path.name


def main(run: Callable[..., str], argv: list[str] | None = None) -> NoReturn:
    """Entry point of a stage: `python -m components.<stage> --flag path …`.

    Args:
        run: does the work and returns what it found, in one line without the stage's name.
        argv: the command line; None takes that of the process.
    """
    launch(stage_command(run), argv)
