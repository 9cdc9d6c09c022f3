"""Retention, every week: remove versions, nights and workspaces that nobody needs any more."""

from __future__ import annotations

import json
from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from dags import _retention, _tools, _workspace, _xcom
from dags._notify import FAILED
from dags._runners import operator
from dags._settings import load_settings
from dags._steps import Step

SETTINGS = load_settings()
NEEDED = "reports/needed.json"


@task.short_circuit(task_id="workspace")
def workspace() -> bool:
    """Check out the newest night; without one there is nothing to remove."""
    context = get_current_context()
    run = context["dag_run"]
    if _tools.commit_of(SETTINGS.repo, _workspace.BRANCH) is None:
        return False
    folder = SETTINGS.workspaces / f"retention-{run.run_after:%Y%m%dT%H%M%S%f}"
    key = _workspace.record_key(run.run_after)
    with _retention.using_cache(SETTINGS.home):
        checkout = _workspace.prepare(SETTINGS.repo, folder, key, _workspace.BRANCH)
    _xcom.push_workspace(context["ti"], checkout)
    argv = ["python", "-m", "components._cli.prune", "--needed", NEEDED]
    argv += ["--keep-versions", str(SETTINGS.keep_versions)]
    argv += ["--keep-days", str(SETTINGS.keep_days)]
    context["ti"].xcom_push("argv", argv + ["--apply"] * context["params"]["apply"])
    return True


@task(task_id="nights")
def nights() -> None:
    """Remove old workspaces, and the data of nights that no kept version was trained on."""
    context = get_current_context()
    checkout = _xcom.pull_workspace(context["ti"])
    needed = json.loads((checkout.folder / NEEDED).read_text("utf-8"))
    with _retention.using_cache(SETTINGS.home, alone=True):
        found = _retention.old(SETTINGS, needed)
        for removal in _retention.removals(SETTINGS, found):
            print(removal)
        if not context["params"]["apply"]:
            raise AirflowSkipException("Only shown; trigger with `apply` to remove it.")
        _retention.remove(SETTINGS, found)


with DAG(
    "retention",
    # Unpausing removes nothing before the next Sunday.
    schedule=CronTriggerTimetable("0 12 * * 0", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    params={"apply": Param(True, type="boolean", description="Off: only show what would go.")},
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=2),
        "on_failure_callback": [FAILED],
    },
    doc_md=__doc__,
    tags=["longtail"],
) as dag:
    checked_out = workspace()
    registry = operator(
        SETTINGS,
        Step("registry", checked_out["argv"], "train"),  # type: ignore[index]
        doc_md="Remove old versions and their runs, caches, and what killed runs left.",
    )
    checked_out >> registry >> nights()
