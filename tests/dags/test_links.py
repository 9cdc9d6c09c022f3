"""The links on a task's page lead to MLflow, and show nobody a password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dags._links import run_page


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    (tmp_path / "reports").mkdir()
    registered = {"run_id": "r1", "experiment_id": "7"}
    (tmp_path / "reports" / "registered.json").write_text(json.dumps(registered))
    return str(tmp_path)


@pytest.mark.parametrize(
    "address, base",
    [
        (None, "http://127.0.0.1:5000"),
        ("https://mlflow.example:8443/ui/", "https://mlflow.example:8443/ui"),
        ("https://ada:planted-pw@mlflow.example:8443/ui", "https://mlflow.example:8443/ui"),
        ("https://planted-pw@mlflow.example", "https://mlflow.example"),
        ("https://ada:planted@pw@mlflow.example", "https://mlflow.example"),
    ],
)
def test_a_link_holds_no_password(
    address: str | None, base: str, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:planted-pw@tracker.example")
    monkeypatch.delenv("LONGTAIL_MLFLOW_URL", raising=False)
    if address:
        monkeypatch.setenv("LONGTAIL_MLFLOW_URL", address)
    assert run_page(workspace) == f"{base}/#/experiments/7/runs/r1"


def test_there_is_no_link_before_the_run_is_registered(tmp_path: Path) -> None:
    assert run_page(str(tmp_path)) == run_page(None) == ""
