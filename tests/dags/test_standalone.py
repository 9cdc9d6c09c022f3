"""Airflow as `make airflow` starts it: a run through the REST API, its grid view as a picture."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.dags.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PICTURE = ROOT / "docs" / "images" / "nightly-grid.png"


@dataclass
class Server:
    address: str
    token: str
    home: Path

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.address}/api/v2/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(toy: Path, tmp_path: Path) -> Iterator[Server]:
    """The four processes over the toy project, stopped at the end."""
    port = free_port()
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__API__PORT": str(port),
        "LONGTAIL_REPO": str(toy),
        "LONGTAIL_HOME": str(tmp_path / "home"),
    }
    log = (tmp_path / "standalone.log").open("w+")
    process = subprocess.Popen([sys.executable, str(ROOT / "docker" / "standalone.py")], env=env,
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
        token = json.load(urllib.request.urlopen(request, timeout=30))["access_token"]
        yield Server(address, token, tmp_path / "home")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


def finished(server: Server, run_id: str, seconds: int = 400) -> dict[str, str]:
    """The states of the run's tasks when the run has ended."""
    path = f"dags/nightly_retraining/dagRuns/{run_id}"
    deadline = time.monotonic() + seconds
    while server.call("GET", path)["state"] not in ("success", "failed"):
        assert time.monotonic() < deadline, server.call("GET", f"{path}/taskInstances")
        time.sleep(2)
    tasks = server.call("GET", f"{path}/taskInstances")["task_instances"]
    return {task["task_id"]: task["state"] for task in tasks}


def test_a_run_through_the_api_is_green_and_photographed(server: Server) -> None:
    for _ in range(60):
        try:
            server.call("PATCH", "dags/nightly_retraining", {"is_paused": False})
            break
        except urllib.error.HTTPError:
            time.sleep(1)
    path = "dags/nightly_retraining/dagRuns"
    for _ in range(60):  # unpausing starts the night that was due
        if due := server.call("GET", path)["dag_runs"]:
            finished(server, due[0]["dag_run_id"])
            break
        time.sleep(1)
    run = server.call("POST", path, {"logical_date": None, "conf": {"force": True}})
    states = finished(server, run["dag_run_id"])
    assert {name for name, state in states.items() if state != "success"} == {"ingest", "approve"}
    assert (server.home / "state" / "champion").read_text() == "2"
    assert server.call("GET", "pools/gpu")["slots"] == 1
    photograph(server)
    assert PICTURE.stat().st_size > 20_000


def photograph(server: Server) -> None:
    """The grid view in headless Chromium, into docs/."""
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
        page.get_by_text("notify").first.wait_for(timeout=30_000)
        page.screenshot(path=str(PICTURE))
        browser.close()
