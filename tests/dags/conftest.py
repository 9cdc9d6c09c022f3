"""A toy project under git and DVC, and an Airflow home to run its nights in."""

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

import pytest

from tests.builders.paths import ROOT

TOY = ROOT / "tests" / "builders" / "toy_project"


def run(*argv: str, cwd: Path) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


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


@pytest.fixture(scope="session", autouse=True)
def identity() -> None:
    for role in ("AUTHOR", "COMMITTER"):
        os.environ[f"GIT_{role}_NAME"] = "Toy"
        os.environ[f"GIT_{role}_EMAIL"] = "toy@longtail.invalid"
    os.environ["DVC_NO_ANALYTICS"] = "1"


@pytest.fixture(scope="session")
def toy_template(identity: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("toy") / "project")


@pytest.fixture
def toy(toy_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_template, tmp_path / "project", symlinks=True))


@pytest.fixture(autouse=True)
def no_store_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow puts the store that it last used into the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def environment() -> dict[str, str]:
    """This process's environment less what importing components sets in it for MLflow."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}


@dataclass
class Nights:
    """Runs the DAG for one project, night after night, through `airflow dags test`."""

    airflow_home: Path
    repo: Path
    home: Path
    runner: str = "process"
    extra: tuple[tuple[str, str], ...] = ()
    dag: str = "nightly_retraining"

    @property
    def env(self) -> dict[str, str]:
        return {
            **environment(),
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "PYTHONPATH": str(ROOT),
            "LONGTAIL_RETRIES": "0",
            "LONGTAIL_RUNNER": self.runner,
            "LONGTAIL_REPO": str(self.repo),
            "LONGTAIL_HOME": str(self.home),
            **dict(self.extra),
        }

    def __call__(self, date: str, **params: object) -> tuple[dict[str, str], str]:
        """States by task and the output of the run of `date`."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "dags", "test", self.dag, date,
             "--conf", json.dumps(params)],
            env=self.env, cwd=self.home, capture_output=True, text=True,
        )  # fmt: skip
        with closing(sqlite3.connect(self.airflow_home / "airflow.db")) as store:
            rows = store.execute(
                "select task_id, ti.state from task_instance ti join dag_run r using (run_id)"
                " where r.logical_date like ? and r.dag_id = ?",
                (date.replace("T", " ") + "%", self.dag),
            ).fetchall()
        return dict(rows), done.stdout + done.stderr

    def versions(self) -> list[dict[str, str]]:
        """What the toy's `register` has registered so far."""
        return json.loads((self.home / "state" / "versions.json").read_text())


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated Airflow database with the pool that `train` asks for."""
    home = tmp_path_factory.mktemp("airflow")
    env = {**environment(), "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    for words in (["db", "migrate"], ["pools", "set", "gpu", "1", "one training at a time"]):
        subprocess.run([sys.executable, "-m", "airflow", *words], env=env, check=True,
                       capture_output=True)  # fmt: skip
    return home


@pytest.fixture
def nights(airflow_home: Path, toy: Path, tmp_path: Path) -> Nights:
    home = tmp_path / "home"
    home.mkdir()
    return Nights(airflow_home, toy, home)
