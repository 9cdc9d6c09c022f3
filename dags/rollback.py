"""Rollback, started by hand: the champion before this one serves again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, Param, task

from dags._notify import FAILED, Notify
from dags._runners import Step, operator
from dags._settings import load_settings

SETTINGS = load_settings()
COMMAND = ("python", "-m", "components.promote", "rollback")
CHAMPION = Asset("longtail-champion", uri="longtail://champion")


@task(task_id="workspace")
def workspace() -> None:
    """Use the newest night's workspace; it holds the code that made the decision."""
    from airflow.sdk import get_current_context
    from airflow.sdk.exceptions import AirflowFailException

    from dags._workspace import commit_of, prepare, record_key

    context = get_current_context()
    run = context["dag_run"]
    if commit_of(SETTINGS.repo, "nightly") is None:
        raise AirflowFailException(f"{SETTINGS.repo} has no branch `nightly`: nothing to undo.")
    folder = SETTINGS.workspaces / f"rollback-{run.run_after:%Y%m%dT%H%M%S%f}"
    made = prepare(SETTINGS.repo, folder, record_key(run.run_after), "nightly")
    context["ti"].xcom_push("workspace", made.to_dict())
    context["ti"].xcom_push("path", made.path)


with DAG(
    "rollback",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    params={"reason": Param(type="string", minLength=1, description="Kept in the history.")},
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(minutes=30),
        "on_failure_callback": [FAILED],
    },
    doc_md=__doc__,
    tags=["longtail"],
) as dag:
    back = operator(
        SETTINGS,
        Step("rollback", (*COMMAND, "--reason", "{{ params.reason }}"), "train"),
        outlets=[CHAMPION],
        doc_md="Point `champion` at the version before; the one left is never promoted again.",
        on_success_callback=[Notify("longtail: rolled back: {{ params.reason }}")],
    )
    workspace() >> back
