"""Workspaces, plans and records against a real git repository and a real DVC cache."""

from __future__ import annotations

import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components._frame.pipeline import load_stages
from dags import _workspace as ws
from dags._tools import ToolError, dvc
from tests.builders.nights import run

KEYS = [f"2026-03-0{day}T020000Z" for day in (1, 2, 3, 4)]


def reproduce(checkout: ws.Workspace) -> None:
    """What the stages' tasks do."""
    for stage in load_stages(checkout.folder / "dvc.yaml"):
        run(*stage.argv, cwd=checkout.folder)


def night(repo: Path, root: Path, key: str, lines: str | None = None) -> ws.Workspace:
    checkout = ws.prepare(repo, root / key, key)
    if lines is not None:
        (checkout.folder / "data" / f"{key}.jsonl").write_text(lines)
    stages = load_stages(repo / "dvc.yaml")
    if ws.stale_stages(checkout, stages, False, None):
        reproduce(checkout)
        ws.record(checkout)
    return checkout


@pytest.mark.slow
def test_only_what_depends_on_a_change_is_stale(toy: Path, tmp_path: Path) -> None:
    night(toy, tmp_path / "w", KEYS[0])
    stages = load_stages(toy / "dvc.yaml")
    quiet = ws.prepare(toy, tmp_path / "quiet", KEYS[1])
    assert ws.stale_stages(quiet, stages, False, None) == []
    assert ws.stale_stages(quiet, stages, True, None) == ["count", "total", "page"]
    assert ws.stale_stages(quiet, stages, False, 0.0) == ["count", "total", "page"]
    assert ws.stale_stages(quiet, stages, False, 1.0) == []
    (quiet.folder / "toy" / "total.py").write_text(
        (quiet.folder / "toy" / "total.py").read_text() + "# changed\n"
    )
    assert ws.stale_stages(quiet, stages, False, None) == ["total", "page"]


@pytest.mark.slow
def test_a_past_date_gets_its_own_data_and_leaves_the_branch(toy: Path, tmp_path: Path) -> None:
    night(toy, tmp_path, KEYS[0], "a\n")
    night(toy, tmp_path, KEYS[2], "b\n")
    tip = ws.commit_of(toy, ws.BRANCH)
    between = ws.prepare(toy, tmp_path / "between", KEYS[1])
    names = sorted(p.name for p in (between.folder / "data").iterdir())
    assert names == [f"{KEYS[0]}.jsonl", "first.jsonl"]
    assert not ws.wants_new_data(between)
    assert ws.wants_new_data(ws.prepare(toy, tmp_path / "next", KEYS[3]))
    ws.stale_stages(between, load_stages(toy / "dvc.yaml"), False, None)
    ws.record(between)
    assert ws.commit_of(toy, ws.BRANCH) == tip
    assert ws.records(toy) == KEYS[:3]


def test_recording_twice_changes_nothing(toy: Path, tmp_path: Path) -> None:
    checkout = night(toy, tmp_path, KEYS[0], "a\n")
    first = ws.commit_of(toy, ws.BRANCH)
    assert ws.record(checkout) == first == ws.commit_of(toy, ws.BRANCH)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dvc.lock", "data.dvc"])
def test_a_kill_while_dvc_writes_its_files_is_mended_by_the_next_try(
    toy: Path, tmp_path: Path, name: str
) -> None:
    night(toy, tmp_path, KEYS[0], "a\n")
    checkout = ws.prepare(toy, tmp_path / "killed", KEYS[1])
    (checkout.folder / "data" / "new.jsonl").write_text("b\n")
    stages = load_stages(toy / "dvc.yaml")
    assert ws.stale_stages(checkout, stages, False, None) == [s.name for s in stages]
    reproduce(checkout)
    torn = checkout.folder / name
    if name == "dvc.lock":  # DVC writes it in place, and `record` was killed just then
        dvc(checkout.folder, "commit", "--force")
    whole = torn.read_bytes()
    torn.write_bytes(whole[: len(whole) // 3])
    if name == "data.dvc":
        assert ws.stale_stages(checkout, stages, False, None) == [s.name for s in stages]
    ws.record(checkout)
    assert torn.read_bytes() == whole
    assert ws.records(toy) == KEYS[:2]


def test_two_runs_at_once_cannot_overwrite_each_other(toy: Path, tmp_path: Path) -> None:
    slow = ws.prepare(toy, tmp_path / "slow", KEYS[1])
    (slow.folder / "data" / "slow.jsonl").write_text("s\n")
    night(toy, tmp_path, KEYS[0], "a\n")
    recorded = ws.commit_of(toy, ws.BRANCH)
    ws.stale_stages(slow, load_stages(toy / "dvc.yaml"), False, None)
    reproduce(slow)
    with pytest.raises(ws.WorkspaceError, match="clear this run from the task `workspace`"):
        ws.record(slow)
    assert ws.commit_of(toy, ws.BRANCH) == recorded and ws.records(toy) == KEYS[:1]


@pytest.mark.slow
def test_two_runs_with_the_same_result_share_a_record(toy: Path, tmp_path: Path) -> None:
    slow = ws.prepare(toy, tmp_path / "slow", KEYS[1])
    night(toy, tmp_path, KEYS[0])
    recorded = ws.commit_of(toy, ws.BRANCH)
    ws.stale_stages(slow, load_stages(toy / "dvc.yaml"), False, None)
    reproduce(slow)
    assert ws.record(slow) == recorded == ws.commit_of(toy, ws.BRANCH)
    assert ws.records(toy) == KEYS[:2]


@pytest.mark.slow
def test_a_record_without_a_decision_is_noticed(toy: Path, tmp_path: Path) -> None:
    checkout = night(toy, tmp_path, KEYS[0])
    later = ws.prepare(toy, tmp_path / "later", KEYS[1])
    assert ws.is_undecided(later)
    ws.mark_decided(checkout)
    assert not ws.is_undecided(ws.prepare(toy, tmp_path / "again", KEYS[1]))


def commit_data(repo: Path, name: str, lines: str) -> None:
    """What a person does: change the data, pin them, commit."""
    (repo / "data" / name).write_text(lines)
    run(sys.executable, "-m", "dvc", "add", "--quiet", "data", cwd=repo)
    run("git", "commit", "--quiet", "-m", "Correct by hand", "data.dvc", cwd=repo)


def files(checkout: ws.Workspace) -> dict[str, str]:
    return {path.name: path.read_text() for path in (checkout.folder / "data").iterdir()}


def test_data_changed_by_hand_are_taken(toy: Path, tmp_path: Path) -> None:
    night(toy, tmp_path, KEYS[0])
    commit_data(toy, "first.jsonl", "corrected\n")
    taken = ws.prepare(toy, tmp_path / "second", KEYS[1])
    assert taken.by_hand and files(taken) == {"first.jsonl": "corrected\n"}
    assert ws.stale_stages(taken, load_stages(toy / "dvc.yaml"), False, None)
    reproduce(taken)
    ws.record(taken)
    later = ws.prepare(toy, tmp_path / "later", KEYS[2])
    assert not later.by_hand and files(later) == {"first.jsonl": "corrected\n"}
    past = ws.prepare(toy, tmp_path / "past", KEYS[0])
    assert not past.by_hand and files(past) == {"first.jsonl": "1\n2\n"}


def test_data_changed_by_hand_and_by_nights_are_refused_until_merged(
    toy: Path, tmp_path: Path
) -> None:
    night(toy, tmp_path, KEYS[0], "a\n")
    commit_data(toy, "first.jsonl", "corrected\n")
    with pytest.raises(ws.WorkspaceError, match="changed by hand up to commit") as caught:
        ws.prepare(toy, tmp_path / "second", KEYS[1])
    assert "git merge --strategy-option theirs nightly" in str(caught.value)
    # What the message says.
    run("git", "merge", "--quiet", "--strategy-option", "theirs", ws.BRANCH, cwd=toy)
    run(sys.executable, "-m", "dvc", "checkout", "--quiet", "--force", "data", cwd=toy)
    dropped = ws.prepare(toy, tmp_path / "dropped", KEYS[1])
    assert not dropped.by_hand and files(dropped)["first.jsonl"] == "1\n2\n"
    commit_data(toy, "first.jsonl", "corrected\n")
    merged = ws.prepare(toy, tmp_path / "third", KEYS[1])
    assert merged.by_hand
    assert files(merged) == {"first.jsonl": "corrected\n", f"{KEYS[0]}.jsonl": "a\n"}


def test_a_night_that_took_in_nothing_new_remembers_its_files(toy: Path, tmp_path: Path) -> None:
    checkout = night(toy, tmp_path, KEYS[0], "a\n")
    ws.mark_decided(checkout)
    quiet = ws.prepare(toy, tmp_path / "quiet", KEYS[1])
    ws.remember(quiet)
    assert ws.records(toy) == KEYS[:1]
    (quiet.folder / ws.TAKEN_IN).write_text('{"a.jsonl": "1"}\n')
    ws.remember(quiet)
    assert ws.records(toy) == KEYS[:2]
    later = ws.prepare(toy, tmp_path / "later", KEYS[2])
    assert (later.folder / ws.TAKEN_IN).read_text() == '{"a.jsonl": "1"}\n'
    assert not ws.is_undecided(later)
    ws.remember(later)
    assert ws.records(toy) == KEYS[:2]


def test_a_run_that_waited_goes_on_from_the_newest_record(toy: Path, tmp_path: Path) -> None:
    def moment(day: int) -> datetime:
        return datetime(2026, 3, day, 2, tzinfo=UTC)

    assert ws.key_of(toy, moment(1), moment(4)) == KEYS[0]
    night(toy, tmp_path, KEYS[1])
    assert ws.key_of(toy, moment(1), moment(4)) == KEYS[3]
    assert ws.key_of(toy, moment(2), moment(4)) == KEYS[1]
    assert ws.key_of(toy, moment(3), moment(4)) == KEYS[2]


def test_two_runs_of_one_second_both_take_in_what_is_new(toy: Path, tmp_path: Path) -> None:
    """The second would else pass for a repetition of the first, which takes in nothing."""
    first, second, scheduled = (
        datetime(2026, 3, 1, 2, 0, 0, microsecond, tzinfo=UTC) for microsecond in (5, 400_000, 0)
    )
    night(toy, tmp_path, ws.key_of(toy, first, first))
    later = ws.prepare(toy, tmp_path / "second", ws.key_of(toy, second, second))
    assert ws.wants_new_data(later)
    assert ws.record_key(scheduled) == KEYS[0] < ws.record_key(first) < ws.record_key(second)
    assert ws.record_key(second) < ws.record_key(scheduled.replace(second=1))
    assert ws.key_of(toy, first, second) == ws.record_key(first)  # its second try


def test_the_encoder_is_changed_in_the_workspace_only(toy: Path, tmp_path: Path) -> None:
    checkout = ws.prepare(toy, tmp_path / "w", KEYS[0], encoder="bert-base-uncased")
    assert "bert-base-uncased" in (checkout.folder / "params.yaml").read_text()
    assert "bert" not in (toy / "params.yaml").read_text()


def test_errors_are_one_sentence(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ws.WorkspaceError, match="Revision 'mian' is not in"):
        ws.prepare(toy, tmp_path / "w", KEYS[0], revision="mian")
    checkout = ws.prepare(toy, tmp_path / "w", KEYS[0])
    table = (
        (checkout.folder / "dvc.yaml").read_text().replace("--total artifacts", "--sum artifacts")
    )
    (checkout.folder / "dvc.yaml").write_text(table)
    with pytest.raises(
        ws.WorkspaceError, match=r"has other stages than .* built from \(.*total.argv"
    ):
        ws.stale_stages(checkout, load_stages(toy / "dvc.yaml"), False, None)


def test_missing_data_are_not_taken_for_none(toy: Path, tmp_path: Path) -> None:
    """Even with a source: its new files alone would become the corpus."""
    run("rm", "-rf", str(toy / ".dvc" / "cache"), cwd=toy)
    with pytest.raises(ws.WorkspaceError, match="cache .* lacks the data .* set a DVC remote"):
        ws.prepare(toy, tmp_path / "w", KEYS[0])
    dvc = (sys.executable, "-m", "dvc", "remote", "add", "--quiet", "--default")
    run(*dvc, "gone", str(tmp_path / "nowhere"), cwd=toy)
    run("git", "commit", "--quiet", "--all", "-m", "Remote", cwd=toy)
    with pytest.raises(ToolError, match=r"`-m dvc pull --force data.dvc` failed .*\S"):
        ws.prepare(toy, tmp_path / "w", KEYS[0])


def test_without_any_data_a_source_is_needed(toy: Path, tmp_path: Path) -> None:
    run("git", "rm", "--quiet", "data.dvc", cwd=toy)
    run("git", "commit", "--quiet", "-m", "No data", cwd=toy)
    checkout = ws.prepare(toy, tmp_path / "w", KEYS[0])
    with pytest.raises(ws.WorkspaceError, match="data is empty: .*give the run a source"):
        ws.stale_stages(checkout, load_stages(toy / "dvc.yaml"), False, None)


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("meta: {image: train}", "meta: {image: train, memory: 4G}", None),
        ("desc: Add the counts up.", "desc: Sum.", None),
        ("meta: {image: train}", "meta: {image: data}", "total.image"),
        ("--page reports/page.txt", "--page reports/page.txt --long", "page.argv"),
        ("deps: [artifacts/total.json, ", "deps: [artifacts/count.json, artifacts/total.json, ",
         "page.upstream"),
        ("  page:\n", "  sheet:\n", "page.argv, page.image, page.upstream, sheet.argv, "),
    ],
)  # fmt: skip
def test_only_what_the_dag_runs_is_compared(
    toy: Path, tmp_path: Path, old: str, new: str, wrong: str | None
) -> None:
    """After raising a stage's memory, earlier dates can still be backfilled."""
    text = (toy / "dvc.yaml").read_text()
    assert text.count(old) == 1
    (tmp_path / "dvc.yaml").write_text(text.replace(old, new))
    checkout = ws.Workspace(str(tmp_path), KEYS[0], "", None, None)
    stages = load_stages(toy / "dvc.yaml")
    if wrong is None:
        ws.check_same_table(checkout, stages)
        return
    with pytest.raises(ws.WorkspaceError, match=re.escape(f"({wrong}")):
        ws.check_same_table(checkout, stages)


def test_old_workspaces_are_removed_by_age(tmp_path: Path) -> None:
    for name, days in (("old", 15), ("young", 13)):
        (tmp_path / name).mkdir()
        moment = time.time() - days * 86_400
        os.utime(tmp_path / name, (moment, moment))
    assert ws.clean(tmp_path, 14) == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["young"]
