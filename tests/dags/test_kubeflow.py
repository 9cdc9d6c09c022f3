"""Nights of the compiled Kubeflow pipeline on the toy project, its commands run as processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.kubeflow import KFP, Processes, compile_pipeline
from tests.builders.nights import make_toy, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not KFP.exists(), reason="no .venv-kfp; `make kubeflow` makes it"),
]
STAGES = {"count", "total", "page"}


@pytest.fixture
def night(tmp_path: Path) -> Processes:
    repo = make_toy(tmp_path / "home" / "repo")
    done = compile_pipeline(tmp_path / "pipeline.yaml", LONGTAIL_REPO=str(repo))
    assert done.returncode == 0, done.stderr
    return Processes(tmp_path / "pipeline.yaml", tmp_path / "home")


@pytest.fixture
def deliver(night: Processes) -> Callable[[str, str], str]:
    def delivered(name: str, lines: str) -> str:
        folder = night.home / "new"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(lines)
        return str(folder)

    return delivered


def idle(night: Processes) -> set[str]:
    return {name for name, said in night.output.items() if "nothing to do" in said}


def records(night: Processes) -> list[str]:
    return run("git", "tag", "--list", "nightly/*", cwd=night.home / "repo").split()


def test_a_night_ends_with_a_champion_and_the_next_has_nothing_to_do(
    night: Processes, deliver: Callable[[str, str], str]
) -> None:
    source = deliver("new.jsonl", "3\n4\n5\n")
    assert night("run-1", source=source) == [], night.output
    assert (night.home / "state" / "champion").read_text() == "5"
    assert "longtail: promoted. By its total." in night.output["notify"]
    assert idle(night) == set()
    [tag] = records(night)
    repo = night.home / "repo"
    [version] = json.loads((night.home / "state" / "versions.json").read_text())
    heads = [run("git", "rev-parse", r, cwd=repo) for r in (tag, "nightly", "nightly-decided")]
    assert heads == [version["data_revision"]] * 3
    assert night("run-2", source=source) == []
    assert idle(night) == STAGES | {"ingest", "drift", "register", "decide", "apply"}
    assert "longtail: unchanged." in night.output["notify"]
    assert len(records(night)) == 1
    assert night("run-3", source=source, force="true") == []
    assert idle(night) & STAGES == set()


def test_a_mistake_is_not_tried_again_and_the_next_night_takes_its_files(
    night: Processes, deliver: Callable[[str, str], str]
) -> None:
    source = deliver("new.jsonl", "3\n")
    total = night.home / "repo" / "toy" / "total.py"
    right = total.read_text()
    total.write_text(
        "import sys\nprint('no sum today')\nopen('tries', 'a').write('x')\nsys.exit(3)"
    )
    run("git", "commit", "--quiet", "--all", "-m", "Break", cwd=night.home / "repo")
    assert night("run-1", source=source) == ["total"]
    assert (night.home / "workspaces" / "run-1" / "tries").read_text() == "x"
    assert "longtail: total failed in run-1. no sum today" in night.output["notify"]
    assert records(night) == []
    total.write_text(right)
    run("git", "commit", "--quiet", "--all", "-m", "Mend", cwd=night.home / "repo")
    assert night("run-2", source=source) == []
    assert (night.home / "state" / "champion").read_text() == "3"


def test_an_outage_is_tried_again(night: Processes) -> None:
    promote = night.home / "repo" / "components" / "promote.py"
    once = "import pathlib, sys\np = pathlib.Path('once')\nif not p.exists():\n    p.touch()\n"
    once += "    sys.exit(75)\n"
    promote.write_text(once + promote.read_text())
    run("git", "commit", "--quiet", "--all", "-m", "Once away", cwd=night.home / "repo")
    assert night("run-1") == []
    assert night.tries["decide"] == 2 and night.tries["apply"] == 1
    assert "longtail: promoted" in night.output["notify"]


def test_an_outage_that_lasts_fails_the_night_and_the_next_one_decides(night: Processes) -> None:
    (night.home / "state").mkdir()
    (night.home / "state" / "away").touch()
    assert night("run-1") == ["register"]
    assert night.tries["register"] == 4
    assert (
        "register failed in run-1. register: the tracking server is away."
        in (night.output["notify"])
    )
    (night.home / "state" / "away").unlink()
    assert night("run-2") == []
    assert idle(night) == {"ingest", *STAGES}
    assert (night.home / "state" / "champion").read_text() == "2"


def test_a_refusal_is_no_failure(night: Processes, deliver: Callable[[str, str], str]) -> None:
    assert night("run-1", source=deliver("many.jsonl", "1\n" * 200)) == []
    assert "longtail: refused." in night.output["notify"]
    assert not (night.home / "state" / "champion").exists()


@pytest.mark.parametrize(("wish", "failed"), [("broken", ["drift"]), ("alarm", [])])
def test_drift_stops_nothing(night: Processes, wish: str, failed: list[str]) -> None:
    (night.home / "state").mkdir()
    (night.home / "state" / "drift").write_text(wish)
    assert night("run-1") == failed
    assert (night.home / "state" / "champion").read_text() == "2"
    said = {"broken": "drift failed in run-1. It may have", "alarm": "promoted, 2 alarms."}
    assert said[wish] in night.output["notify"]


def test_what_cannot_be_checked_out_is_told(night: Processes) -> None:
    assert night("run-1", revision="nowhere") == ["workspace"]
    assert "workspace failed in run-1. Revision 'nowhere' is not in" in night.output["notify"]
    assert night.tries == {"workspace": 4, "notify": 1}
