"""Each step's pod for real: a night through the stand-in for the API, whose node is Podman."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import podman
from tests.builders.cluster import serve
from tests.builders.nights import Nights
from tests.builders.podman_node import Node

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
