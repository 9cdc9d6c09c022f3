"""Real images and a Docker-API socket of podman; skipped where neither can be had."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import podman
from tests.builders.paths import ROOT
from tests.dags.conftest import (  # noqa: F401 - fixtures
    Nights,
    airflow_home,
    identity,
    toy,
    toy_template,
)

PLANTED = "planted-7f3a91c2"


@pytest.fixture(scope="session")
def images() -> str:
    """All images, built (what was built before comes from podman's cache); what the builds said.

    The builds see secrets: in the environment, and in the pip settings that they are shown.
    """
    if not podman.installable():
        pytest.skip("podman and runc are not here, and only root can install them with apt-get")
    secrets = {"AWS_SECRET_ACCESS_KEY": PLANTED, "PIP_TRUSTED_HOST": f"{PLANTED}.invalid"}
    words = [sys.executable, str(ROOT / "scripts" / "images.py")]
    done = subprocess.run(words, env={**os.environ, **secrets}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    print(done.stdout)
    return done.stdout


@pytest.fixture(scope="session")
def socket(images: str) -> Iterator[str]:
    with podman.service() as address:
        yield address


@pytest.fixture
def nights(airflow_home: Path, toy: Path, tmp_path: Path, socket: str) -> Nights:  # noqa: F811
    """Nights of the toy project whose every stage runs in the `data` image."""
    home = tmp_path / "home"
    home.mkdir()
    extra = {
        "DOCKER_HOST": socket,
        "LONGTAIL_IMAGES": "localhost/longtail-data:latest",
        "LONGTAIL_NETWORK": "host",
        "LONGTAIL_RETRIES": "0",
    }
    return Nights(airflow_home, toy, home, "docker", tuple(extra.items()))


@pytest.fixture(scope="session")
def kfp() -> Path:
    """Kubeflow's own environment."""
    subprocess.run(["make", "--silent", ".venv-kfp/.installed"], cwd=ROOT, check=True)
    return ROOT / ".venv-kfp" / "bin" / "python"
