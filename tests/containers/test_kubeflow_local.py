"""The Kubeflow pipeline on kfp's local Docker runner: DVC's results, and failures are failures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.kubeflow import run_kubeflow
from tests.builders.nights import run

pytestmark = pytest.mark.containers
TOY_IMAGE = "localhost/longtail-data:latest"


def test_the_same_files_as_dvc(toy: Path, socket: str) -> None:
    done = run_kubeflow(toy, socket, LONGTAIL_IMAGES=TOY_IMAGE)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {
        name: (toy / name).read_text() for name in ("artifacts/total.json", "reports/page.txt")
    }
    assert (toy / "reports" / "page.txt").stat().st_uid != 0
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--force"], cwd=toy, check=True,
                   env=os.environ | path, capture_output=True)  # fmt: skip
    assert found == {name: (toy / name).read_text() for name in found}


def test_a_failing_stage_fails_the_run(toy: Path, socket: str) -> None:
    (toy / "toy" / "total.py").write_text("import sys\nprint('no sum today')\nsys.exit(3)\n")
    done = run_kubeflow(toy, socket, LONGTAIL_IMAGES=TOY_IMAGE)
    assert done.returncode != 0
    assert "no sum today" in done.stdout
    assert "'total'" in done.stdout + done.stderr
    assert not (toy / "reports" / "page.txt").exists()
    assert run("git", "status", "--porcelain", "data.dvc", cwd=toy) == ""
