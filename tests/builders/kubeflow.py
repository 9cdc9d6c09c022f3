"""Runs the Kubeflow pipeline on this machine, in Kubeflow's own virtual environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.builders.paths import ROOT


def run_kubeflow(workspace: Path, socket: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run every stage in `workspace` with the Docker API at `socket`."""
    subprocess.run(["make", "--silent", ".venv-kfp/.installed"], cwd=ROOT, check=True)
    argv = [".venv-kfp/bin/python", "-m", "dags._kubeflow_local", str(workspace)]
    own = {"PYTHONPATH": str(ROOT), "DOCKER_HOST": socket, "LONGTAIL_NETWORK": "host"}
    env = os.environ | own | settings
    return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True)
