"""Airflow as `make airflow` starts it, over a project, driven by its REST API."""

from __future__ import annotations

import json
import re
import signal
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

from tests.builders.faulty_server import free_port
from tests.builders.nights import environment
from tests.builders.paths import ROOT

# What a killed process leaves is noticed within seconds rather than minutes.
SOON = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
}


@dataclass
class Server:
    address: str
    user: str
    password: str
    home: Path
    pid: int
    token: str = ""

    def login(self) -> None:
        """Get a token from the API server."""
        body = json.dumps({"username": self.user, "password": self.password}).encode()
        request = urllib.request.Request(
            f"{self.address}/auth/token", body, {"Content-Type": "application/json"}
        )
        self.token = json.load(urllib.request.urlopen(request, timeout=60))["access_token"]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.address}/api/v2/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


@contextmanager
def serve(project: Path, folder: Path, **settings: str) -> Iterator[Server]:
    """The four processes over `project`, stopped at the end."""
    port = free_port()
    env = environment(
        AIRFLOW_HOME=str(folder / "airflow"),
        AIRFLOW__API__PORT=str(port),
        LONGTAIL_REPO=str(project),
        LONGTAIL_HOME=str(folder / "home"),
        **{"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", **settings},
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
        server = Server(
            f"http://127.0.0.1:{port}", found[1], found[2], folder / "home", process.pid
        )
        server.login()
        yield server
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
