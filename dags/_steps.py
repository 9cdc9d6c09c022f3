"""A step: one task that runs the project's own code, its environment, and its exit codes."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from airflow.sdk import XComArg
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.log import mask_secret, redact

from components._frame.exit_codes import GATE_NOT_PASSED, OK, TEMPORARY
from components._frame.pipeline import load_stages
from dags import _xcom
from dags._commands import COMMANDS
from dags._environment import PASSED_ON, is_secret
from dags._settings import Settings
from dags._tools import ToolError, WorkspaceError

# Killed from outside (memory, node lost): the next try may well succeed.
KILLED = (128 + signal.SIGKILL, -signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM)
PASSWORD = re.compile(r"://[^/@\s:]*:([^/@\s]+)@")
# The steps that are no stages of dvc.yaml, in all DAGs.
OTHERS = ("ingest", *COMMANDS, "queue", "resolve", "rollback", "registry")


@cache
def step_names(repo: Path) -> tuple[str, ...]:
    """The names of all steps of all DAGs: the commands, and the stages of the project."""
    return (*OTHERS, *(stage.name for stage in load_stages(repo / "dvc.yaml")))


@dataclass(frozen=True)
class Step:
    """What to run, in which image, with which resources.

    Attributes:
        task_id: Name of the Airflow task.
        argv: Arguments, or the output of an earlier task that names them at run time.
        image: Dockerfile target whose image has the libraries.
        memory: Limit that Docker and Kubernetes both read, such as `4G`.
        gpus: How many GPUs it needs.
    """

    task_id: str
    argv: tuple[str, ...] | XComArg
    image: str
    memory: str | None = None
    gpus: int = 0

    @property
    def arguments(self) -> Any:
        """`argv` as operators take it: a list, or the earlier task's output."""
        return list(self.argv) if isinstance(self.argv, tuple) else self.argv


def raise_for_exit_code(code: int, last_lines: Iterable[str] = ()) -> None:
    """Raise what an exit code means to Airflow; only temporary failures are retried.

    Args:
        code: Exit code of a container or, negative for a signal, of a child process.
        last_lines: The last lines of output, quoted in the exception.

    Raises:
        AirflowSkipException: The gate was not passed.
        AirflowException: Temporary failure, or killed from outside; Airflow retries it.
        AirflowFailException: Any other failure; Airflow does not retry it.
    """
    output = str(redact("\n".join(line for line in last_lines if line.strip())))
    if code == OK:
        return
    if code == GATE_NOT_PASSED:
        raise AirflowSkipException(output or "The gate was not passed.")
    if code in KILLED:
        cause = f"Killed from outside (exit code {code}), usually for lack of memory; retryable."
        raise AirflowException(f"{cause} {output}")
    if code == TEMPORARY:
        raise AirflowException(f"Temporary failure (exit code {code}); retryable. {output}")
    raise AirflowFailException(f"Exit code {code}; not retried. {output}")


@contextmanager
def airflow_exceptions() -> Iterator[None]:
    """Re-raise workspace errors as Airflow's; only those of git, DVC, and S3 are retried."""
    try:
        yield
    except ToolError as error:
        raise AirflowException(str(error)) from None
    except WorkspaceError as error:
        raise AirflowFailException(str(error)) from None


def mask_secrets() -> None:
    """Have Airflow mask the steps' secrets in logs, and `raise_for_exit_code` in messages."""
    for name, value in os.environ.items():
        if name.startswith(PASSED_ON) and is_secret(name, value):
            mask_secret(value)
            for password in PASSWORD.findall(value):
                mask_secret(password)


def step_environment(settings: Settings, step: Step) -> dict[str, str]:
    """What every step needs to know about its run; Airflow shows it with the task."""
    in_container = settings.runner != "process"
    return {
        "LONGTAIL_APPROVAL": "{{ {true: 'yes', false: 'no'}.get(params.get('approval'), '') }}",
        "LONGTAIL_CACHE": f"{settings.state}/cache",
        "LONGTAIL_DATA_REVISION": "{{ ti.xcom_pull(task_ids='record') or '' }}",
        "LONGTAIL_GIT_COMMIT": _xcom.FIELD % "commit",
        "LONGTAIL_IMAGE_DIGEST": settings.image(step.image) if in_container else "",
        "LONGTAIL_LOGICAL_DATE": _xcom.FIELD % "key",
    }
