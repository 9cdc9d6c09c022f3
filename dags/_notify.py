"""Notifies people how a night ended: by webhook or email if a connection is set, and in the log."""

from __future__ import annotations

import json
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier
from airflow.sdk.log import redact

from dags._steps import mask_secrets
from dags._webhook import post

WEBHOOK, SMTP = "longtail_webhook", "longtail_smtp"


class Notify(BaseNotifier):
    """Sends `message` (a template); connections are looked up when it is sent, not before.

    The webhook receives `{"text": …}`, which Slack, Mattermost, and Teams accept. Email goes from
    the connection's login to the address in its extra field `to`.
    """

    template_fields = ("message",)

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def notify(self, context: Any) -> None:
        """Send it wherever a connection is set; a channel that fails is logged, no more.

        What Airflow would mask in a log is masked in the message, too.
        """
        mask_secrets()
        message = str(redact(self.message))
        self.log.info("Notification: %s", message)
        for conn_id, send in ((WEBHOOK, post), (SMTP, _mail)):
            if found := connection(conn_id):
                try:
                    send(found, message)
                except Exception as error:
                    self.log.error("The notification did not reach %s: %s", conn_id, error)


def _mail(smtp: Any, message: str) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    with SmtpHook(smtp_conn_id=SMTP) as hook:
        hook.send_email_smtp(
            to=smtp.extra_dejson["to"],
            from_email=smtp.login,
            subject=message.splitlines()[0][:120],
            # Escaped, since a message can quote the corpus.
            html_content=f"<pre>{escape(message)}</pre>",
        )


# Nobody has looked up the champion when a task fails, so nothing is said about it.
FAILED = Notify(
    "longtail: {{ ti.task_id }} failed in {{ run_id }} (try {{ ti.try_number }}). "
    "{% if ti.task_id in ('apply', 'drift', 'rollback') %}It may have moved the champion: "
    "`longtail history` tells. {% endif %}{{ exception }}"
)
# How long a promotion waits for approval.
ANSWER_WITHIN = timedelta(hours=12)


def connection(conn_id: str) -> Any:
    """The connection with that name, None if it is not set."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

    try:
        return Connection.get(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError):
        return None


def read(workspace: Path, name: str) -> dict[str, Any]:
    """A JSON file of the run's `reports/`; empty if it is not there."""
    path = workspace / "reports" / name
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def outcome(workspace: Path, planned: list[str], answer: dict[str, Any] | None) -> str:
    """The message at the end of a night, from what its commands wrote.

    Args:
        workspace: Folder of the run, with `reports/decision.json` and `decision.md`, `outcome.json`
            if `apply` ran, and `drift.json` if drift was measured.
        planned: Tasks that `plan` chose.
        answer: What a person said to the request for approval; None if none was made.
    """
    if "record" not in planned:
        return "longtail: unchanged. No new data or code; nothing was trained or registered."
    decision, applied = read(workspace, "decision.json"), read(workspace, "outcome.json")
    if not decision:
        return "longtail: backfilled. The version is registered; a backfill moves no champion."
    verdict, why = _verdict(decision, applied, answer)
    detail = (workspace / "reports" / "decision.md").read_text(encoding="utf-8")
    alarms = list(read(workspace, "drift.json").get("alarms", ()))
    if alarms:
        verdict += f", {len(alarms)} alarm" + "s" * (len(alarms) > 1)
        detail = "\n".join(f"- {alarm}" for alarm in alarms) + f"\n\n{detail}"
    champion = applied.get("champion")
    now = f" The champion is version {champion}." if champion and verdict != "promoted" else ""
    return f"longtail: {verdict}. {why}{now}\n\n{detail}".strip()


def _verdict(
    decision: dict[str, Any], applied: dict[str, Any], answer: dict[str, Any] | None
) -> tuple[str, str]:
    """How the night ended, in a word or two, and why."""
    verdict, summary = str(decision["verdict"]), str(decision["summary"])
    if verdict != "promoted":
        return verdict, summary
    if applied:
        found = str(applied["outcome"])
        if found == "promoted":
            return found, summary
        word = "passed the gate but was refused by `apply`" if found == "refused" else found
        return word, str(applied["why"])
    if answer and "Approve" not in answer["chosen_options"]:
        person = (answer.get("responded_by_user") or {}).get("name")
        said = f"{person} said no." if person else f"Nobody answered in {hours(ANSWER_WITHIN)}."
        return "not approved", f"{said} {summary}"
    return "passed the gate", f"What became of it, `longtail history` tells. {summary}"


def waiting(decision: dict[str, Any], text: str, within: timedelta | None) -> str:
    """The message of a promotion that waits for a person."""
    limit = f" within {hours(within)}" if within else ""
    return (
        f"longtail: waits for approval. {decision['summary']} Answer in Airflow{limit} "
        f"(task `approve`, Required Actions); no answer is a no.\n\n{text}"
    )


def queued(queues: Path, night: str) -> str:
    """The message of a new queue."""
    return f"longtail: new documents to annotate are in {queues}/{night}."


def hours(time: timedelta) -> str:
    """The time for people, such as `12 hours`."""
    return f"{time.total_seconds() / 3600:g} hours"
