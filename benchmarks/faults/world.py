"""The world of a campaign: a small project, Airflow, a tracking server, a store, and a webhook."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.faults.proxies import Notices, Tracker
from tests.builders.airflow_server import SOON, Server, serve
from tests.builders.nights import run
from tests.builders.real_project import make_project

DELIVERIES, DOCS = 80, 15  # files that arrive, one a night, and documents in each
# What can run full, each a file system of its own: where it is, and its size in MiB.
DISKS = {"home": ("home", 1500), "store": ("store", 1500), "cache": ("home/state", 500)}
KEPT = 4  # workspaces; nobody waits two weeks for retention here
SETTINGS = {
    **SOON,
    "LONGTAIL_RETRIES": "3",
    "LONGTAIL_RETRY_SECONDS": "5",
    "OMP_NUM_THREADS": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
DAG = "nightly_retraining"
ENDED = ("success", "failed")


@dataclass
class World:
    """Everything a fault can hit.

    Attributes:
        folder: With `project` (git, DVC), `remote` (DVC's), and `new` (deliveries).
        server: Airflow.
        tracker: MLflow behind a proxy.
        notices: The webhook.
    """

    folder: Path
    server: Server
    tracker: Tracker
    notices: Notices

    @property
    def project(self) -> Path:
        return self.folder / "project"

    def deliver(self) -> Path | None:
        """Let the next file arrive; None if all have."""
        new = self.folder / "new"
        for i in range(1, DELIVERIES + 1):
            to = new / f"{i}.jsonl"
            if not to.exists():
                shutil.copy(self.folder / f"in{i}" / to.name, to)
                return to
        return None

    def trigger(self, dag: str = DAG, **conf: Any) -> str:
        body = {"logical_date": None, "conf": conf}
        return str(self._call("POST", f"dags/{dag}/dagRuns", body)["dag_run_id"])

    def night(self) -> str:
        """Start a night that takes what has arrived."""
        return self.trigger(source=str(self.folder / "new"))

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Airflow's answer, once it answers: a fault may have hit the API server."""
        for _ in range(60):
            try:
                return self.server.call(method, path, body)
            except (OSError, urllib.error.URLError, ValueError) as error:
                code = error.code if isinstance(error, urllib.error.HTTPError) else 500
                if code in (401, 403):  # issued before the clock was set back, it is of the future
                    with suppress(OSError, ValueError):
                        self.server.login()
                elif isinstance(error, urllib.error.HTTPError) and code < 500:
                    raise RuntimeError(f"{path}: {error.read().decode()[:500]}") from None
                time.sleep(2)
        raise RuntimeError(f"Airflow's API does not answer {path}")

    def runs(self) -> list[dict[str, Any]]:
        """All runs of both DAGs, oldest first."""
        found: list[dict[str, Any]] = []
        for dag in (DAG, "rollback"):
            query = f"dags/{dag}/dagRuns?limit=100&order_by=-run_after"
            found += self._call("GET", query)["dag_runs"]
        return sorted(found, key=lambda r: r["run_after"])

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        path = f"dags/{dag}/dagRuns/{run_id}/taskInstances"
        return list(self._call("GET", path)["task_instances"])

    def clear(self, run_id: str, task: str) -> None:
        """Clear the run from `task` on, as a person does in the UI."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task], "only_failed": False,
                "include_downstream": True}  # fmt: skip
        self._call("POST", f"dags/{DAG}/clearTaskInstances", body)

    def wait(self, seconds: float = 1500) -> None:
        """Wait until no run is left that runs or waits.

        Raises:
            TimeoutError: It took too long.
        """
        deadline = time.monotonic() + seconds
        while going := [r["dag_run_id"] for r in self.runs() if r["state"] not in ENDED]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds:.0f} s still going: {going}")
            time.sleep(3)

    def release(self) -> None:
        """Lift the hold that a rollback has set, as a person does."""
        env = {**os.environ, "MLFLOW_TRACKING_URI": self.tracker.address}
        argv = [sys.executable, "-m", "components.promote", "release", "--reason", "looked at"]
        subprocess.run(argv, cwd=self.project, env=env, check=False, stdout=subprocess.DEVNULL)

    def prune(self) -> None:
        """Remove old workspaces, as retention does after two weeks."""
        found = sorted((self.folder / "home" / "workspaces").iterdir(), key=os.path.getmtime)
        for old in found[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Every process of Airflow and of the steps, children of dead ones too."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("LONGTAIL_HOME") == str(self.folder / "home"):
                    found.append(process)
        return [p for p in found if p.pid != self.server.pid]


def set_clock(folder: Path, seconds: int) -> None:
    """Let the clock of Airflow and its steps differ by so many seconds from the machine's."""
    path = folder / "clock"
    path.touch()
    with path.open("r+b") as file:  # in place: the processes have it mapped
        file.write(struct.pack("l", seconds))


def clock_library(folder: Path) -> Path:
    """Compile the library through which Airflow and its steps read the time."""
    target = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    argv = ["cc", "-shared", "-fPIC", "-O1", "-o", str(target), str(source), "-ldl"]
    subprocess.run(argv, check=True)
    return target


def champion_of(database: Path) -> str | None:
    """The champion, read from MLflow's database: it works while the tracker is down."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        row = store.execute(
            "select version from registered_model_aliases where alias = 'champion'"
        ).fetchone()
    return str(row[0]) if row else None


def build(folder: Path) -> None:
    """Make the project, its remote, and the deliveries, unless they are there."""
    if (folder / "built").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    mount(folder)
    project = make_project(folder / "project", (DOCS,) * DELIVERIES)
    shutil.copytree(project / ".dvc" / "cache", folder / "store", dirs_exist_ok=True)
    (folder / "remote").mkdir()
    (folder / "new").mkdir()
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["train"]["head"]["epochs"] = 4
    # Nearly every model is promoted: the campaign is about the moves, not about the gate.
    params["promote"] |= {"min_gain": -1.0, "max_micro_loss": 1.0}
    params["promote"]["max_loss"] = {"HEAD": 1.0, "MEDIUM": 1.0, "TAIL": 1.0}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run("git", "config", "--local", "receive.denyCurrentBranch", "ignore", cwd=project)
    dvc = ("python", "-m", "dvc", "remote", "add", "--default", "far", str(folder / "remote"))
    env = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    subprocess.run(dvc, cwd=project, env=env, check=True, stdout=subprocess.DEVNULL)
    run("git", "commit", "--quiet", "--all", "-m", "A remote", cwd=project)
    (folder / "built").touch()


def mount(folder: Path) -> None:
    """Give each folder of DISKS a small file system of its own (needs root)."""
    for place, size in DISKS.values():
        path = folder / place
        path.mkdir(exist_ok=True)
        if not os.path.ismount(path):
            options = ["-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(path)]
            subprocess.run(["mount", *options], check=True)


def unmount(folder: Path) -> None:
    for place, _ in reversed(DISKS.values()):
        subprocess.run(["umount", "--lazy", str(folder / place)], check=False)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """The world in `folder`, built if it is not there, stopped at the end."""
    build(folder)
    mount(folder)
    set_clock(folder, 0)
    tracker = Tracker(folder)
    notices = Notices(lambda: champion_of(folder / "mlflow.db"))
    hook = {"conn_type": "http", "host": notices.address, "schema": "http"}
    settings = {
        **SETTINGS,
        "MLFLOW_TRACKING_URI": tracker.address,
        "LONGTAIL_DVC_CACHE": str(folder / "store"),
        "AIRFLOW_CONN_LONGTAIL_WEBHOOK": json.dumps(hook),
        "LD_PRELOAD": str(clock_library(folder)),
        "CAMPAIGN_CLOCK": str(folder / "clock"),
    }
    try:
        with serve(folder / "project", folder, **settings) as server:
            found = World(folder, server, tracker, notices)
            for dag in (DAG, "rollback"):
                for _ in range(120):
                    with suppress(RuntimeError):  # until it has been parsed
                        found._call("PATCH", f"dags/{dag}", {"is_paused": False})
                        break
                    time.sleep(1)
            yield found
    finally:
        tracker.stop()
