"""Records where a model comes from: the key of its data, code and parameters, and tags."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import yaml

from components._frame.pipeline import load_lock, load_stages, with_upstream

PARAMS = Path("params.yaml")
ROOT = Path(__file__).resolve().parents[2]
SERVING = ROOT / "components" / "_registry" / "serving.py"


def model_key(artifacts: Iterable[Path], *circumstances: str) -> str:
    """The digest of data, code and parameters: the same three give the same key.

    Args:
        artifacts: the model's files; read only without a `dvc.lock`, which otherwise gives the
            sources and parameters of the stages that make the model.
        circumstances: what else makes another version: the training profile, which `auto` takes
            from the machine, and the runtime that the model is exported for.
    """
    made = _from_lock() or [file_digest(path) for path in artifacts] + [params_hash()]
    code = {str(path.relative_to(ROOT)): file_digest(path) for path in serving_code()}
    return _digest([made, code, *circumstances])


def _stages() -> list[str]:
    """The stages that make the model: `thresholds`, and all that it depends on."""
    return [stage.name for stage in with_upstream(load_stages(), "thresholds")]


def _from_lock() -> list[Any] | None:
    table, stages = load_lock(), _stages()
    if any(stage not in table for stage in stages):
        return None
    made = {out["path"] for row in table.values() for out in row.get("outs", ())}
    return [
        [
            stage,
            table[stage]["cmd"],
            sorted((d["path"], d["md5"]) for d in table[stage]["deps"] if d["path"] not in made),
            table[stage].get("params", {}),
        ]
        for stage in stages
    ]


def params_hash() -> str:
    """The digest of the parameters of the stages that make the model."""
    document = yaml.safe_load(PARAMS.read_text(encoding="utf-8")) or {}
    return _digest({stage: document.get(stage) for stage in _stages()})


def serving_code() -> list[Path]:
    """The project's own modules that the served model imports, sorted."""
    finder = ModuleFinder(path=[str(ROOT)])
    finder.run_script(str(SERVING))
    found = (getattr(module, "__file__", None) for module in finder.modules.values())
    files = {Path(file) for file in found if file}
    return sorted(files - {SERVING}) + [SERVING]


def pack_code(folder: Path) -> list[str]:
    """Copy the modules that the served model imports to `folder`, and return its packages."""
    for path in serving_code():
        if path == SERVING:
            continue
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return [str(path) for path in sorted(folder.iterdir())]


def origin_tags(assignment: Path) -> dict[str, str]:
    """The tags that say where the version comes from.

    The image is `process` outside containers, the date `manual` outside schedules, and revisions
    are `none` outside git. A container, which has no git, gets them from `LONGTAIL_GIT_COMMIT` and
    `LONGTAIL_DATA_REVISION`.
    """
    environment = os.environ
    commit = environment.get("LONGTAIL_GIT_COMMIT") or _git("rev-parse", "HEAD") or "none"
    revision = environment.get("LONGTAIL_DATA_REVISION") or _git(
        "log", "-1", "--format=%H", "--", "data.dvc"
    )
    return {
        "data_md5": _data_md5(),
        "data_revision": revision or "none",
        "git_commit": commit,
        "split_id": file_digest(assignment),
        "image_digest": environment.get("LONGTAIL_IMAGE_DIGEST") or "process",
        "logical_date": environment.get("LONGTAIL_LOGICAL_DATE") or "manual",
        "params_hash": params_hash(),
    }


def _data_md5() -> str:
    """The MD5 by which DVC tracks `data/`; `none` if it is not tracked."""
    pointer = Path("data.dvc")
    if not pointer.exists():
        return "none"
    outs: list[Mapping[str, str]] = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"]
    return outs[0]["md5"]


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, or of the names and files in a folder."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return _digest([(p.relative_to(path).as_posix(), file_digest(p)) for p in files])
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
