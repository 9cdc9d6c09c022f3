"""Whole nights of the DAG on the toy project, run by Airflow itself."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.builders.nights import Nights, run

STAGES = ("stages.count", "stages.total", "stages.page")
FIRST, SECOND, THIRD = (f"2026-03-0{day}T02:00:00" for day in (1, 2, 3))


def ran(states: dict[str, str]) -> set[str]:
    return {name for name, state in states.items() if state == "success"}


def deliver(folder: Path, name: str, lines: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(lines)
    return str(folder)


def data_hash(repo: Path, revision: str) -> str:
    return yaml.safe_load(run("git", "show", f"{revision}:data.dvc", cwd=repo))["outs"][0]["md5"]


def test_a_night_with_new_data_ends_with_a_champion(nights: Nights, tmp_path: Path) -> None:
    states, output = nights(FIRST, source=deliver(tmp_path / "in", "new.jsonl", "3\n4\n5\n"))
    assert ran(states) == set(states) - {"approve"}, output[-3000:]
    assert states["approve"] == "skipped"
    assert (nights.home / "state" / "champion").read_text() == "5"
    assert "Notification: longtail: promoted. By its total." in output
    tag = "nightly/2026-03-01T020000Z"
    [version] = nights.versions()
    assert version["logical_date"] == "2026-03-01T020000Z"
    assert version["data_revision"] == run("git", "rev-parse", tag, cwd=nights.repo)
    branches = [run("git", "rev-parse", b, cwd=nights.repo) for b in ("nightly", "nightly-decided")]
    assert branches == [version["data_revision"]] * 2
    changed = run("git", "diff", "--name-only", "main", "nightly", cwd=nights.repo).split()
    assert changed == ["data.dvc", "dvc.lock", "taken_in.json"]
    assert not (nights.repo / "artifacts").exists()


@pytest.mark.slow
def test_a_broken_source_stops_before_the_stages(nights: Nights, tmp_path: Path) -> None:
    states, output = nights(FIRST, source=deliver(tmp_path / "in", "empty.jsonl", ""))
    assert states["ingest"] == "failed"
    assert all(states[name] == "upstream_failed" for name in (*STAGES, "register", "notify"))
    assert "longtail: ingest failed" in output
    assert "empty.jsonl is empty; expected at least one line" in output.split("Notification:")[1]
    assert run("git", "branch", "--list", "nightly", cwd=nights.repo) == ""
    assert [p.name for p in (nights.repo / "data").iterdir()] == ["first.jsonl"]


@pytest.mark.slow
def test_what_a_failed_night_took_in_is_taken_by_the_next(nights: Nights, tmp_path: Path) -> None:
    source = deliver(tmp_path / "in", "new.jsonl", "3\n4\n")
    (nights.repo / "toy" / "total.py").rename(nights.repo / "toy" / "away.py")
    run("git", "commit", "--quiet", "--all", "-m", "Broken", cwd=nights.repo)
    states, output = nights(FIRST, source=source)
    assert (states["ingest"], states["stages.total"]) == ("success", "failed"), output[-3000:]
    run("git", "revert", "--no-edit", "HEAD", cwd=nights.repo)
    states, output = nights(SECOND, source=source)
    assert states["ingest"] == states["apply"] == "success", output[-3000:]
    assert (nights.home / "state" / "champion").read_text() == "4"
    assert nights(THIRD, source=source)[0]["ingest"] == "skipped"


@pytest.mark.slow
def test_three_nights_and_a_backfill(nights: Nights, tmp_path: Path) -> None:
    source = deliver(tmp_path / "in", "one.jsonl", "3\n")
    assert set(STAGES) < ran(nights(FIRST, source=source)[0])

    states, output = nights(SECOND, source=source)
    assert ran(states) == {"workspace", "plan", "notify"}
    assert "longtail: unchanged" in output
    assert len(nights.versions()) == 1

    deliver(tmp_path / "in", "two.jsonl", "4\n")
    assert set(STAGES) < ran(nights(THIRD, source=source)[0])
    assert [v["logical_date"][:10] for v in nights.versions()] == ["2026-03-01", "2026-03-03"]

    tip = run("git", "rev-parse", "nightly", cwd=nights.repo)
    champion = (nights.home / "state" / "champion").read_text()
    states, output = nights(FIRST, source=source, force=True)
    assert set(STAGES) < ran(states) and states["ingest"] == "skipped", output[-3000:]
    assert {states[name] for name in ("drift", "decide", "approve", "apply")} == {"skipped"}
    assert states["register"] == states["notify"] == nights.run_state(FIRST) == "success"
    assert (nights.home / "state" / "champion").read_text() == champion
    assert "longtail: backfilled." in output
    assert len(nights.versions()) == 2
    assert run("git", "rev-parse", "nightly", cwd=nights.repo) == tip
    newest = max((nights.home / "workspaces").iterdir(), key=lambda p: p.stat().st_mtime)
    assert sorted(p.name for p in (newest / "data").iterdir()) == ["first.jsonl", "one.jsonl"]
    found = yaml.safe_load((newest / "data.dvc").read_text())["outs"][0]["md5"]
    assert found == data_hash(nights.repo, "nightly/2026-03-01T020000Z")
    assert found != data_hash(nights.repo, "nightly")


@pytest.mark.slow
def test_a_refused_model_is_not_applied_and_not_decided_again(
    nights: Nights, tmp_path: Path
) -> None:
    source = deliver(tmp_path / "in", "many.jsonl", "x\n" * 200)
    states, output = nights(FIRST, source=source)
    assert (states["decide"], states["apply"], states["notify"]) == (
        "skipped", "skipped", "success",
    )  # fmt: skip
    assert "Notification: longtail: refused." in output
    assert not (nights.home / "state" / "champion").exists()
    assert ran(nights(SECOND, source=source)[0]) == {"workspace", "plan", "notify"}


def test_an_alarm_is_in_the_notification_and_stops_nothing(nights: Nights) -> None:
    (nights.home / "state").mkdir()
    (nights.home / "state" / "drift").write_text("alarm")
    states, output = nights(FIRST)
    assert (states["drift"], states["drift_done"], states["apply"]) == (
        "skipped", "success", "success",
    ), output[-3000:]  # fmt: skip
    notice = output.split("Notification:")[1]
    assert "longtail: promoted, 2 alarms. By its total." in notice
    assert "- Words have moved.\n- The score is low.\n" in notice


@pytest.mark.beyond_gate
@pytest.mark.slow
def test_a_drift_that_fails_neither_blocks_nor_fails_the_night(nights: Nights) -> None:
    (nights.home / "state").mkdir()
    (nights.home / "state" / "drift").write_text("broken")
    states, output = nights(FIRST)
    assert (states["drift"], states["apply"], states["notify"]) == (
        "failed", "success", "success",
    ), output[-3000:]  # fmt: skip
    assert "longtail: drift failed" in output and "drift: a bug." in output
    assert "Notification: longtail: promoted. By its total." in output
    assert nights.run_state(FIRST) == "success"
    (nights.home / "state" / "drift").unlink()
    assert ran(nights(SECOND)[0]) == {"workspace", "plan", "notify"}


@pytest.mark.slow
def test_an_unavailable_tracking_server_is_caught_up_the_next_night(nights: Nights) -> None:
    (nights.home / "state").mkdir()
    (nights.home / "state" / "away").touch()
    states, output = nights(FIRST)
    assert states["register"] == "failed" and states["record"] == "success"
    assert "the tracking server is away" in output.split("Notification:")[1]
    (nights.home / "state" / "away").unlink()
    states, _ = nights(SECOND)
    assert ran(states) == {
        "workspace", "plan", "newest", "drift", "drift_done", "record", "register", "decide",
        "apply", "notify",
    }  # fmt: skip
    assert len(nights.versions()) == 1
    assert json.loads((nights.home / "state" / "champion").read_text()) == 2


@pytest.mark.slow
def test_a_rollback_fixes_both_versions_first_and_tells_its_end(nights: Nights) -> None:
    back = replace(nights, dag="rollback")
    states, output = back(FIRST, reason="wrong; $(labels)")
    assert set(states.values()) == {"success"}, output[-3000:]
    given = (nights.home / "state" / "champion").read_text()
    assert given.startswith("--reason wrong; $(labels) --approved-by dag_test --from 2 --to 1 ")
    notice = output.split("Notification:")[1]
    assert "longtail: rolled back: wrong; $(labels)" in notice
    assert "Back to 1. Promotion is held until a person runs" in notice
    states, output = back(SECOND, reason="x", version=7)
    assert set(states.values()) == {"success"}, output[-3000:]
    assert " --to 7 " in (nights.home / "state" / "champion").read_text()


def test_a_rollback_that_is_refused_is_red_and_told(nights: Nights) -> None:
    (nights.home / "state").mkdir()
    (nights.home / "state" / "broken").touch()
    states, output = replace(nights, dag="rollback")(FIRST, reason="x")
    assert states["rollback"] == "failed" and states["notify"] == "upstream_failed"
    notice = output.split("Notification:")[1]
    assert "rollback failed" in notice and "Version 1 does not answer as it should." in notice
    assert "unchanged" not in notice


@pytest.mark.beyond_gate
@pytest.mark.slow
def test_what_stops_a_promotion_is_told_by_what_apply_wrote(nights: Nights) -> None:
    state = nights.home / "state"
    state.mkdir()
    for date, wish, told in (
        (FIRST, "held", "held. It is held. The champion is version 1."),
        (SECOND, "refused", "passed the gate but was refused by `apply`. It is refused."),
    ):
        (state / "promote").write_text(wish)
        states, output = nights(date, force=True, approval=True if wish == "held" else None)
        assert states["approve"] == "skipped" and states["notify"] == "success", output[-3000:]
        assert states["apply"] == ("success" if wish == "held" else "skipped")
        assert f"Notification: longtail: {told}" in output
        assert "not approved" not in output


@pytest.mark.beyond_gate
@pytest.mark.slow
def test_retention_removes_old_nights_and_needs_none_to_start(
    nights: Nights, tmp_path: Path
) -> None:
    weekly = replace(nights, dag="retention", extra=(("LONGTAIL_KEEP_NIGHTS", "1"),))
    assert set(weekly(FIRST)[0].values()) == {"success", "skipped"}
    for date, lines in ((FIRST, "3\n"), (SECOND, "4\n")):
        source = deliver(tmp_path / "in", f"{date[:10]}.jsonl", lines)
        assert nights(date, source=source)[0]["apply"] == "success"
    states, output = weekly(SECOND, apply=False)
    assert states == {"workspace": "success", "registry": "success", "nights": "skipped"}, output
    assert "nightly/2026-03-01T020000Z" in run("git", "tag", cwd=nights.repo)
    states, output = weekly(THIRD)
    assert set(states.values()) == {"success"}, output[-3000:]
    assert run("git", "tag", cwd=nights.repo) == "nightly/2026-03-02T020000Z"
    assert "kind='night', name='2026-03-01T020000Z'" in output
    pruned = (nights.home / "state" / "pruned").read_text()
    assert pruned == "--keep-versions 10 --keep-days 14 --apply"


@pytest.mark.beyond_gate
@pytest.mark.slow
def test_a_full_disk_is_reported_and_the_next_run_succeeds(nights: Nights) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "longtail-test", str(nights.home)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        filler = nights.home / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"0" * 4096)
                file.flush()
        states, output = nights(FIRST)
        assert states["workspace"] == "failed", output[-3000:]
        assert "No space left on device" in output.split("Notification:")[1]
        assert "git clone" in output.split("Notification:")[1]
        assert run("git", "branch", "--list", "nightly", cwd=nights.repo) == ""
        filler.unlink()
        states, output = nights(SECOND)
        assert states["apply"] == "success", output[-3000:]
        assert len(nights.versions()) == 1
    finally:
        subprocess.run(["umount", "--lazy", str(nights.home)], check=True)
