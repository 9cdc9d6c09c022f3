"""Each step's pod for real: a night through the stand-in for the API, whose node is Podman."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts import podman
from tests.builders.cluster import serve
from tests.builders.nights import Nights, run
from tests.builders.podman_node import Node
from tests.builders.s3 import BUCKET, keys, serve_s3

DVC = (sys.executable, "-m", "dvc", "remote")
pytestmark = [pytest.mark.containers, pytest.mark.beyond_gate]
FIRST = "2026-03-01T02:00:00"


def test_a_night_of_real_pods(airflow_home: Path, toy: Path, tmp_path: Path, images: str) -> None:
    node = Node(tmp_path / "home", secrets={"HF_TOKEN": "planted-1"})
    node.home.mkdir()
    extra = {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "LONGTAIL_SECRET": "longtail",
        "LONGTAIL_IMAGES": "localhost/longtail-{target}:latest",
        "HF_TOKEN": "planted-1",
    }
    nights = Nights(airflow_home, toy, node.home, "kubernetes", tuple(extra.items()))
    with serve(node, tmp_path / "kubeconfig"):
        states, output = nights(FIRST)
    skipped = {"approve", "ingest"}
    assert {name for name, state in states.items() if state != "success"} == skipped, (
        output.partition("Notification:")[2][:4000]
    )
    champion = nights.home / "state" / "champion"
    assert (champion.read_text(), champion.stat().st_uid) == ("2", 10001)
    used = {pod["spec"]["containers"][0]["image"] for pod in node.seen}
    assert used == {f"localhost/longtail-{target}:latest" for target in ("data", "train")}
    assert "planted" not in output
    assert podman.podman("ps", "--all", "--quiet") == ""


def test_a_night_of_real_pods_without_a_volume(
    airflow_home: Path, toy: Path, tmp_path: Path, images: str
) -> None:
    """Each pod has folders of its own; S3 is on loopback, and the toy's registry in each pod."""
    with serve_s3() as s3:
        run(*DVC, "add", "--quiet", "--default", "storage", f"s3://{BUCKET}/dvc", cwd=toy)
        run("git", "commit", "--quiet", "--all", "-m", "Remote", cwd=toy)
        extra = s3 | {
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            "LONGTAIL_SECRET": "longtail",
            "LONGTAIL_STORAGE": "remote",
            "LONGTAIL_IMAGES": "localhost/longtail-{target}:latest",
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        }
        node = Node(tmp_path / "home", secrets=dict(extra))
        node.home.mkdir()
        nights = Nights(airflow_home, toy, node.home, "kubernetes", tuple(extra.items()))
        with serve(node, tmp_path / "kubeconfig"):
            states, output = nights(FIRST)
        skipped = {name for name, state in states.items() if state != "success"}
        assert skipped == {"approve", "ingest"}, output.partition("Notification:")[2][:4000]
        assert keys(s3, "dvc/nights/") == []
    assert len(node.seen) == 7
    assert "persistentVolumeClaim" not in json.dumps(node.seen)
    [workspace] = (node.home / "workspaces").iterdir()
    assert (workspace / "reports" / "page.txt").read_text() == "2 lines\n"
    outcome = json.loads((workspace / "reports" / "outcome.json").read_text())
    assert outcome["outcome"] == "promoted"
    assert "planted" not in output
    assert podman.podman("ps", "--all", "--quiet") == ""
