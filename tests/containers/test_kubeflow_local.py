"""The Kubeflow pipeline on kfp's local Docker runner: DVC's results, and failures told as such."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.paths import ROOT
from tests.dags.conftest import run

pytestmark = pytest.mark.containers
TOY_IMAGE = "localhost/longtail-data:latest"


def run_kubeflow(
    kfp: Path, workspace: Path, socket: str, **extra: str
) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DOCKER_HOST": socket,
        "LONGTAIL_NETWORK": "host",
        **extra,
    }
    words = [str(kfp), "-m", "dags._kubeflow_local", str(workspace)]
    return subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True)


def test_the_same_files_as_dvc(kfp: Path, toy: Path, socket: str) -> None:
    done = run_kubeflow(kfp, toy, socket, LONGTAIL_IMAGES=TOY_IMAGE)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {
        name: (toy / name).read_text() for name in ("artifacts/total.json", "reports/page.txt")
    }
    assert (toy / "reports" / "page.txt").stat().st_uid != 0
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--force"], cwd=toy, check=True,
                   env=os.environ | path, capture_output=True)  # fmt: skip
    assert found == {name: (toy / name).read_text() for name in found}


def test_a_failing_stage_fails_the_run(kfp: Path, toy: Path, socket: str) -> None:
    (toy / "toy" / "total.py").write_text("import sys\nprint('no sum today')\nsys.exit(3)\n")
    done = run_kubeflow(kfp, toy, socket, LONGTAIL_IMAGES=TOY_IMAGE)
    assert done.returncode != 0
    assert "no sum today" in done.stdout
    assert "'total'" in done.stdout + done.stderr
    assert not (toy / "reports" / "page.txt").exists()
    assert run("git", "status", "--porcelain", "data.dvc", cwd=toy) == ""
