"""Nightly retraining: new texts in, the stages of `dvc.yaml`, a decision out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Asset, Param, TaskGroup, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from components._frame.pipeline import Stage, load_stages
from dags import _workspace
from dags._links import MlflowRunLink, ReportLink
from dags._notify import FAILED, Notify, outcome
from dags._runners import WORKSPACE, Step, operator
from dags._settings import load_settings
from dags._source import ingest_command
from dags._workspace import ToolError, Workspace, WorkspaceError

APPROVER = (
    "{{ ((ti.xcom_pull(task_ids='approve') or {}).get('responded_by_user') or {})"
    ".get('name', '') }}"
)
SETTINGS = load_settings()
STAGES = load_stages(SETTINGS.repo / "dvc.yaml")
DATA = Asset("longtail-data", uri="longtail://data")
LINKS = (MlflowRunLink(), ReportLink())
CHAMPION = Asset("longtail-champion", uri="longtail://champion")

# What only an orchestrator needs to know of a stage; a test compares the keys with dvc.yaml.
STAGE_SETTINGS: dict[str, dict[str, Any]] = {
    "validate": {"execution_timeout": timedelta(minutes=30)},
    "split": {"execution_timeout": timedelta(minutes=30)},
    "frequencies": {"execution_timeout": timedelta(minutes=15)},
    "baseline": {"execution_timeout": timedelta(hours=1)},
    "train": {"execution_timeout": timedelta(hours=8), "pool": "gpu"},
    "thresholds": {"execution_timeout": timedelta(minutes=30)},
    "report": {"execution_timeout": timedelta(minutes=30)},
}

PARAMS = {
    "source": Param(SETTINGS.source, type=["null", "string"],
                    description="Folder, file or bucket of newly labelled texts, or `debian`; "
                    "empty: none tonight."),
    "update": Param(False, type="boolean",
                    description="Documents that stand take the source's new content."),
    "force": Param(False, type="boolean", description="Run every stage, changed or not."),
    "max_age_days": Param(None, type=["null", "number"], minimum=0,
                          description="Run every stage if the last record is older than this."),
    "revision": Param(None, type=["null", "string"],
                      description="Branch, tag or commit of the code; empty: HEAD."),
    "encoder": Param(None, type=["null", "string"],
                     description="Encoder for this run only: a hub name or a local folder."),
    "approval": Param(False, type="boolean", description="Ask a person before promoting."),
}  # fmt: skip

DEFAULTS = {
    "retries": int(os.environ.get("LONGTAIL_RETRIES", "3")),
    "retry_delay": timedelta(minutes=2),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=30),
    "execution_timeout": timedelta(minutes=30),
    "on_failure_callback": [FAILED],
}


def this_workspace(ti: Any) -> Workspace:
    return Workspace(**ti.xcom_pull(task_ids="workspace", key="workspace"))


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what stops a run into Airflow's outcome: only what a tool said is tried again."""
    try:
        yield
    except ToolError as error:
        raise AirflowException(str(error)) from None
    except WorkspaceError as error:
        raise AirflowFailException(str(error)) from None


def ingest_words(made: Workspace, params: Any) -> list[str] | None:
    """The command that takes in tonight's new texts; None where there are none to take in."""
    source, recorded = params["source"], made.base is not None
    if not source or not _workspace.wants_new_data(made):
        return None
    return ingest_command(source, made.folder, update=params["update"], recorded=recorded)


@task.branch(task_id="workspace")
def workspace() -> str:
    """Check out this date's code and data, take in new files; then `ingest` or `plan`."""
    context = get_current_context()
    run, params = context["dag_run"], context["params"]
    _workspace.clean(SETTINGS.workspaces, SETTINGS.keep_days)
    folder = SETTINGS.workspaces / re.sub(r"[^\w-]", "-", run.run_id)
    key = _workspace.record_key(run.logical_date or run.run_after)
    with one_sentence():
        made = _workspace.prepare(SETTINGS.repo, folder, key, params["revision"], params["encoder"])
        found = ingest_words(made, params)
    context["ti"].xcom_push("workspace", made.to_dict())
    context["ti"].xcom_push("path", made.path)
    context["ti"].xcom_push("ingest", found)
    return "ingest" if found else "plan"


@task.branch(task_id="plan", trigger_rule=TriggerRule.NONE_FAILED)
def plan() -> list[str]:
    """Ask DVC which stages are out of date; the others are skipped."""
    context = get_current_context()
    params, made = context["params"], this_workspace(context["ti"])
    with one_sentence():
        stale = _workspace.stale_stages(made, STAGES, params["force"], params["max_age_days"])
    idle = not stale and not _workspace.is_undecided(made)
    chosen = ["notify"] if idle else [*(f"stages.{name}" for name in stale), "record"]
    # Pushed by name: a branch that skips something ends before its return value is kept.
    context["ti"].xcom_push("chosen", chosen)
    return chosen


@task(task_id="record", trigger_rule=TriggerRule.NONE_FAILED, outlets=[DATA])
def record() -> str:
    """Commit outputs to DVC, and data.dvc and dvc.lock to `nightly`, tagged by the date."""
    with one_sentence():
        return _workspace.record(this_workspace(get_current_context()["ti"]))


@task(task_id="notify", trigger_rule=TriggerRule.NONE_FAILED)
def notify() -> str:
    """Say how the night ended: unchanged, promoted, or not promoted and why."""
    context = get_current_context()
    ti = context["ti"]
    made, planned = this_workspace(ti), ti.xcom_pull(task_ids="plan", key="chosen")
    if "record" in planned:
        _workspace.mark_decided(made)
    run_id = context["dag_run"].run_id
    states = ti.get_task_states(ti.dag_id, task_ids=["apply"], run_ids=[run_id])
    applied = states.get(run_id, {}).get("apply") == "success"
    message = outcome(Path(made.path), planned, applied)
    Notify(message)(context)
    return message


class Approval(ApprovalOperator):
    """Waits for a person where the run asks for one; else it is skipped and shown so."""

    def execute(self, context: Any) -> Any:
        if context["params"]["approval"]:
            return super().execute(context)
        from airflow.sdk.exceptions import AirflowSkipException

        raise AirflowSkipException("This run asks for no approval.")


def python(*words: str) -> tuple[str, ...]:
    return ("python", "-m", *words)


def run_stage(stage: Stage) -> Any:
    """The box of one stage; it waits for `plan` and for the stages whose files it reads."""
    needs = {name: stage.meta[name] for name in ("memory", "gpu") if name in stage.meta}
    step = Step(stage.name, stage.argv, stage.image, **needs)
    return operator(
        SETTINGS, step, doc_md=stage.desc, trigger_rule=TriggerRule.NONE_FAILED,
        **STAGE_SETTINGS.get(stage.name, {}),
    )  # fmt: skip


with DAG(
    "nightly_retraining",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=2,
    params=PARAMS,
    default_args=DEFAULTS,
    doc_md=__doc__ + "\n\n" + "\n".join(f"- **{s.name}**: {s.desc}" for s in STAGES),
    tags=["longtail"],
) as dag:
    checkout, planned, recorded, told = workspace(), plan(), record(), notify()
    ingest = operator(
        SETTINGS,
        Step("ingest", checkout["ingest"], "data"),  # type: ignore[index]
        doc_md="Add the newly labelled texts of `source` to the corpus; refuse them if malformed.",
    )
    with TaskGroup("stages") as group:
        boxes = {stage.name: run_stage(stage) for stage in STAGES}
    register = operator(
        SETTINGS, Step("register", python("components.register"), "train"),
        doc_md="Log the run and create the version, once for the same data, code and parameters.",
    )  # fmt: skip
    decide = operator(
        SETTINGS, Step("decide", python("components.promote", "decide"), "train"),
        doc_md="Compare challenger and champion; skipped means: not promoted, see the decision.",
    )  # fmt: skip
    approve = Approval(
        task_id="approve",
        subject="Promote tonight's model?",
        body="The decision is in " + WORKSPACE + "/reports/decision.md",
        response_timeout=timedelta(hours=12),
        doc_md="Waits for a person if the run was started with `approval`.",
    )
    apply = operator(
        SETTINGS,
        Step("apply", (*python("components.promote"), "apply", "--approved-by", APPROVER), "train"),
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, outlets=[CHAMPION],
        doc_md="Smoke-test the version in a fresh process, then move the alias `champion`.",
    )  # fmt: skip

    for box in (register, decide, apply):
        box.operator_extra_links = LINKS
    checkout >> [ingest, planned]
    ingest >> planned
    planned >> [*boxes.values(), recorded, told]
    for stage in STAGES:
        for name in stage.upstream:
            boxes[name] >> boxes[stage.name]
        boxes[stage.name] >> recorded
    recorded >> register >> decide >> approve >> apply >> told
    decide >> apply
