"""Tells people how a night ended: by webhook or mail where a connection is set, else in the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier

WEBHOOK, SMTP = "longtail_webhook", "longtail_smtp"


class Notify(BaseNotifier):
    """Sends `message` (a template). Connections are looked up when it is sent, not before.

    The webhook gets `{"text": …}`, which Slack, Mattermost and Teams accept. Mail goes from the
    connection's login to the address in its extra field `to`.
    """

    template_fields = ("message",)

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def notify(self, context: Any) -> None:
        self.log.info("Notification: %s", self.message)
        if webhook := connection(WEBHOOK):
            from airflow.providers.http.hooks.http import HttpHook

            body = json.dumps({"text": self.message})
            headers = {"Content-Type": "application/json"}
            HttpHook(http_conn_id=WEBHOOK).run(webhook.schema or None, body, headers)
        if mail := connection(SMTP):
            from airflow.providers.smtp.hooks.smtp import SmtpHook

            with SmtpHook(smtp_conn_id=SMTP) as hook:
                hook.send_email_smtp(
                    to=mail.extra_dejson["to"],
                    from_email=mail.login,
                    subject=self.message.splitlines()[0][:120],
                    html_content=f"<pre>{escaped(self.message)}</pre>",
                )


FAILED = Notify(
    "longtail: {{ ti.task_id }} failed in {{ run_id }} (try {{ ti.try_number }}). "
    "The champion is unchanged. {{ exception }}"
)


def connection(conn_id: str) -> Any:
    """The connection of that name, None where nobody has set it."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

    try:
        return Connection.get(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError):
        return None


def escaped(text: str) -> str:
    """Text as it may stand in an HTML mail: it can quote the corpus."""
    from html import escape

    return escape(text)


def outcome(folder: Path, planned: list[str], applied: bool) -> str:
    """What the night's notification says, from the plan and from `reports/decision.json`."""
    if "record" not in planned:
        return "longtail: unchanged. No new data or code; nothing was trained or registered."
    decision = json.loads((folder / "reports" / "decision.json").read_text(encoding="utf-8"))
    detail = (folder / "reports" / "decision.md").read_text(encoding="utf-8")
    verdict = decision["verdict"]
    if verdict == "promoted" and not applied:
        verdict = "passed the gate but was not approved"
    return f"longtail: {verdict}. {decision['summary']}\n\n{detail}".strip()
