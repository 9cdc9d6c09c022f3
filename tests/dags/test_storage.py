"""Storage `remote`: nights whose pods share no volume, and what a step's files go through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import cluster as fake
from tests.builders.cluster import Cluster
from tests.builders.nights import Nights, run
from tests.builders.s3 import BUCKET, keys, serve_s3

FIRST, SECOND = "2026-03-01T02:00:00", "2026-03-02T02:00:00"


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    with serve_s3() as settings:
        yield settings


@pytest.fixture
def remote(toy: Path, s3: dict[str, str]) -> Path:
    """The toy project with a default remote in S3; credentials come from the environment."""
    import sys

    dvc = (sys.executable, "-m", "dvc", "remote")
    run(*dvc, "add", "--quiet", "--default", "storage", f"s3://{BUCKET}/dvc", cwd=toy)
    run(*dvc, "modify", "--quiet", "storage", "endpointurl", s3["AWS_ENDPOINT_URL"], cwd=toy)
    run("git", "commit", "--quiet", "--all", "-m", "Remote", cwd=toy)
    return toy


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "home").mkdir()
    served = Cluster(tmp_path / "home")
    with fake.serve(served, tmp_path / "kubeconfig"):
        yield served


@pytest.fixture
def nights(
    airflow_home: Path, remote: Path, tmp_path: Path, cluster: Cluster, s3: dict[str, str]
) -> Nights:
    extra = s3 | {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "LONGTAIL_SECRET": "longtail",
        "LONGTAIL_STORAGE": "remote",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    }
    cluster.secrets.update(extra)
    return Nights(airflow_home, remote, cluster.home, "kubernetes", tuple(extra.items()))


@pytest.mark.slow
def test_a_night_of_pods_without_a_volume(nights: Nights, s3: dict[str, str]) -> None:
    states, output = nights(FIRST)
    print(output)
    assert {name for name, state in states.items() if state != "success"} == {
        "approve",
        "ingest",
    }, output[-3000:]
    print(keys(s3, ""))
