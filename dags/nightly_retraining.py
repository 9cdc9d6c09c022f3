"""Nightly retraining: ingest new texts, run the stages of `dvc.yaml`, decide on the new model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import (
    DAG,
    CronTriggerTimetable,
    Param,
    TaskGroup,
    TriggerRule,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowSkipException

from components._frame.pipeline import Stage, load_stages
from dags import _workspace, _xcom
from dags._assets import CHAMPION, DATA
from dags._commands import COMMANDS, CORPUS
from dags._links import AnnotationLink, MlflowRunLink, ReportLink
from dags._notify import ANSWER_WITHIN, FAILED, Notify, outcome, queued, read, waiting
from dags._pool import QUEUE_TIME, refill_command
from dags._process import check_params
from dags._retention import using_cache
from dags._runners import operator
from dags._settings import load_settings
from dags._source import ingest_command
from dags._steps import Step, airflow_exceptions
from dags._timeout import TIMEOUT, tell_timeout
from dags._usage import tell_usage

APPROVER = (
    "{{ ((ti.xcom_pull(task_ids='approve') or {}).get('responded_by_user') or {})"
    ".get('name', '') }}"
)
SETTINGS = load_settings()
STAGES = load_stages(SETTINGS.repo / "dvc.yaml")
LINKS = (MlflowRunLink(), ReportLink(), AnnotationLink())

PARAMS = {
    "source": Param(SETTINGS.source, type=["null", "string"],
                    description="Folder, file, or bucket with newly labeled texts, or `debian`. "
                    "Empty: no new texts."),
    "update": Param(SETTINGS.update, type="boolean",
                    description="Overwrite existing documents with the source's content."),
    "force": Param(False, type="boolean", description="Run all stages, changed or not."),
    "max_age_days": Param(None, type=["null", "number"], minimum=0,
                          description="Run all stages if the last record is older than this."),
    "revision": Param(None, type=["null", "string"],
                      description="Branch, tag, or commit of the code. Empty: HEAD."),
    "encoder": Param(None, type=["null", "string"],
                     description="Encoder for this run only: a hub name or a local folder."),
    "approval": Param(None, type=["null", "boolean"],
                      description="Ask a person to approve the promotion. "
                      "Empty: as `promote.approval` in params.yaml says."),
}  # fmt: skip

DEFAULTS = {
    "retries": int(os.environ.get("LONGTAIL_RETRIES", "3")),
    "retry_delay": timedelta(seconds=int(os.environ.get("LONGTAIL_RETRY_SECONDS", "120"))),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=30),
    "execution_timeout": timedelta(minutes=30),
    "on_failure_callback": [FAILED],
}


@contextmanager
def using_workspace() -> Iterator[None]:
    """Re-raise workspace errors as Airflow's; meanwhile nothing leaves DVC's cache."""
    with airflow_exceptions(), using_cache(SETTINGS.home):
        yield


def key_of(run: Any) -> str:
    """Name of the run's record; a backfill and a run with a date of its own keep to their date."""
    moment = run.logical_date or run.run_after
    if run.run_type == "scheduled" or run.logical_date is None:
        return _workspace.key_of(SETTINGS.repo, moment, run.start_date or datetime.now(UTC))
    return _workspace.record_key(moment)


@task.branch(task_id="workspace")
def workspace() -> str:
    """Check out this date's code and data, and copy new files; continue with `ingest` or `plan`."""
    context = get_current_context()
    run, params = context["dag_run"], context["params"]
    _workspace.clean(SETTINGS.workspaces, SETTINGS.keep_days)
    folder = SETTINGS.workspaces / re.sub(r"[^\w-]", "-", run.run_id)
    with using_workspace():
        checkout = _workspace.prepare(
            SETTINGS.repo, folder, key_of(run), params["revision"], params["encoder"]
        )
        source = params["source"] if _workspace.wants_new_data(checkout) else None
        argv = ingest_command(source, checkout, update=params["update"])
    _xcom.push_workspace(context["ti"], checkout)
    context["ti"].xcom_push("ingest", argv)
    return "ingest" if argv else "plan"


@task.branch(task_id="plan", trigger_rule=TriggerRule.NONE_FAILED)
def plan() -> list[str]:
    """Ask DVC which stages are out of date, and skip the others."""
    context = get_current_context()
    params, checkout = context["params"], _xcom.pull_workspace(context["ti"])
    with using_workspace():
        stale = _workspace.stale_stages(checkout, STAGES, params["force"], params["max_age_days"])
    if stale and SETTINGS.runner == "process":
        check_params(checkout.folder)
    idle = not stale and not _workspace.is_undecided(checkout)
    if idle:
        with using_workspace():
            _workspace.remember(checkout)
    chosen = ["notify"] if idle else [*(f"stages.{name}" for name in stale), "newest", "record"]
    # Pushed by key, since a branch task that skips others ends before its return value is stored.
    context["ti"].xcom_push("chosen", chosen)
    return chosen


@task.short_circuit(task_id="newest", ignore_downstream_trigger_rules=False)
def newest() -> bool:
    """Skip `drift` and `decide` in a backfill, so that it never moves the champion."""
    return _workspace.is_newest(_xcom.pull_workspace(get_current_context()["ti"]))


@task(task_id="record", trigger_rule=TriggerRule.NONE_FAILED, outlets=[DATA])
def record() -> str:
    """Commit outputs to DVC, and data.dvc and dvc.lock to `nightly`, tagged by date."""
    checkout = _xcom.pull_workspace(get_current_context()["ti"])
    tell_usage(checkout.folder)
    with using_workspace():
        return _workspace.record(checkout)


@task(task_id="notify", trigger_rule=TriggerRule.NONE_FAILED)
def notify() -> str:
    """Say how the night ended: unchanged, promoted, or not promoted and why."""
    context = get_current_context()
    ti = context["ti"]
    checkout, planned = _xcom.pull_workspace(ti), ti.xcom_pull(task_ids="plan", key="chosen")
    if "record" in planned:
        _workspace.mark_decided(checkout)
    message = outcome(checkout.folder, planned, ti.xcom_pull(task_ids="approve"))
    Notify(message).notify(context)
    return message


@task(task_id="pool", trigger_rule=TriggerRule.NONE_FAILED)
def pool() -> list[str]:
    """Copy the pool of unlabeled texts to where every step can read it."""
    if not _workspace.is_newest(_xcom.pull_workspace(get_current_context()["ti"])):
        raise AirflowSkipException("A backfill queues nothing.")
    with using_workspace():
        argv = refill_command(SETTINGS)
    if argv is None:
        raise AirflowSkipException(f"{SETTINGS.pool} holds no texts.")
    return argv


def queue_tasks() -> Any:
    """The first of the tasks that queue what to annotate next.

    Nothing waits for them, and the last one always succeeds: a failed queue fails no night.
    """
    copied = pool()
    queue = operator(
        SETTINGS, Step("queue", copied, "train"),
        execution_timeout=QUEUE_TIME,
        on_success_callback=[Notify(queued(SETTINGS.queues, _xcom.FIELD % "key"))],
        doc_md="Queue what to annotate next, for as many documents as annotators have room. "
        "Skipped means that nothing was to be queued; the log says why.",
    )  # fmt: skip
    queue_done = EmptyOperator(task_id="queue_done", trigger_rule=TriggerRule.ALL_DONE)
    copied >> queue >> queue_done
    return copied


class Approval(ApprovalOperator):
    """Shows the decision and waits for a person, if the promotion needs one; else is skipped.

    No answer in time is a no, so that the run ends, and ends once.
    """

    def execute(self, context: Any) -> Any:
        folder = _xcom.pull_workspace(context["ti"]).folder
        decision = read(folder, "decision.json")
        if decision.get("hold"):
            raise AirflowSkipException("Promotion is held: there is nothing to approve.")
        if not decision.get("approval", context["params"]["approval"]):
            raise AirflowSkipException("This promotion needs no approval.")
        self.body = (folder / "reports" / "decision.md").read_text(encoding="utf-8")
        Notify(waiting(decision, self.body, self.response_timeout)).notify(context)
        return super().execute(context)


def stage_task(stage: Stage) -> Any:
    """The task of one stage, with the resources that dvc.yaml gives it."""
    step = Step(stage.name, stage.command, stage.image, stage.meta.get("memory"), stage.gpus)
    # One at a time, in backfills too. A pool would have to be created in every installation, or
    # nights wait unseen.
    return operator(
        SETTINGS, step, doc_md=stage.desc, trigger_rule=TriggerRule.NONE_FAILED,
        execution_timeout=timedelta(minutes=stage.minutes), max_active_tis_per_dag=1,
    )  # fmt: skip


with DAG(
    "nightly_retraining",
    # Without a start date, and with this, unpausing starts no run of the past beside one by hand.
    schedule=CronTriggerTimetable("0 2 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=TIMEOUT,
    on_failure_callback=[tell_timeout],
    params=PARAMS,
    default_args=DEFAULTS,
    doc_md=__doc__ + "\n\n" + "\n".join(f"- **{s.name}**: {s.desc}" for s in STAGES),
    tags=["longtail"],
) as dag:
    checked_out, planned, recorded, notified = workspace(), plan(), record(), notify()
    newest_night = newest()
    ingest = operator(
        SETTINGS,
        Step("ingest", checked_out["ingest"], "data"),  # type: ignore[index]
        doc_md="Add the newly labeled texts of `source` to the corpus; reject malformed files.",
    )
    with TaskGroup("stages") as group:
        stages = {stage.name: stage_task(stage) for stage in STAGES}
    drift = operator(
        SETTINGS, Step("drift", *COMMANDS["drift"]),
        trigger_rule=TriggerRule.NONE_FAILED,
        doc_md="Compare the documents that are new to the champion with its own, and score it on "
        "them. Skipped means that a limit was exceeded; see the notification.",
    )  # fmt: skip
    # Whatever becomes of `drift`, the night goes on; only `notify` waits for it.
    drift_done = EmptyOperator(task_id="drift_done", trigger_rule=TriggerRule.ALL_DONE)
    register = operator(
        SETTINGS, Step("register", *COMMANDS["register"]),
        doc_md="Log the run and create a version, once per data, code, and parameters.",
    )  # fmt: skip
    decide = operator(
        SETTINGS, Step("decide", *COMMANDS["decide"]),
        doc_md="Compare challenger and champion. Skipped means refused, or a backfill.",
    )  # fmt: skip
    approve = Approval(
        task_id="approve",
        subject="Promote tonight's model?",
        defaults=Approval.REJECT,
        response_timeout=ANSWER_WITHIN,
        doc_md="Wait for a person if the promotion needs approval. No answer in time is a no.",
    )
    apply_argv, apply_image = COMMANDS["apply"]
    apply = operator(
        SETTINGS,
        Step("apply", (*apply_argv, "--approved-by", APPROVER), apply_image),
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, outlets=[CHAMPION],
        doc_md="Smoke-test the version in a fresh process, then move the alias `champion`.",
    )  # fmt: skip

    for linked in (register, decide, apply):
        linked.operator_extra_links = LINKS
    checked_out >> [ingest, planned]
    ingest >> planned
    planned >> [*stages.values(), newest_night, drift, drift_done, recorded, notified]
    newest_night >> [drift, decide]
    for stage in STAGES:
        for name in stage.upstream:
            stages[name] >> stages[stage.name]
        stages[stage.name] >> recorded
        if CORPUS in stage.outs:
            stages[stage.name] >> drift
    recorded >> register >> decide >> approve >> apply >> notified
    decide >> apply
    drift >> drift_done >> notified
    if SETTINGS.pool:
        apply >> queue_tasks()
