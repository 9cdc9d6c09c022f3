"""A toy night in containers: the same result, no root, a quoted finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import podman
from tests.builders.nights import Nights, run

pytestmark = pytest.mark.containers
FIRST = "2026-03-01T02:00:00"


def test_a_night_in_containers(nights: Nights, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "new.jsonl").write_text("3\n4\n5\n")
    before = podman.podman("ps", "--all", "--quiet")
    states, output = nights(FIRST, source=str(source))
    assert {name for name, state in states.items() if state != "success"} == {"approve"}, output
    assert (nights.home / "state" / "champion").read_text() == "5"
    [version] = nights.versions()
    tag = run("git", "rev-parse", "nightly/2026-03-01T020000Z", cwd=nights.repo)
    assert version["data_revision"] == tag
    [workspace] = (nights.home / "workspaces").iterdir()
    owners = {p.stat().st_uid for p in (workspace / "artifacts").rglob("*")}
    assert 0 not in owners
    assert podman.podman("ps", "--all", "--quiet") == before


def test_a_step_that_fails_quotes_the_finding(nights: Nights, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    states, output = nights(FIRST, source=str(tmp_path / "empty.jsonl"))
    assert states["ingest"] == "failed" and states["stages.count"] == "upstream_failed"
    notice = output.split("Notification:")[1]
    assert "empty.jsonl is empty; expected at least one line" in notice
    assert "not retried" in notice
