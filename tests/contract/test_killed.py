"""`dvc repro` killed in any stage and started again ends with the files of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components._frame.pipeline import load_stages
from tests.builders.paths import ROOT
from tests.builders.small_project import environment, files_in, make_project

STAGES = [stage.name for stage in load_stages(ROOT / "dvc.yaml")]
DVC = [sys.executable, "-m", "dvc"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def dvc_project(folder: Path) -> Path:
    """A small project with a copy of the code, under DVC without git."""
    make_project(folder)
    for package in ("components", "longtail"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.pyc"))
    for command in (["init", "--no-scm", "-q"], ["add", "-q", "data"]):
        subprocess.run([*DVC, *command], cwd=folder, check=True, capture_output=True)
    return folder


def start(folder: Path, stage: str) -> subprocess.Popen[bytes]:
    env = environment(folder.parent / f"{folder.name}-cache") | {"PYTHONPATH": str(folder)}
    return subprocess.Popen(
        [*DVC, "repro", stage],
        cwd=folder,
        env=env,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def child_running(process: subprocess.Popen[bytes], stage: str) -> bool:
    """Wait until the stage's own process runs; False if `dvc repro` ended before it was seen."""
    while process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                if f"components.{stage}" in child.cmdline():
                    return True
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
    return False


def finish(folder: Path, stage: str) -> None:
    process = start(folder, stage)
    output, _ = process.communicate()
    assert process.returncode == 0, output.decode()[-3000:]


def results(folder: Path) -> dict[str, str]:
    found = files_in(folder / "artifacts") | files_in(folder / "reports")
    return {name: digest for name, digest in found.items() if not name.startswith("usage/")}


@pytest.mark.beyond_gate
def test_killed_with_its_child_in_every_stage(tmp_path: Path) -> None:
    undisturbed, killed = dvc_project(tmp_path / "a"), dvc_project(tmp_path / "b")
    shutil.copy(undisturbed / "params.yaml", killed / "params.yaml")
    for number, stage in enumerate(STAGES):
        finish(undisturbed, stage)
        lock = killed / "dvc.lock"
        recorded = lock.read_bytes() if lock.exists() else None
        process = start(killed, stage)
        assert child_running(process, stage), f"{stage} was never seen running"
        # Early in one stage, late in the next: in the imports, at work, while writing.
        time.sleep(0.5 + 1.5 * (number % 3))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # DVC writes its lock file in place, and may have been killed at that.
        lock.unlink(missing_ok=True)
        if recorded is not None:
            lock.write_bytes(recorded)
        finish(killed, stage)
    assert results(killed) == results(undisturbed)


@pytest.mark.beyond_gate
def test_an_orphan_does_not_mix_its_outputs_with_the_next_run(tmp_path: Path) -> None:
    undisturbed, orphaned = dvc_project(tmp_path / "a"), dvc_project(tmp_path / "b")
    shutil.copy(undisturbed / "params.yaml", orphaned / "params.yaml")
    for stage in ("split", "baseline"):
        finish(undisturbed, stage)
        process = start(orphaned, stage)
        assert child_running(process, stage)
        process.kill()  # DVC alone: the stage's process lives on and still writes
        process.wait()
        finish(orphaned, stage)
    assert results(orphaned) == results(undisturbed)
