"""Notifies people how a night ended: by webhook or email if a connection is set, and in the log."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier

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
        """Send it wherever a connection is set; a channel that fails is logged, no more."""
        self.log.info("Notification: %s", self.message)
        for conn_id, send in ((WEBHOOK, post), (SMTP, _mail)):
            if found := connection(conn_id):
                try:
                    send(found, self.message)
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


FAILED = Notify(
    "longtail: {{ ti.task_id }} failed in {{ run_id }} (try {{ ti.try_number }}). "
    "The champion is unchanged. {{ exception }}"
)


def connection(conn_id: str) -> Any:
    """The connection with that name, None if it is not set."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

    try:
        return Connection.get(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError):
        return None


def outcome(workspace: Path, planned: list[str], applied: bool) -> str:
    """The message at the end of a night.

    Args:
        workspace: Folder of the run, with `reports/decision.json`, `reports/decision.md` and, if
            drift was measured, `reports/drift.json`.
        planned: Tasks that `plan` chose.
        applied: Whether the champion alias moved.
    """
    if "record" not in planned:
        return "longtail: unchanged. No new data or code; nothing was trained or registered."
    decision = json.loads((workspace / "reports" / "decision.json").read_text(encoding="utf-8"))
    detail = (workspace / "reports" / "decision.md").read_text(encoding="utf-8")
    verdict = decision["verdict"]
    if verdict == "promoted" and not applied:
        verdict = "passed the gate but was not approved"
    alarms = _alarms(workspace / "reports" / "drift.json")
    if alarms:
        verdict += f", {len(alarms)} alarm" + "s" * (len(alarms) > 1)
        detail = "\n".join(f"- {alarm}" for alarm in alarms) + f"\n\n{detail}"
    return f"longtail: {verdict}. {decision['summary']}\n\n{detail}".strip()


def _alarms(drift: Path) -> list[str]:
    """What `drift` found; nothing if it was not measured."""
    if not drift.exists():
        return []
    return list(json.loads(drift.read_text(encoding="utf-8"))["alarms"])
