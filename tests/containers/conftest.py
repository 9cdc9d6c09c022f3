"""Real images and a Docker-API socket of podman; skipped where neither can be had."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dags.conftest import (  # noqa: F401 - fixtures
    Nights,
    airflow_home,
    identity,
    toy,
    toy_template,
)

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docker"))
import podman  # noqa: E402


@pytest.fixture(scope="session")
def images() -> None:
    """The images of the stages, built where they are not there yet."""
    if not podman.installable():
        pytest.skip("podman and runc are not here, and only root can install them with apt-get")
    missing = [
        target
        for target in ("data", "train")
        if not _has_image(target)
    ]  # fmt: skip
    if missing:
        words = [sys.executable, str(ROOT / "docker" / "images.py"), *missing]
        subprocess.run(words, check=True)


def _has_image(target: str) -> bool:
    try:
        return f"localhost/longtail-{target}:latest" in podman.images()
    except (RuntimeError, FileNotFoundError):
        return False


@pytest.fixture(scope="session")
def socket(images: None) -> Iterator[str]:
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
