"""Nights of the toy project with the runner `process`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.nights import Nights


@pytest.fixture(autouse=True)
def no_store_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow puts the store that it last used into the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def nights(airflow_home: Path, toy: Path, tmp_path: Path) -> Nights:
    home = tmp_path / "home"
    home.mkdir()
    return Nights(airflow_home, toy, home)
