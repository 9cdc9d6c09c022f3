"""The real stages on one small corpus: DVC, Airflow in processes and containers, Kubeflow agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.containers.test_kubeflow_local import KFP
from tests.dags.conftest import ROOT, Nights, run

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]
RESULTS = ("artifacts/split/assignment.parquet", "artifacts/thresholds/thresholds.json",
           "reports/metrics.json")  # fmt: skip
# Figures that depend on the clock or the machine, not on the data.
TIMES = ("seconds", "latency", "ms", "rate")


def project(folder: Path) -> Path:
    """A clone of this repository over a small corpus, without a record of earlier results."""
    run("git", "clone", "--quiet", str(ROOT), str(folder), cwd=folder.parent)
    (folder / "data.dvc").unlink(missing_ok=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    python = ("python", "-m", "components.ingest", "synthetic")
    in_project(folder, *python, "--docs", "400", "--labels", "12", "--seed", "3")
    in_project(folder, "python", "-m", "dvc", "add", "--quiet", "data")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["train"]["losses"] = ["db"]
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "--quiet", "-m", "A small corpus", cwd=folder)
    return folder


def in_project(folder: Path, *words: str, **env: str) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {**os.environ, "PATH": path, "LONGTAIL_CACHE": str(folder / ".cache"), **env}
    settings.pop("PYTHONPATH", None)
    done = subprocess.run(words, cwd=folder, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]


@pytest.fixture(scope="module")
def small(identity: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("small") / "project")


@pytest.fixture(scope="module")
def reference(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "project"
    run("git", "clone", "--quiet", str(small), str(folder), cwd=small)
    (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {small}/.dvc/cache\n")
    in_project(folder, "python", "-m", "dvc", "checkout", "--quiet", "data.dvc")
    in_project(folder, "python", "-m", "dvc", "repro", "--quiet", "--no-run-cache", "--no-commit")
    return folder


def assert_same(found: Path, reference: Path) -> None:
    assignment, thresholds, metrics = RESULTS
    pd.testing.assert_frame_equal(
        pd.read_parquet(found / assignment), pd.read_parquet(reference / assignment)
    )
    for name in (thresholds, metrics):
        ours, theirs = (json.loads((p / name).read_text()) for p in (found, reference))
        ours, theirs = dict(flat(ours)), dict(flat(theirs))
        assert sorted(ours) == sorted(theirs)
        for key, value in theirs.items():
            if isinstance(value, float):
                np.testing.assert_allclose(ours[key], value, atol=1e-6, rtol=0, err_msg=key)
            else:
                assert ours[key] == value, key


def flat(value: object, path: str = ""):  # type: ignore[no-untyped-def]
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in pairs:
            yield from flat(inner, f"{path}/{name}")
    elif not any(word in path.rsplit("/", 1)[-1] for word in TIMES):
        yield path, value


@pytest.mark.parametrize("runner", ["process", "docker"])
def test_airflow_gives_what_dvc_gives(
    runner: str, small: Path, reference: Path, airflow_home: Path, tmp_path: Path, socket: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    extra = (("DOCKER_HOST", socket), ("LONGTAIL_NETWORK", "host"), ("LONGTAIL_RETRIES", "0"))
    date = f"2026-04-0{1 + (runner == 'docker')}T02:00:00"
    states, output = Nights(airflow_home, small, home, runner, extra)(date, force=True)
    failed = {name: state for name, state in states.items() if "failed" in str(state)}
    assert not failed, output[-4000:]
    [workspace] = (home / "workspaces").iterdir()
    assert_same(workspace, reference)
    registered = json.loads((workspace / "reports" / "registered.json").read_text())
    assert registered["version"] == "1" and not (workspace / "mlruns").exists()


def test_kubeflow_gives_what_dvc_gives(
    small: Path, reference: Path, tmp_path: Path, socket: str
) -> None:
    folder = tmp_path / "project"
    run("git", "clone", "--quiet", str(small), str(folder), cwd=small)
    (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {small}/.dvc/cache\n")
    in_project(folder, "python", "-m", "dvc", "checkout", "--quiet", "data.dvc")
    if not KFP.exists():
        subprocess.run(["make", "kubeflow"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DOCKER_HOST": socket, "LONGTAIL_NETWORK": "host"}
    words = [str(KFP), "-m", "dags._kubeflow_local", str(folder)]
    done = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert_same(folder, reference)
