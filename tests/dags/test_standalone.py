"""Airflow as `make airflow` starts it: a run by REST API, a screenshot, a killed scheduler."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from components._registry.client import REQUIRED_TAGS
from tests.builders.nights import environment, run
from tests.builders.paths import ROOT
from tests.builders.real_project import make_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
# docs/images has a copy.
PICTURE = ROOT / "build" / "nightly-grid.png"


@dataclass
class Server:
    address: str
    token: str
    home: Path
    pid: int

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.address}/api/v2/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(project: Path, folder: Path, **settings: str) -> Iterator[Server]:
    """The four processes over `project`, stopped at the end."""
    port = free_port()
    env = environment(
        AIRFLOW_HOME=str(folder / "airflow"),
        AIRFLOW__API__PORT=str(port),
        LONGTAIL_REPO=str(project),
        LONGTAIL_HOME=str(folder / "home"),
        MLFLOW_TRACKING_URI=f"sqlite:///{folder}/mlflow.db",
        **settings,
    )
    log = (folder / "standalone.log").open("w+")
    process = subprocess.Popen([sys.executable, str(ROOT / "scripts" / "standalone.py")], env=env,
                               stdout=log, stderr=subprocess.STDOUT)  # fmt: skip
    try:
        for _ in range(600):
            log.seek(0)
            if found := re.search(r"user (\S+)  password (\S+)", log.read()):
                break
            assert process.poll() is None
            time.sleep(0.5)
        assert found, "no user and password were printed in five minutes"
        address = f"http://127.0.0.1:{port}"
        body = json.dumps({"username": found[1], "password": found[2]}).encode()
        request = urllib.request.Request(
            f"{address}/auth/token", body, {"Content-Type": "application/json"}
        )
        token = json.load(urllib.request.urlopen(request, timeout=60))["access_token"]
        yield Server(address, token, folder / "home", process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


def trigger(server: Server, **conf: Any) -> str:
    """Start by REST the night that is due, unpause the DAG, and return the run's id."""
    path = "dags/nightly_retraining"
    due = datetime.now(UTC) - timedelta(hours=2)
    body = {"logical_date": f"{due:%Y-%m-%d}T02:00:00Z", "conf": conf}
    for _ in range(120):
        with suppress(urllib.error.HTTPError):  # until the DAG has been parsed
            made = server.call("POST", f"{path}/dagRuns", body)
            server.call("PATCH", path, {"is_paused": False})
            return str(made["dag_run_id"])
        time.sleep(1)
    raise AssertionError("the DAG did not appear in two minutes")


def finished(server: Server, run_id: str, seconds: int = 800) -> dict[str, str]:
    """Wait for the end of the run, and return the states of its tasks."""
    path = f"dags/nightly_retraining/dagRuns/{run_id}"
    deadline = time.monotonic() + seconds
    while server.call("GET", path)["state"] not in ("success", "failed"):
        assert time.monotonic() < deadline, server.call("GET", f"{path}/taskInstances")
        time.sleep(2)
    tasks = server.call("GET", f"{path}/taskInstances")["task_instances"]
    return {task["task_id"]: task["state"] for task in tasks}


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


def test_a_scheduler_killed_during_a_run(toy: Path, tmp_path: Path) -> None:
    """It is restarted, the run succeeds, and nothing is registered twice."""
    total = toy / "toy" / "total.py"
    total.write_text("import time\ntime.sleep(15)\n" + total.read_text())
    run("git", "commit", "--quiet", "--all", "-m", "Slow", cwd=toy)
    soon = {
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    }
    with serve(toy, tmp_path, **soon) as server:
        run_id = trigger(server)
        path = f"dags/nightly_retraining/dagRuns/{run_id}/taskInstances/stages.total"
        deadline = time.monotonic() + 200
        while server.call("GET", path)["state"] != "running":
            assert time.monotonic() < deadline
            time.sleep(0.5)
        time.sleep(2)
        for process in psutil.Process(server.pid).children():
            if "scheduler" in process.cmdline():
                dead = process.pid
                os.killpg(dead, signal.SIGKILL)
        states = finished(server, run_id)
        assert states["stages.total"] == states["apply"] == "success", states
        schedulers = [process.pid for process in psutil.Process(server.pid).children()
                      if "scheduler" in process.cmdline()]  # fmt: skip
        assert len(schedulers) == 1 and schedulers != [dead]
    [version] = json.loads((tmp_path / "home" / "state" / "versions.json").read_text())
    assert (tmp_path / "home" / "state" / "champion").read_text() == "2"


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
