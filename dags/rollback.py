"""Rollback, started by hand: make an earlier version the champion, and hold promotion."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from dags import _xcom
from dags._assets import CHAMPION
from dags._notify import FAILED, Notify
from dags._runners import operator
from dags._settings import load_settings
from dags._steps import Step
from dags._timeout import tell_timeout
from dags._tools import git
from dags._workspace import Workspace, record_key

SETTINGS = load_settings()
COMMAND = ("python", "-m", "components.promote", "rollback")
PLAN, DONE = "reports/rollback-plan.json", "reports/rollback.json"
PARAMS = {
    "reason": Param(type="string", minLength=1, maxLength=1000,
                    description="Recorded in the history, and shown with the hold."),
    "version": Param(None, type=["null", "string", "integer"],
                     description="Version to restore. Empty: the champion before this one."),
}  # fmt: skip


@task(task_id="workspace")
def workspace() -> None:
    """Check out the code alone, since a rollback needs no data."""
    context = get_current_context()
    run, version = context["dag_run"], context["params"]["version"]
    folder = SETTINGS.workspaces / f"rollback-{run.run_after:%Y%m%dT%H%M%S%f}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git(SETTINGS.repo, "clone", "--quiet", "--shared", str(SETTINGS.repo), str(folder))
    (folder / "reports").mkdir(exist_ok=True)
    checkout = Workspace(str(folder), record_key(run.run_after), git(folder, "rev-parse", "HEAD"),
                         base=None, tip=None)  # fmt: skip
    _xcom.push_workspace(context["ti"], checkout)
    wish = [] if version is None else ["--to", str(version)]
    reason = ["--reason", context["params"]["reason"]]
    context["ti"].xcom_push("resolve", [*COMMAND, *reason, *wish, "--dry-run", "--output", PLAN])


def told(file: str) -> dict[str, Any]:
    """What the command wrote to `file` in the run's workspace."""
    path = Path(_xcom.pull_workspace(get_current_context()["ti"]).path, file)
    return dict(json.loads(path.read_text(encoding="utf-8")))


@task(task_id="target")
def target() -> list[str]:
    """Fix both versions, so that `rollback` means the same however often it is tried."""
    context, plan = get_current_context(), told(PLAN)
    by = getattr(context["dag_run"], "triggering_user_name", None) or ""
    leave = ["--from", plan["leave"]] if plan["leave"] else []
    reason = ["--reason", plan["reason"], "--approved-by", by]
    return [*COMMAND, *reason, *leave, "--to", plan["to"], "--output", DONE]


@task(task_id="notify")
def notify() -> str:
    """Say what was restored in place of what."""
    done = told(DONE)
    held = "Promotion is held until a person runs `longtail promote release --reason …`."
    message = f"longtail: rolled back: {done['reason']}\n\n{done['said']} {held}"
    if done["done"]:
        message = f"longtail: rollback: {done['said']}"
    Notify(message).notify(get_current_context())
    return message


with DAG(
    "rollback",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    # Whoever started it waits for it: better told than waiting for a slot all night.
    dagrun_timeout=timedelta(hours=2),
    on_failure_callback=[tell_timeout],
    params=PARAMS,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(minutes=30),
        "on_failure_callback": [FAILED],
    },
    doc_md=__doc__,
    tags=["longtail"],
) as dag:
    checked_out, fixed, notified = workspace(), target(), notify()
    resolve = operator(
        SETTINGS,
        Step("resolve", checked_out["resolve"], "train"),  # type: ignore[index]
        doc_md="Look up which version is replaced by which; change nothing.",
    )
    rollback = operator(
        SETTINGS,
        Step("rollback", fixed, "train"),
        outlets=[CHAMPION],
        doc_md="Make the version the champion; never promote the one it replaces again.",
    )
    checked_out >> resolve >> fixed >> rollback >> notified
