"""A night that does not end: Airflow stops it, and the DAG's callback tells it, once."""

from __future__ import annotations

import importlib
from datetime import timedelta
from typing import Any

import structlog
from airflow.callbacks.callback_requests import DagCallbackRequest
from airflow.dag_processing.processor import _execute_dag_callbacks

from dags import _notify


def told(reason: str, monkeypatch: Any, name: str = "nightly_retraining") -> list[str]:
    """What Airflow's own code makes of a run that failed for this reason."""
    # Not at the top: it reads the environment, which other tests' imports change.
    dag = importlib.import_module(f"dags.{name}").dag

    class Bag:
        dags = {dag.dag_id: dag}

    request = DagCallbackRequest(
        filepath=f"{name}.py", bundle_name="b", bundle_version=None, msg=reason,
        dag_id=dag.dag_id, run_id="scheduled__1", is_failure_callback=True,
    )  # fmt: skip
    messages: list[str] = []
    monkeypatch.setattr(_notify.Notify, "notify", lambda own, context: messages.append(own.message))
    _execute_dag_callbacks(
        Bag,
        request,
        structlog.get_logger(),
    )
    return messages


def test_a_night_ends_before_the_next_but_one() -> None:
    from dags import nightly_retraining

    assert nightly_retraining.dag.dagrun_timeout == nightly_retraining.TIMEOUT
    limits = {n: task.execution_timeout for n, task in nightly_retraining.stages.items()}
    assert limits == {s.name: timedelta(minutes=s.minutes) for s in nightly_retraining.STAGES}
    assert timedelta(hours=1) < max(limits.values()) < nightly_retraining.TIMEOUT


def test_a_night_that_was_stopped_is_told(monkeypatch: Any) -> None:
    [message] = told("timed_out", monkeypatch)
    assert "scheduled__1 did not end within 24 hours and was stopped." in message


def test_a_rollback_that_does_not_end_is_stopped_and_told(monkeypatch: Any) -> None:
    from dags import rollback

    assert rollback.dag.dagrun_timeout == timedelta(hours=2)
    [message] = told("timed_out", monkeypatch, "rollback")
    assert "scheduled__1 did not end within 2 hours and was stopped." in message


def test_a_failed_task_is_not_told_again(monkeypatch: Any) -> None:
    assert told("task_failure", monkeypatch) == []
