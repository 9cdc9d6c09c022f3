"""Fixtures that the tests of the DAGs and of the containers share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.builders.nights import make_airflow_home, make_toy


@pytest.fixture(scope="session")
def toy_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("toy") / "project")


@pytest.fixture
def toy(toy_template: Path, tmp_path: Path) -> Path:
    """A toy project that the test may change."""
    return Path(shutil.copytree(toy_template, tmp_path / "project", symlinks=True))


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_airflow_home(tmp_path_factory.mktemp("airflow"))
