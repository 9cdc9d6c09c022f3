"""Reads `dvc.yaml`, the one table of stages, and `dvc.lock` (stdlib and PyYAML only)."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from components._frame.exit_codes import ProjectError

DVC_YAML, DVC_LOCK = Path("dvc.yaml"), Path("dvc.lock")
# Stages whose work several processes share, if `meta` has more than one GPU or process.
SHARED = ("train",)
# Before a stage that needs a GPU: without one it stops, and nothing is trained on the CPU unseen.
ON_GPU = ("python", "-m", "components._frame.on_gpu")
# Every step reads the table, and the lock is long: in C, they take a tenth of the time.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Stage:
    """One stage of the table: what to run, its input and output files, and its image."""

    name: str
    desc: str
    argv: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    image: str
    upstream: tuple[str, ...]
    meta: dict[str, Any]

    @property
    def minutes(self) -> float:
        """How long an orchestrator lets it run."""
        return float(self.meta.get("minutes", 30))

    @property
    def gpus(self) -> int:
        """How many GPUs the stage needs; `gpu: true` is accepted for `gpus: 1`."""
        return int(self.meta.get("gpus", self.meta.get("gpu", 0)))

    @property
    def processes(self) -> int:
        """How many processes share its work: one per GPU, or as many as `meta` says."""
        return int(self.meta.get("processes", max(1, self.gpus)))

    @property
    def command(self) -> tuple[str, ...]:
        """`argv` as an orchestrator runs it."""
        return (*ON_GPU, str(self.gpus), *self.argv) if self.gpus else self.argv


def load_stages(dvc_yaml: Path = DVC_YAML) -> list[Stage]:
    """The stages of `dvc_yaml` in the order of the file, each with the stages it waits for.

    Raises:
        ProjectError: there is no such file, it has no stages, or one lacks `desc`, `cmd` or
            `meta.image`, or has GPUs or processes that it cannot use.
    """
    try:
        document = yaml.load(dvc_yaml.read_text(encoding="utf-8"), LOADER)
    except FileNotFoundError:
        raise ProjectError(
            f"{dvc_yaml.absolute()} does not exist; run this in the project's root folder."
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProjectError(f"{dvc_yaml} is not YAML: {error}") from None
    table = document.get("stages") if isinstance(document, dict) else None
    if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
        raise ProjectError(f"{dvc_yaml}: expected `stages:` with a mapping for each stage.")
    producers = {out: name for name, row in table.items() for out in _outs(row)}
    return [_stage(name, row, producers) for name, row in table.items()]


def load_lock(dvc_lock: Path = DVC_LOCK) -> dict[str, Any]:
    """What DVC recorded of each stage when it ran; nothing without the file.

    Raises:
        ProjectError: it is no whole lock file. DVC writes it in place, and a kill leaves half.
    """
    try:
        text = dvc_lock.read_text(encoding="utf-8")
        document = yaml.load(text, LOADER) if text.endswith("\n") else None
    except FileNotFoundError:
        return {}
    except (UnicodeDecodeError, yaml.YAMLError):
        document = None
    stages = document.get("stages", {}) if isinstance(document, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(row, dict) for row in stages.values()):
        raise ProjectError(
            f"{dvc_lock.absolute()} is no whole lock file, as after a kill while DVC wrote it; run "
            f"`git checkout {dvc_lock}`, or delete it if git has none, and run this again."
        )
    return stages


def with_upstream(stages: list[Stage], name: str) -> list[Stage]:
    """The stage `name` and every stage that it depends on, in the order of the file."""
    by_name = {stage.name: stage for stage in stages}
    needed, waiting = set(), [name]
    while waiting:
        current = waiting.pop()
        if current not in needed:
            needed.add(current)
            waiting += by_name[current].upstream
    return [stage for stage in stages if stage.name in needed]


def _stage(name: str, row: dict[str, Any], producers: dict[str, str]) -> Stage:
    for key in ("desc", "cmd", "meta"):
        if key not in row:
            raise ProjectError(f"dvc.yaml: stage {name!r} has no {key!r}; add it.")
    if "image" not in row["meta"]:
        raise ProjectError(f"dvc.yaml: stage {name!r} has no 'meta.image'; add it.")
    _check_processes(name, row["meta"])
    deps = tuple(row.get("deps", ()))
    upstream = {
        producer for dep in deps for out, producer in producers.items() if overlap(dep, out)
    }
    return Stage(
        name=name,
        desc=row["desc"],
        argv=tuple(shlex.split(row["cmd"])),
        deps=deps,
        outs=tuple(_outs(row)),
        image=row["meta"]["image"],
        upstream=tuple(sorted(upstream)),
        meta=row["meta"],
    )


def _check_processes(name: str, meta: dict[str, Any]) -> None:
    for key, least in (("gpus", 0), ("processes", 1)):
        value = meta.get(key, least)
        if type(value) is not int or value < least:
            raise ProjectError(
                f"dvc.yaml: stage {name!r} has `{key}: {value}`; expected a number from {least} on."
            )
        if value > 1 and name not in SHARED:
            raise ProjectError(
                f"dvc.yaml: stage {name!r} has `{key}: {value}`, but only {', '.join(SHARED)} "
                f"shares its work among processes; set `{key}: 1`."
            )
    if {"gpus", "processes"} <= meta.keys() and meta["gpus"] != meta["processes"]:
        raise ProjectError(
            f"dvc.yaml: stage {name!r} has both `gpus` and `processes`, which differ; each GPU has "
            "one process, so take `processes` out."
        )


def _outs(row: dict[str, Any]) -> list[str]:
    """Output paths of a row; DVC writes an output as a path or as `{path: options}`."""
    entries = [entry for key in ("outs", "metrics", "plots") for entry in row.get(key, ())]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def overlap(dep: str, out: str) -> bool:
    """Whether the paths are equal or one is inside the other."""
    a, b = _parts(dep), _parts(out)
    both = min(len(a), len(b))
    return a[:both] == b[:both]


@cache  # a table has a thousand dependencies, and each is compared with every output
def _parts(path: str) -> tuple[str, ...]:
    return PurePosixPath(path).parts
