"""Nights of the real stages: same as DVC, frozen test documents, a quiet night, a backfill."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.builders.nights import Nights, run
from tests.builders.real_project import SPLIT, assert_same, make_project, reproduce

pytestmark = [pytest.mark.slow, pytest.mark.beyond_gate, pytest.mark.timeout(2400)]
FIRST, SECOND, THIRD = (f"2026-04-0{day}T02:00:00" for day in (1, 2, 3))


def last_workspace(nights: Nights) -> Path:
    return max((nights.home / "workspaces").iterdir(), key=lambda path: path.stat().st_mtime)


def split_of(workspace: Path) -> dict[str, str]:
    return dict(pd.read_parquet(workspace / SPLIT)[["id", "split"]].itertuples(index=False))


def version_of(workspace: Path) -> str:
    return json.loads((workspace / "reports" / "registered.json").read_text())["version"]


def drift_of(workspace: Path) -> dict[str, Any]:
    return json.loads((workspace / "reports" / "drift.json").read_text())


def data_of(workspace: Path) -> str:
    return yaml.safe_load((workspace / "data.dvc").read_text())["outs"][0]["md5"]


def test_three_nights_and_a_backfill(
    airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With several threads, sums depend on the machine's load, and the comparison would too.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    project = make_project(tmp_path / "project", (60, 60))
    home = tmp_path / "home"
    home.mkdir()
    nights = Nights(airflow_home, project, home)
    one, two = str(tmp_path / "in1"), str(tmp_path / "in2")

    states, output = nights(FIRST, source=one)
    assert not [name for name, state in states.items() if "failed" in str(state)], output[-4000:]
    first = last_workspace(nights)
    reference = reproduce(project, tmp_path / "reference", tmp_path / "in1")
    assert_same(first, reference)
    assert version_of(first) == "1" and not (first / "mlruns").exists()
    assert states["drift"] == "success" and "no champion yet" in drift_of(first)["reason"]

    tip = run("git", "rev-parse", "nightly", cwd=project)
    for name, text, labels, stopped, finding in (
        ("form", "a text", '"not a list"', "ingest", "form.jsonl: row 1"),
        ("content", "", '["label"]', "stages.validate", "of the documents would be quarantined"),
    ):
        rows = [f'{{"id": "{name}{i}", "text": "{text}", "labels": {labels}}}' for i in range(60)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
        states, output = nights(SECOND, source=str(tmp_path / f"{name}.jsonl"))
        assert states[stopped] == "failed", output[-4000:]
        assert states["stages.train"] == states["record"] == "upstream_failed"
        notice = output.split("Notification:")[1]
        assert f"{stopped} failed" in notice and finding in notice
        assert run("git", "rev-parse", "nightly", cwd=project) == tip

    # CPU time, since the machine may be busy; wall time on an idle one is shorter.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    states, output = nights(SECOND, source=one)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 60
    ran = {name for name, state in states.items() if state == "success"}
    assert ran == {"workspace", "plan", "notify"}, output[-4000:]
    assert "longtail: unchanged" in output

    states, output = nights(THIRD, source=two)
    third = last_workspace(nights)
    assert version_of(third) == "2", output[-4000:]
    drift = drift_of(third)
    assert (drift["champion"], drift["documents"]["new"]) == ("1", 60), output[-4000:]
    assert states["drift"] == ("skipped" if drift["alarms"] else "success")
    assert 'id="champion"' in (third / "reports" / "decision.html").read_text()
    old, new = split_of(first), split_of(third)
    assert len(new) > len(old) > 300
    assert {name: new[name] for name in old} == old
    assert "test" in {new[name] for name in new.keys() - old.keys()}

    tip = run("git", "rev-parse", "nightly", cwd=project)
    night_one = data_of(first)
    states, output = nights(FIRST, source=two)
    assert data_of(last_workspace(nights)) == night_one != data_of(third)
    assert states["stages.train"] == states["ingest"] == "skipped", output[-4000:]
    assert run("git", "rev-parse", "nightly", cwd=project) == tip
