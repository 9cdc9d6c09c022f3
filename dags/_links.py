"""Buttons on a task's page: the MLflow run it made, and the HTML report kept with that run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import attrs
from airflow.sdk import BaseOperatorLink

NO_LINK = ""


def run_page(workspace: str | None, suffix: str = "") -> str:
    """Address of the run that `reports/registered.json` names, in the MLflow pages."""
    written = Path(workspace or "") / "reports" / "registered.json"
    base = os.environ.get("LONGTAIL_MLFLOW_URL", "http://127.0.0.1:5000").rstrip("/")
    if not workspace or not written.exists():
        return NO_LINK
    registered = json.loads(written.read_text(encoding="utf-8"))
    experiment = registered.get("experiment_id", "0")
    return f"{base}/#/experiments/{experiment}/runs/{registered['run_id']}{suffix}"


def _workspace(ti: Any) -> str | None:
    """The run's folder. Links are made in the worker, which hands over its task instance."""
    found = ti.xcom_pull(task_ids="workspace", key="path")
    return str(found) if found else None


@attrs.define()
class MlflowRunLink(BaseOperatorLink):
    """Opens the run in MLflow."""

    name: str = "MLflow run"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return run_page(_workspace(ti_key))


@attrs.define()
class ReportLink(BaseOperatorLink):
    """Opens the run's artifacts, where the HTML report is shown."""

    name: str = "HTML report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return run_page(_workspace(ti_key), "/artifacts/report.html")
