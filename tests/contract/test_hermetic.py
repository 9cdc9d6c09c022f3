"""Each stage reads only what it declares, writes exactly what it declares, twice the same bytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components._frame.pipeline import Stage, load_stages
from tests.builders.import_closure import is_code
from tests.builders.paths import ROOT
from tests.builders.small_project import environment, files_in, make_project

STAGES = load_stages(ROOT / "dvc.yaml")


def copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, to, dirs_exist_ok=True)
    else:
        shutil.copy(source, to)


def run_alone(
    stage, inputs_from: Path, folder: Path, cache: Path, linked: Path | None = None
) -> dict[str, str]:
    """Run `stage` in an empty folder with its declared inputs; return the files it left.

    With `linked`, links to the outputs there are in place already, as in a workspace of a night.
    """
    # dvc.yaml says which folders are the pipeline's to replace; no output depends on it.
    inputs = ["params.yaml", "dvc.yaml", *(dep for dep in stage.deps if not is_code(dep))]
    for name in inputs:
        copy(inputs_from / name, folder / name)
    before = files_in(folder)
    for out in stage.outs if linked else ():
        for path in files_below(linked / out):
            place = folder / path.relative_to(linked)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(path)
    done = subprocess.run(
        [sys.executable, *stage.argv[1:]],
        cwd=folder,
        env=environment(cache),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{stage.name}:\n{done.stderr[-3000:]}"
    after = files_in(folder)
    assert before.items() <= after.items(), f"{stage.name} changed one of its inputs"
    after.pop(f"reports/usage/{stage.name}.json")  # no output: it differs between runs
    return {name: digest for name, digest in after.items() if name not in before}


def files_below(path: Path) -> list[Path]:
    return [file for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("hermetic") / "project")


@pytest.fixture(scope="module")
def first(project: Path) -> dict[str, dict[str, str]]:
    """What each stage wrote in a folder with its inputs alone; the next stages read its outputs."""
    found = {}
    for stage in STAGES:
        folder = project.parent / stage.name
        found[stage.name] = run_alone(stage, project, folder, project.parent / "cache1")
        for out in stage.outs:
            assert (folder / out).exists(), f"{stage.name} did not write {out}"
            copy(folder / out, project / out)
    return found


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_reads_and_writes_what_it_declares(stage: Stage, first: dict) -> None:
    undeclared = [
        name
        for name in first[stage.name]
        if not any(name == out or name.startswith(f"{out}/") for out in stage.outs)
    ]
    assert not undeclared, f"wrote what it does not declare: {undeclared}"


@pytest.mark.beyond_gate
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_writes_the_same_bytes_again(
    stage: Stage, project: Path, first: dict, tmp_path: Path
) -> None:
    """In another folder, without the first one's cache, over links to the first one's outputs."""
    before = project.parent / stage.name
    written = {
        path: path.stat().st_mtime_ns for out in stage.outs for path in files_below(before / out)
    }
    second = run_alone(stage, project, tmp_path / "again", project.parent / "cache2", before)
    changed = sorted(
        name for name, digest in first[stage.name].items() if digest != second.get(name)
    )
    assert not changed, f"other bytes the second time: {changed}"
    # A workspace's files are links into DVC's cache, which a write in place would spoil.
    spoiled = [str(path) for path, time in written.items() if path.stat().st_mtime_ns != time]
    assert not spoiled, f"did not move whole files into place: {spoiled}"
