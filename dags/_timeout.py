"""Tells that a run did not end in time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dags._notify import Notify


class TimedOut(Notify):
    """A DAG's failure callback for `dagrun_timeout`; tasks tell their own failures.

    (Airflow's deadline alerts, which do not stop a run, are still experimental.)
    """

    def __init__(self, limit: timedelta) -> None:
        hours = limit.total_seconds() / 3600
        super().__init__(
            f"longtail: {{{{ run_id }}}} did not end within {hours:g} hours and was stopped"
            "{% if ti is defined %} in {{ ti.task_id }}{% endif %}. Look for tasks that wait for a "
            "slot, a person, or a machine, then clear the run."
        )

    def notify(self, context: Any) -> None:
        if context["reason"] == "timed_out":
            super().notify(context)
