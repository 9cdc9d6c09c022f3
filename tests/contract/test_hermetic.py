"""Each stage reads only what it declares, writes exactly what it declares, twice the same bytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components._frame.pipeline import load_stages
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


@pytest.mark.timeout(1200)
def test_stages_are_hermetic_and_reproducible(project: Path, tmp_path: Path) -> None:
    for stage in STAGES:
        first = run_alone(stage, project, tmp_path / stage.name, tmp_path / "cache1")
        undeclared = [
            name
            for name in first
            if not any(name == out or name.startswith(f"{out}/") for out in stage.outs)
        ]
        assert not undeclared, f"{stage.name} wrote what it does not declare: {undeclared}"
        for out in stage.outs:
            assert (tmp_path / stage.name / out).exists(), f"{stage.name} did not write {out}"
            copy(tmp_path / stage.name / out, project / out)
        # The second time in another folder and without the first one's cache.
        second = run_alone(
            stage, project, tmp_path / f"{stage.name}2", tmp_path / "cache2", tmp_path / stage.name
        )
        changed = sorted(name for name in first if first[name] != second.get(name))
        assert not changed, f"{stage.name}: other bytes the second time: {changed}"
        # A workspace's files are links into DVC's cache, which a write in place would spoil.
        kept = [path for out in stage.outs for path in files_below(tmp_path / stage.name / out)]
        spoiled = [str(path) for path in kept if path.stat().st_nlink > 1]
        assert not spoiled, f"{stage.name} did not move whole files into place: {spoiled}"
