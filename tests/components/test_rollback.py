"""Rolling back, step by step: killed anywhere, tried twice, refused, and what holds afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components import promote
from components._frame.exit_codes import BAD_DATA, BAD_PARAMETERS, OK
from components._frame.launch import exit_code, guarded, launch
from components._registry import champion as _champion
from components._registry import client as registry
from components._registry import decision as _decision
from components._registry import hold as _hold
from components._registry.smoke import Smoke
from longtail.errors import DataError, ParameterError
from tests.builders.paths import ROOT
from tests.builders.registry_bench import MEASURED, Bench

PROMOTED = [("promote", None, "1"), ("promote", "1", "2")]
BACK = ("rollback", "2", "1")


class Killed(BaseException): ...


def killed(*_: object, **__: object) -> None:
    raise Killed


def rollback(**options: str) -> None:
    promote.run_rollback(**({"reason": "wrong labels"} | options))


@pytest.fixture
def two(bench: Bench) -> Bench:
    """Version 2 is the champion, after version 1."""
    bench.enter("good")
    for number in ("1", "2"):
        version = bench.client.get_model_version("longtail", number)
        _champion.move(bench.client, version, action="promote", why="better")
    return bench


def marked(bench: Bench) -> list[str]:
    found = registry.versions(bench.client, "longtail")
    return [str(version.version) for version in found if registry.ROLLED_BACK in version.tags]


def test_a_rollback_restores_marks_and_holds(two: Bench):
    rollback(approved_by="Ada")
    assert (two.alias("champion"), two.alias("previous_champion")) == ("1", "2")
    assert marked(two) == ["2"]
    assert two.history() == [*PROMOTED, BACK]
    last = registry.history(two.client, "longtail")[-1]
    assert (last["why"], last["approved_by"]) == ("wrong labels", "Ada")
    hold = registry.held(two.client, "longtail")
    assert hold is not None and hold["reason"] == "wrong labels"


@pytest.mark.parametrize("again", [{}, {"leave": "2", "to": "1"}, {"to": "1"}, {"leave": "2"}])
def test_triggered_twice_it_changes_nothing(two: Bench, capsys, again: dict[str, str]):
    rollback()
    before = two.client.get_registered_model("longtail").tags
    rollback(**again)
    assert (two.alias("champion"), two.alias("previous_champion")) == ("1", "2")
    assert marked(two) == ["2"]
    assert two.client.get_registered_model("longtail").tags == before
    assert "Nothing changed: version 1 was already restored" in capsys.readouterr().out


STEPS = ["hold", "mark", "previous", "champion", "record", "log"]


def kill_at(patch: pytest.MonkeyPatch, step: str) -> None:
    """Let the rollback be killed just before the step."""
    real = registry.move_alias
    aliases = {"previous": registry.PREVIOUS, "champion": registry.CHAMPION}
    if step in aliases:
        patch.setattr(
            registry, "move_alias",
            lambda c, n, a, v: killed() if a == aliases[step] else real(c, n, a, v),
        )  # fmt: skip
    else:
        place, name = {
            "hold": (_hold, "begin"),
            "mark": (_champion, "mark"),
            "record": (_champion, "record"),
            "log": (_champion, "write_log"),
        }[step]
        patch.setattr(place, name, killed)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("again", [{}, {"leave": "2", "to": "1"}])
def test_killed_at_any_step_it_is_finished_by_the_next_try(
    two: Bench, step: str, again: dict[str, str]
):
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            rollback()
    rollback(**again)
    assert (two.alias("champion"), two.alias("previous_champion")) == ("1", "2")
    assert marked(two) == ["2"]
    assert two.history() == [*PROMOTED, BACK], "recorded once, and never as found"
    assert registry.history(two.client, "longtail")[-1]["why"] == "wrong labels"


@pytest.mark.parametrize("step", STEPS[1:])
def test_killed_after_the_hold_nothing_is_promoted_before_it_is_finished(two: Bench, step: str):
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            rollback()
    assert two.decide("narrow", rebase=True)["verdict"] == "promoted"
    two.apply()
    assert two.alias("champion") in ("1", "2")
    rollback()
    assert two.alias("champion") == "1"


def test_a_marked_version_is_never_chosen_by_itself(two: Bench):
    two.crown("4")
    rollback()  # leaves 4, found by hand, for 2
    assert (two.alias("champion"), marked(two)) == ("2", ["4"])
    promote.run_release(reason="fixed")
    rollback(leave="2")  # not 4, which was its champion before
    assert (two.alias("champion"), marked(two)) == ("1", ["2", "4"])
    with pytest.raises(DataError, match="no earlier champion that was not itself rolled back"):
        rollback(leave="1")
    rollback(to="2")  # asked for by hand
    assert (two.alias("champion"), marked(two)) == ("2", ["1", "4"])


def test_a_limit_never_blocks_and_a_broken_version_is_an_error(two: Bench):
    slow = Smoke([], MEASURED | {"seconds_per_doc": 500.0})
    two.patch.setattr(_decision, "smoke", lambda *_: Smoke(["it does not load."], {}))
    with pytest.raises(DataError, match=r"it does not load\. Restore another one") as caught:
        rollback()
    assert exit_code(caught.value) == BAD_DATA
    assert (two.alias("champion"), marked(two)) == ("2", [])
    assert registry.held(two.client, "longtail") is None
    two.patch.setattr(_decision, "smoke", lambda *_: slow)
    rollback()
    assert two.alias("champion") == "1"


def test_it_names_what_is_missing(bench: Bench):
    with pytest.raises(DataError, match="no earlier champion"):
        rollback()
    with pytest.raises(DataError, match="no version 77"):
        rollback(to="77")
    bench.promoted("middling")
    with pytest.raises(ParameterError, match="already the champion"):
        rollback(to="1")
    with pytest.raises(ParameterError, match="Version 2 is not the champion any more, version 1"):
        rollback(leave="2", to="4")
    assert (bench.alias("champion"), bench.history()) == ("1", PROMOTED[:1])


def test_an_unfinished_rollback_does_not_undo_what_came_after(two: Bench):
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, "champion")
        with pytest.raises(Killed):
            rollback()
    two.crown("5")  # by hand
    rollback()
    assert (two.alias("champion"), marked(two)) == ("1", ["2", "5"])


def test_a_dry_run_says_both_versions_and_changes_nothing(two: Bench, capsys):
    promote.run_rollback(reason="x", dry_run=True, output=Path("plan.json"))
    plan = json.loads(Path("plan.json").read_text())
    assert (plan["leave"], plan["to"], plan["done"]) == ("2", "1", False)
    assert "Version 1 would replace version 2" in capsys.readouterr().out
    assert (two.alias("champion"), two.history(), marked(two)) == ("2", PROMOTED, [])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rollback", "--reason", "  "], "expected 1 to 1,000 characters, got 0"),
        (["hold", "--reason", ""], "expected 1 to 1,000 characters, got 0"),
        (["release", "--reason", ""], "expected 1 to 1,000 characters, got 0"),
        (["rollback", "--reason", "x" * 1001], "got 1001 characters"),
        (["rollback", "--reason", "x", "--approved-by", "y" * 201], "got 201 characters"),
    ],
)
def test_an_empty_or_endless_reason_is_refused_first(two: Bench, capsys, argv, message):
    with pytest.raises(SystemExit) as caught:
        guarded("promote", lambda: promote.command.main(argv, standalone_mode=False))
    assert caught.value.code == BAD_PARAMETERS
    assert message in capsys.readouterr().err
    assert two.history() == PROMOTED and registry.held(two.client, "longtail") is None


def test_a_long_reason_fits_the_strictest_store(two: Bench):
    two.strict()
    rollback(reason="ü" * 1000, approved_by="y" * 200)
    assert two.history()[-1] == BACK


def test_hold_and_release(two: Bench, capsys):
    two.patch.setenv("LONGTAIL_ACTOR", "Grace")
    promote.run_hold(reason="labels of May are wrong")
    promote.run_hold(reason="another reason")
    said = capsys.readouterr().out.splitlines()
    assert "by Grace: labels of May are wrong. `longtail promote release" in said[0]
    assert said[1].startswith("Nothing changed. Promotion has been held since")
    decision = two.decide("narrow", rebase=True)
    assert decision["verdict"] == "promoted"
    assert "held since" in Path("reports/decision.md").read_text()
    two.apply()
    outcome = json.loads(Path("reports/outcome.json").read_text())
    assert (outcome["outcome"], outcome["champion"]) == ("held", "2")
    assert "by Grace: labels of May are wrong" in outcome["why"]
    assert "by Grace: labels of May are wrong" in capsys.readouterr().out
    promote.run_release(reason="relabeled")
    two.apply()
    assert two.alias("champion") == "5"
    assert [e[0] for e in two.history()[2:]] == ["hold", "release", "promote"]
    promote.run_release(reason="again")
    assert "is not held" in capsys.readouterr().out.splitlines()[-1]


def test_a_rollback_holds_the_next_model_from_the_same_labels(two: Bench):
    rollback()
    assert two.decide("narrow", rebase=True)["verdict"] == "promoted"
    two.apply()
    assert two.alias("champion") == "1"
    assert json.loads(Path("reports/outcome.json").read_text())["outcome"] == "held"


@pytest.mark.parametrize("step", ["begin", "_record"])
def test_a_killed_hold_is_finished_by_the_next(two: Bench, step: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_hold, step, killed)
        with pytest.raises(Killed):
            promote.run_hold(reason="x")
    promote.run_hold(reason="x")
    assert registry.held(two.client, "longtail") is not None
    assert two.history() == [*PROMOTED, ("hold", "2", "2")]


def test_a_killed_release_still_holds(two: Bench):
    promote.run_hold(reason="x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_hold, "_record", killed)
        with pytest.raises(Killed):
            promote.run_release(reason="y")
    assert registry.held(two.client, "longtail") is not None


@pytest.mark.timeout(300)
def test_it_needs_neither_clone_nor_data(two: Bench, tmp_path: Path, capsys):
    """An empty folder, the package, and the address of the registry; the smoke test is real."""
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "components.promote", "rollback", "--reason", "wrong labels"],
        cwd=empty, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (OK, "Version 1 of longtail is the champion again.\n")
    assert two.alias("champion") == "1"
    assert list(empty.iterdir()) == []
    two.patch.chdir(empty)

    def longtail(*argv: str) -> object:
        with pytest.raises(SystemExit) as caught:
            launch(promote.command, argv)
        return caught.value.code

    assert longtail("history") == OK and capsys.readouterr().out.count("\n") == 3
    two.client.create_registered_model("another")
    assert longtail("release", "--reason", "fixed") == BAD_PARAMETERS
    assert "another, longtail; say with --model" in capsys.readouterr().err
    assert longtail("release", "--reason", "fixed", "--model", "longtail") == OK
    assert list(empty.iterdir()) == []
