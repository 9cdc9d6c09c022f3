"""The ways to run a step, by the names that `LONGTAIL_RUNNER` takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import BaseOperator

from dags._settings import Settings
from dags._steps import Step, step_environment

MakeOperator = Callable[..., BaseOperator]


def _process() -> MakeOperator:
    from dags._process import process_operator

    return process_operator


def _docker() -> MakeOperator:
    from dags._docker import docker_operator

    return docker_operator


def _kubernetes() -> MakeOperator:
    from dags._kubernetes import kubernetes_operator

    return kubernetes_operator


# Functions, so that parsing a DAG imports no provider but the one in use.
RUNNERS: dict[str, Callable[[], MakeOperator]] = {
    "process": _process,
    "docker": _docker,
    "kubernetes": _kubernetes,
}


def operator(settings: Settings, step: Step, **kwargs: Any) -> BaseOperator:
    """The Airflow operator that runs `step` with this installation's runner.

    Args:
        settings: Names the runner.
        step: What to run.
        **kwargs: Any argument of Airflow's `BaseOperator`.

    Raises:
        ValueError: The runner does not exist.
    """
    if settings.runner not in RUNNERS:
        expected = ", ".join(RUNNERS)
        raise ValueError(f"LONGTAIL_RUNNER is {settings.runner!r}; expected one of {expected}.")
    make_operator = RUNNERS[settings.runner]()
    return make_operator(settings, step, step_environment(settings, step), **kwargs)
