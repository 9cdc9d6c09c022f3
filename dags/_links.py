"""Buttons on a task's page: its MLflow run, and the HTML pages logged with that run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
from airflow.sdk import BaseOperatorLink

from dags._xcom import pull_path

NO_LINK = ""


def run_page(workspace: str | None, suffix: str = "") -> str:
    """Address in the MLflow UI of the run that `reports/registered.json` names."""
    file = Path(workspace or "") / "reports" / "registered.json"
    address = urlsplit(os.environ.get("LONGTAIL_MLFLOW_URL", "http://127.0.0.1:5000"))
    # Everybody who sees the task sees its link: without user and password.
    base = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl().rstrip("/")
    if not workspace or not file.exists():
        return NO_LINK
    registered = json.loads(file.read_text(encoding="utf-8"))
    experiment = registered.get("experiment_id", "0")
    return f"{base}/#/experiments/{experiment}/runs/{registered['run_id']}{suffix}"


# Links are made in the worker, which passes its task instance as the key.
@attrs.define()
class MlflowRunLink(BaseOperatorLink):
    """Opens the run in MLflow."""

    name: str = "MLflow run"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return run_page(pull_path(ti_key))


@attrs.define()
class ReportLink(BaseOperatorLink):
    """Opens the run's artifacts, which include the HTML report."""

    name: str = "HTML report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return run_page(pull_path(ti_key), "/artifacts/report.html")


@attrs.define()
class AnnotationLink(BaseOperatorLink):
    """Opens the page for those who lead the annotation."""

    name: str = "Annotation page"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return run_page(pull_path(ti_key), "/artifacts/annotation.html")
