"""Tells that a run did not end in time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from dags._notify import Notify, hours

# The next night is then due.
TIMEOUT = timedelta(hours=24)


def tell_timeout(context: Mapping[str, Any]) -> None:
    """A DAG's failure callback for `dagrun_timeout`; tasks tell their own failures.

    (Airflow's deadline alerts, which do not stop a run either, are still experimental.)
    """
    if context["reason"] != "timed_out":
        return
    limit = hours(context["dag"].dagrun_timeout)
    last = f" in {context['ti'].task_id}" if context.get("ti") else ""
    Notify(
        f"longtail: {context['run_id']} did not end within {limit} and was stopped{last}. "
        "Look for tasks that wait for a slot, a person, or a machine, then clear the run."
    ).notify(context)
