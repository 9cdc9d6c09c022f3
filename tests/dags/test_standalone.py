"""Airflow as `make airflow` starts it: a run by REST API, a screenshot, a killed scheduler."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from components._registry.client import REQUIRED_TAGS
from tests.builders.airflow_server import SOON, Server, finished, serve, trigger
from tests.builders.nights import run
from tests.builders.paths import ROOT
from tests.builders.real_project import make_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
# docs/images has a copy.
PICTURE = ROOT / "build" / "nightly-grid.png"


@pytest.mark.beyond_gate
def test_a_run_by_rest_api_succeeds_and_is_photographed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", (60,))
    with serve(project, tmp_path) as server:
        states = finished(server, trigger(server, source=str(tmp_path / "in1")))
        assert {name for name, state in states.items() if state != "success"} == {"approve"}
        photograph(server)
    assert PICTURE.stat().st_size > 20_000
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    version = client.get_model_version_by_alias("longtail", "champion")
    assert int(version.version) == 1
    assert not [name for name in REQUIRED_TAGS if not version.tags.get(name)]
    [record] = run("git", "tag", "--list", "nightly/*", cwd=project).splitlines()
    assert version.tags["data_revision"] == run("git", "rev-parse", record, cwd=project)
    assert f"nightly/{version.tags['logical_date']}" == record


@pytest.mark.beyond_gate
def test_a_scheduler_killed_during_a_run(toy: Path, tmp_path: Path) -> None:
    """It is restarted, the run succeeds, nothing is registered twice, no worker outlives all."""
    total = toy / "toy" / "total.py"
    total.write_text("import time\ntime.sleep(15)\n" + total.read_text())
    run("git", "commit", "--quiet", "--all", "-m", "Slow", cwd=toy)
    with serve(toy, tmp_path, **SOON) as server:
        run_id = trigger(server)
        path = f"dags/nightly_retraining/dagRuns/{run_id}/taskInstances/stages.total"
        deadline = time.monotonic() + 200
        while server.call("GET", path)["state"] != "running":
            assert time.monotonic() < deadline
            time.sleep(0.5)
        time.sleep(2)
        for process in psutil.Process(server.pid).children():
            if "scheduler" in process.cmdline():
                dead, workers = process, process.children(recursive=True)
                dead.kill()  # its workers live on
        states = finished(server, run_id)
        assert states["stages.total"] == states["apply"] == "success", states
        schedulers = [process.pid for process in psutil.Process(server.pid).children()
                      if "scheduler" in process.cmdline()]  # fmt: skip
        assert len(schedulers) == 1 and schedulers != [dead.pid]
    assert workers and not [worker for worker in workers if worker.is_running()]
    [version] = json.loads((tmp_path / "home" / "state" / "versions.json").read_text())
    assert (tmp_path / "home" / "state" / "champion").read_text() == "2"


def test_two_runs_wait_for_each_other_and_unpausing_starts_no_third(
    toy: Path, tmp_path: Path
) -> None:
    total = toy / "toy" / "total.py"
    total.write_text("import time\ntime.sleep(5)\n" + total.read_text())
    run("git", "commit", "--quiet", "--all", "-m", "Slow", cwd=toy)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "new.jsonl").write_text("3\n4\n")
    path = "dags/nightly_retraining"

    def by_hand(**conf: str) -> None:
        server.call("POST", f"{path}/dagRuns", {"logical_date": None, "conf": conf})

    with serve(toy, tmp_path, LONGTAIL_RETRIES="0") as server:
        for _ in range(120):
            with suppress(urllib.error.HTTPError):  # until the DAG has been parsed
                by_hand()
                break
            time.sleep(1)
        by_hand(source=str(tmp_path / "in"))
        server.call("PATCH", path, {"is_paused": False})
        deadline = time.monotonic() + 600
        while True:
            runs = server.call("GET", f"{path}/dagRuns")["dag_runs"]
            if all(found["state"] in ("success", "failed") for found in runs):
                break
            assert time.monotonic() < deadline, runs
            time.sleep(2)
    assert [found["state"] for found in runs] == ["success", "success"], runs
    first, second = sorted(runs, key=lambda found: str(found["start_date"]))
    assert first["end_date"] <= second["start_date"]
    files = run("git", "show", "nightly:taken_in.json", cwd=toy)
    assert "new.jsonl" in files
    assert (tmp_path / "home" / "state" / "champion").read_text() == "4"
    assert (tmp_path / "in" / "new.jsonl").exists()
    versions = json.loads((tmp_path / "home" / "state" / "versions.json").read_text())
    # Had the one without a source been first, the old data would have been trained on as well.
    assert len(versions) == (1 if first["conf"] else 2)


def photograph(server: Server) -> None:
    """The grid view in headless Chromium, with every stage in its own row."""
    from playwright.sync_api import sync_playwright

    PICTURE.parent.mkdir(exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        context.add_cookies([{"name": "_token", "value": server.token, "url": server.address}])
        page = context.new_page()
        page.goto(f"{server.address}/dags/nightly_retraining", wait_until="networkidle")
        page.get_by_text("notify").first.wait_for(timeout=60_000)
        page.get_by_label("Expand all task groups").first.click()
        page.get_by_text("thresholds").first.wait_for(timeout=30_000)
        page.screenshot(path=str(PICTURE))
        browser.close()
