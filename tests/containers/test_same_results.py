"""The real stages in containers, by Airflow and by Kubeflow: the same results as `dvc repro`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from scripts import podman
from tests.builders.cluster import serve
from tests.builders.kubeflow import run_kubeflow
from tests.builders.nights import Nights
from tests.builders.podman_node import Node
from tests.builders.real_project import assert_same, make_project, reproduce

pytestmark = [pytest.mark.containers, pytest.mark.beyond_gate]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("small") / "project", (60,))


@pytest.fixture(scope="module")
def reference(small: Path) -> Path:
    return reproduce(small, small.parent / "reference", small.parent / "in1")


def test_airflow_gives_what_dvc_gives(
    small: Path, reference: Path, airflow_home: Path, tmp_path: Path, socket: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    extra = (("DOCKER_HOST", socket), ("LONGTAIL_NETWORK", "host"))
    source = str(small.parent / "in1")
    nights = Nights(airflow_home, small, home, "docker", extra)
    states, output = nights("2026-04-02T02:00:00", source=source)
    failed = {name: state for name, state in states.items() if "failed" in str(state)}
    assert not failed, output[-4000:]
    [workspace] = (home / "workspaces").iterdir()
    assert_same(workspace, reference)
    registered = json.loads((workspace / "reports" / "registered.json").read_text())
    assert registered["version"] == "1" and not (workspace / "mlruns").exists()
    owners = {path.stat().st_uid for path in (workspace / "artifacts").rglob("*")}
    assert owners == {10001}
    assert podman.podman("ps", "--all", "--quiet") == ""


def test_pods_give_what_dvc_gives(
    small: Path, reference: Path, airflow_home: Path, tmp_path: Path, images: str
) -> None:
    node = Node(tmp_path / "home")
    node.home.mkdir()
    extra = (("KUBECONFIG", str(tmp_path / "kubeconfig")),)
    project = Path(shutil.copytree(small, tmp_path / "project", symlinks=True))
    nights = Nights(airflow_home, project, node.home, "kubernetes", extra)
    with serve(node, tmp_path / "kubeconfig"):
        states, output = nights("2026-04-03T02:00:00", source=str(small.parent / "in1"), force=True)
    failed = {name: state for name, state in states.items() if "failed" in str(state)}
    assert not failed, output.partition("Notification:")[2][:4000]
    [workspace] = (node.home / "workspaces").iterdir()
    assert_same(workspace, reference)
    stages = {pod["metadata"]["labels"]["task_id"] for pod in node.seen}
    assert len([name for name in stages if name.startswith("stages.")]) == 7


def test_kubeflow_gives_what_dvc_gives(
    small: Path, reference: Path, tmp_path: Path, socket: str
) -> None:
    shutil.copytree(small, tmp_path / "home" / "repo", symlinks=True)
    shutil.copytree(small.parent / "in1", tmp_path / "home" / "new")
    # Forced, since an earlier test may have taken the files in and recorded the outputs.
    done = run_kubeflow(tmp_path / "home", socket, "source=/longtail/new", "force=true")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    folders = (tmp_path / "home" / "workspaces").iterdir()
    [workspace] = [path for path in folders if path.suffix != ".steps"]
    assert_same(workspace, reference)
    registered = json.loads((workspace / "reports" / "registered.json").read_text())
    assert registered["version"] == "1"
    assert "longtail: promoted." in done.stdout
