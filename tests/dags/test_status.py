"""`make status` on a project with nights and a real registry, with Airflow and without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components._registry import client as registry
from components._registry import hold
from dags import _workspace as ws
from tests.builders.nights import Nights, environment
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import PARAMS
from tests.dags.test_workspace import KEYS, night


def screen(toy: Path, home: Path, **settings: str) -> str:
    env = environment(
        LONGTAIL_REPO=str(toy), LONGTAIL_HOME=str(home), COLUMNS="160",
        MLFLOW_TRACKING_URI=f"sqlite:///{home}/mlflow.db", AIRFLOW_HOME=str(home / "airflow"),
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "scripts.status"], cwd=ROOT, env=env | settings,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_screen_without_airflow(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (toy / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"count": {"weight": 1}}))
    night(toy, home / "workspaces", KEYS[0], "a\n")
    assert ws.records(toy) == KEYS[:1]
    empty = screen(toy, home)
    assert "none yet" in empty and "to annotate" not in empty

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    client = registry.connect()
    client.create_registered_model("longtail")
    run = client.create_run("0")
    for tags in ({}, {}, {"approval": "decision"}):
        client.create_model_version("longtail", f"file:{home}", run.info.run_id, tags=tags)
    client.set_registered_model_alias("longtail", "champion", "2")
    hold.begin(client, "longtail", "labels of [May] are wrong")
    drift = {"champion": "2", "watch": {"measured": {"micro_f1": 0.613, "n_docs": 1240},
                                        "promoted": 0.65}}  # fmt: skip
    queues = home / "state" / "queues"
    for name, n_docs in (("2026-02-28", 3), ("2026-03-01", 2), ("2026-03-02", 4)):
        (queues / name).mkdir(parents=True)
        (queues / name / "queue.jsonl").write_text('{"id": "a"}\n' * n_docs)
    (queues / "2026-03-02" / "done").touch()
    reports = home / "workspaces" / KEYS[0] / "reports"
    (reports / "drift.json").write_text(json.dumps(drift))
    found = screen(toy, home)
    assert "version 2, registered 0 days ago" in found
    assert "micro-F1 61.3 on 1,240 later documents, 65.0 at promotion" in found
    assert "version 3 for approval" in found
    said = "5 documents in 2 open queues, the newest of 2026-03-01"
    assert f"to annotate  {said}" in found and str(queues) in found.replace("\n", "")
    assert "labels of [May] are wrong. `longtail promote release" in " ".join(found.split())
    assert "DVC's cache" in found and "GB free" in found
    assert "2026-03-01T02:00" in found and "recorded" in found
    assert found.count("\n") < 25

    unreachable = screen(toy, home, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "cannot be reached" in unreachable and "GB free" in unreachable


def test_the_last_nights_come_from_airflows_database(
    toy: Path, tmp_path: Path, airflow_home: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    nights = Nights(airflow_home, toy, home)
    (tmp_path / "empty.jsonl").write_text("")
    nights("2026-06-01T02:00:00", source=str(tmp_path / "empty.jsonl"))
    found = screen(toy, home, AIRFLOW_HOME=str(airflow_home))
    row = next(line for line in found.splitlines() if "2026-06-01" in line)
    assert "failed" in row and "ingest" in row
