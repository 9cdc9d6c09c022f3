"""The Kubeflow pipeline on kfp's local Docker runner: a whole night, and failures are failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.kubeflow import run_kubeflow
from tests.builders.nights import make_toy, run

pytestmark = [pytest.mark.containers, pytest.mark.beyond_gate]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What the volume holds: the toy project, and new files."""
    make_toy(tmp_path / "home" / "repo")
    (tmp_path / "home" / "new").mkdir()
    (tmp_path / "home" / "new" / "new.jsonl").write_text("3\n4\n5\n")
    return tmp_path / "home"


def record(home: Path) -> list[str]:
    repo = home / "repo"
    return run(
        "git", "-c", f"safe.directory={repo}", "tag", "--list", "nightly/*", cwd=repo
    ).split()


def test_a_night_ends_with_a_champion(home: Path, socket: str) -> None:
    done = run_kubeflow(home, socket, "source=/longtail/new")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "longtail: promoted. By its total." in done.stdout
    assert (home / "state" / "champion").read_text() == "5"
    assert len(record(home)) == 1
    [workspace] = [path for path in (home / "workspaces").iterdir() if path.suffix != ".steps"]
    assert (workspace / "reports" / "page.txt").stat().st_uid != 0
    again = run_kubeflow(home, socket, "source=/longtail/new")
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-2000:]
    assert "longtail: unchanged." in again.stdout and "total: nothing to do." in again.stdout


def test_a_failing_stage_fails_the_run(home: Path, socket: str) -> None:
    total = home / "repo" / "toy" / "total.py"
    total.write_text("import sys\nprint('no sum today')\nsys.exit(3)\n")
    run("git", "commit", "--quiet", "--all", "-m", "Break", cwd=home / "repo")
    done = run_kubeflow(home, socket, "source=/longtail/new")
    assert done.returncode != 0
    assert "'total'" in done.stdout + done.stderr
    assert "longtail: total failed in" in done.stdout
    assert "no sum today" in done.stdout.split("longtail: total failed in")[1]
    assert record(home) == [] and not (home / "state" / "champion").exists()
