"""A toy project under git and DVC, and nights of the DAG over a project, run by Airflow itself."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from scripts import standalone
from tests.builders.paths import ROOT
from tests.builders.warm_airflow import airflow

TOY = ROOT / "tests" / "builders" / "toy_project"
IDENTITY = {
    f"GIT_{role}_{name}": value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in (("NAME", "Toy"), ("EMAIL", "toy@longtail.invalid"))
}


def run(*argv: str, cwd: Path) -> str:
    """Run a command that must succeed, and return its output."""
    env = os.environ | IDENTITY
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def environment(**settings: str) -> dict[str, str]:
    """This process's environment, without what a user or other tests set for the project.

    (Importing some components sets variables for MLflow.)
    """
    own = {k: v for k, v in os.environ.items() if not k.startswith(("LONGTAIL_", "MLFLOW_"))}
    return {**own, "PYTHONPATH": str(ROOT), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **settings}


def make_toy(folder: Path) -> Path:
    """The toy project as a repository whose `data/` holds one file of two lines."""
    shutil.copytree(TOY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "gitignore").rename(folder / ".gitignore")
    (folder / "data").mkdir()
    (folder / "data" / "first.jsonl").write_text("1\n2\n")
    run("git", "init", "--quiet", "--initial-branch=main", cwd=folder)
    run(sys.executable, "-m", "dvc", "init", "--quiet", cwd=folder)
    run(sys.executable, "-m", "dvc", "add", "--quiet", "data", cwd=folder)
    run("git", "add", ".", cwd=folder)
    run("git", "commit", "--quiet", "-m", "Start", cwd=folder)
    return folder


def make_airflow_home(folder: Path) -> Path:
    """A migrated Airflow database."""
    standalone.prepare(environment(AIRFLOW_HOME=str(folder)))
    return folder


@dataclass
class Nights:
    """Runs the DAG over one project, night after night, through `airflow dags test`."""

    airflow_home: Path
    repo: Path
    home: Path
    runner: str = "process"
    extra: tuple[tuple[str, str], ...] = ()
    dag: str = "nightly_retraining"

    @property
    def env(self) -> dict[str, str]:
        """The environment of Airflow."""
        settings = {
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "LONGTAIL_RETRIES": "0",
            "LONGTAIL_RUNNER": self.runner,
            "LONGTAIL_REPO": str(self.repo),
            "LONGTAIL_HOME": str(self.home),
        }
        return environment(**settings, **dict(self.extra))

    def __call__(self, date: str, **params: object) -> tuple[dict[str, str], str]:
        """Run `date`, and return the states by task and the output."""
        told = airflow(
            ["dags", "test", self.dag, date, "--conf", json.dumps(params)], self.env, self.home
        )
        with closing(sqlite3.connect(self.airflow_home / "airflow.db")) as store:
            rows = store.execute(
                "select task_id, ti.state from task_instance ti join dag_run r using (run_id)"
                " where r.logical_date like ? and r.dag_id = ?",
                (date.replace("T", " ") + "%", self.dag),
            ).fetchall()
        return dict(rows), told

    def run_state(self, date: str) -> str:
        """The state of the whole run of `date`."""
        with closing(sqlite3.connect(self.airflow_home / "airflow.db")) as store:
            [state] = store.execute(
                "select state from dag_run where logical_date like ? and dag_id = ?",
                (date.replace("T", " ") + "%", self.dag),
            ).fetchone()
        return str(state)

    def versions(self) -> list[dict[str, str]]:
        """What the toy's `register` has registered so far."""
        return json.loads((self.home / "state" / "versions.json").read_text())
