"""Real images and a Docker API socket of Podman; skipped if neither can be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import podman
from tests.builders.nights import Nights
from tests.builders.paths import ROOT


@pytest.fixture(scope="session")
def planted() -> str:
    """A secret that must not show up anywhere."""
    return "planted-7f3a91c2"


@pytest.fixture(scope="session")
def images(planted: str) -> str:
    """Build all images (unchanged layers come from Podman's cache), and return the output.

    The builds see secrets, in the environment and in the pip settings.
    """
    if not podman.installable():
        pytest.skip(
            "podman and runc are not installed, and only root can install them with apt-get"
        )
    secrets = {"AWS_SECRET_ACCESS_KEY": planted, "PIP_TRUSTED_HOST": f"{planted}.invalid"}
    argv = [sys.executable, str(ROOT / "scripts" / "images.py")]
    done = subprocess.run(argv, env={**os.environ, **secrets}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    print(done.stdout)
    return done.stdout


@pytest.fixture(scope="session")
def socket(images: str) -> Iterator[str]:
    with podman.service() as address:
        yield address


@pytest.fixture
def nights(airflow_home: Path, toy: Path, tmp_path: Path, socket: str) -> Nights:
    """Nights of the toy project whose steps all run in the `data` image."""
    home = tmp_path / "home"
    home.mkdir()
    extra = {
        "DOCKER_HOST": socket,
        "LONGTAIL_IMAGES": "localhost/longtail-data:latest",
        "LONGTAIL_NETWORK": "host",
    }
    return Nights(airflow_home, toy, home, "docker", tuple(extra.items()))
