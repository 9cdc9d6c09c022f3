"""The shell that every step of a night runs in on Kubeflow."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.builders.paths import ROOT

SCRIPT = (ROOT / "dags" / "kubeflow_step.sh").read_text()


def step(folder: Path, *argv: str, task: str = "t1") -> tuple[int, str]:
    words = ["sh", "-c", SCRIPT, "step", str(folder / "run"), "count", task, *argv]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    folder = tmp_path / "run.steps"
    folder.mkdir()
    (folder / "environment").write_text("export WORD='a b'\n")
    (folder / "count.todo").touch()
    return folder


def exit_with(code: int) -> list[str]:
    return ["sh", "-c", f'printf x >> ran; echo "in $(basename "$PWD"): $WORD"; exit {code}']


def test_without_anything_to_do_nothing_runs(notes: Path) -> None:
    (notes / "count.todo").unlink()
    assert step(notes.parent, *exit_with(3)) == (0, "count: nothing to do.\n")
    assert not (notes.parent / "run" / "ran").exists()


@pytest.mark.parametrize("code", [0, 4])
def test_a_result_ends_the_step(notes: Path, code: int) -> None:
    assert step(notes.parent, *exit_with(code)) == (0, "in run: a b\n")
    assert (notes / "count.ended").read_text() == f"{code}\n"


@pytest.mark.parametrize(("code", "runs"), [(75, 2), (137, 2), (143, 2), (1, 1), (2, 1), (3, 1)])
def test_only_what_may_pass_runs_again(notes: Path, code: int, runs: int) -> None:
    assert step(notes.parent, *exit_with(code)) == (code, "in run: a b\n")
    again, said = step(notes.parent, *exit_with(0))
    assert (again, said) == ((0, "in run: a b\n") if runs == 2 else (1, "in run: a b\n"))
    assert (notes.parent / "run" / "ran").read_text() == "x" * runs
    assert (notes / "count.ended").exists() is (runs == 2)


def test_a_person_can_try_again_what_failed(notes: Path) -> None:
    """Kubeflow's `Retry` gives the step another id."""
    step(notes.parent, *exit_with(3))
    assert step(notes.parent, *exit_with(0), task="t2")[0] == 0


def test_the_command_can_come_with_what_there_is_to_do(notes: Path) -> None:
    (notes / "count.todo").write_text("printf '%s|' 'it'\"'\"'s' two\\ words")
    assert step(notes.parent) == (0, "it's|two words|")


def test_without_its_workspace_a_step_waits_for_it(tmp_path: Path) -> None:
    words = ["sh", "-c", SCRIPT, "step", str(tmp_path / "run"), "count", "t1", "true"]
    assert subprocess.run(words, capture_output=True).returncode == 75
