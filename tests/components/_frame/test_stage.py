"""A stage started from outside runs the command that orchestrators run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.paths import ROOT

STAGES = """
stages:
  plain: {desc: A, cmd: echo one 'two words', meta: {image: data}}
  train: {desc: B, cmd: echo trained, meta: {image: train, gpus: 99}}
"""


def run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "components._frame.stage", *argv]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(STAGES)
    return tmp_path


def test_it_becomes_the_command_of_the_table(folder) -> None:
    done = run(folder, "plain")
    assert (done.returncode, done.stdout) == (0, "one two words\n")


def test_it_looks_for_the_gpus_first(folder) -> None:
    done = run(folder, "train")
    assert done.returncode == 2 and "needs 99 GPUs" in done.stderr and not done.stdout


@pytest.mark.parametrize("argv", [("trian",), (), ("plain", "train")])
def test_another_name_is_one_sentence(folder, argv) -> None:
    done = run(folder, *argv)
    assert done.returncode == 2
    assert done.stderr == f"dvc.yaml has no stage {' '.join(argv)!r}; it has plain, train.\n"


def test_a_program_that_is_not_there_is_one_sentence(folder) -> None:
    table = (folder / "dvc.yaml").read_text().replace("echo one", "ech0 one")
    (folder / "dvc.yaml").write_text(table)
    done = run(folder, "plain")
    assert (done.returncode, done.stderr) == (2, "ech0 is not in the folders of PATH.\n")


def test_another_folder_is_one_sentence(tmp_path) -> None:
    done = run(tmp_path, "train")
    assert done.returncode == 2
    assert "run this in the project's root folder" in done.stderr and "Trace" not in done.stderr
