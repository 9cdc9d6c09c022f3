"""Passes what the stages used on to Airflow's own metrics (StatsD or OpenTelemetry, if on)."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk.observability import stats

from components._frame.usage import FOLDER, read_usage


def tell_usage(workspace: Path) -> None:
    """One gauge `longtail.stage.<name>` per number, tagged with the stage."""
    for stage, used in read_usage(workspace / FOLDER).items():
        for name, value in used.items():
            stats.gauge(f"longtail.stage.{name}", value, tags={"stage": stage})
