"""Rollback, started by hand: make the previous champion the champion again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from dags import _xcom
from dags._assets import CHAMPION
from dags._notify import FAILED, Notify
from dags._runners import operator
from dags._settings import load_settings
from dags._steps import Step
from dags._workspace import BRANCH, commit_of, prepare, record_key

SETTINGS = load_settings()
COMMAND = ("python", "-m", "components.promote", "rollback")


@task(task_id="workspace")
def workspace() -> None:
    """Check out the newest night, which has the code that made the decision."""
    context = get_current_context()
    run = context["dag_run"]
    if commit_of(SETTINGS.repo, BRANCH) is None:
        raise AirflowFailException(
            f"{SETTINGS.repo} has no branch `{BRANCH}`, so there is nothing to roll back."
        )
    folder = SETTINGS.workspaces / f"rollback-{run.run_after:%Y%m%dT%H%M%S%f}"
    checkout = prepare(SETTINGS.repo, folder, record_key(run.run_after), BRANCH)
    _xcom.push_workspace(context["ti"], checkout)


with DAG(
    "rollback",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    params={"reason": Param(type="string", minLength=1, description="Recorded in the history.")},
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(minutes=30),
        "on_failure_callback": [FAILED],
    },
    doc_md=__doc__,
    tags=["longtail"],
) as dag:
    rollback = operator(
        SETTINGS,
        Step("rollback", (*COMMAND, "--reason", "{{ params.reason }}"), "train"),
        outlets=[CHAMPION],
        doc_md="Make the previous version the champion; never promote the one it replaces again.",
        on_success_callback=[Notify("longtail: rolled back: {{ params.reason }}")],
    )
    workspace() >> rollback
