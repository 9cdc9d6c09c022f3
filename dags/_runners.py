"""One definition of a step (name, image, argument list), three ways to run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from dags._settings import Settings

GATE_NOT_PASSED, TEMPORARY = 4, 75
# Killed from outside (memory, node lost): the step may well succeed next time.
KILLED = (137, -signal.SIGKILL, 143, -signal.SIGTERM)
WORKSPACE = "{{ ti.xcom_pull(task_ids='workspace', key='path') }}"
FACTS = "{{ ti.xcom_pull(task_ids='workspace', key='workspace')['%s'] }}"
# The parts of the environment that steps need; Airflow's own secrets are not among them.
PASSED_ON = ("MLFLOW_", "AWS_", "HF_", "SSL_CERT_", "REQUESTS_CA_", "OMP_")


@dataclass(frozen=True)
class Step:
    """One box of the DAG that runs the project's own code."""

    task_id: str
    argv: tuple[str, ...] | XComArg
    image: str
    memory: str | None = None
    gpu: bool = False

    @property
    def words(self) -> Any:
        """The argument list, or what an earlier task will say it is."""
        return list(self.argv) if isinstance(self.argv, tuple) else self.argv


def settle(code: int, last_lines: Iterable[str] = ()) -> None:
    """Turn an exit code into Airflow's outcome: only temporary failures may be retried."""
    said = "\n".join(line for line in last_lines if line.strip())
    if code == 0:
        return
    if code == GATE_NOT_PASSED:
        raise AirflowSkipException(said or "The gate was not passed.")
    if code in KILLED:
        what = f"Killed from outside (exit code {code}), mostly for want of memory; to be retried."
        raise AirflowException(f"{what} {said}")
    if code == TEMPORARY:
        raise AirflowException(f"Temporary failure (exit code {code}), to be retried. {said}")
    raise AirflowFailException(f"Exit code {code}, not retried. {said}")


class ProcessOperator(BaseOperator):
    """Runs a step as a child process in its run's workspace, with the workspace's own code."""

    template_fields: Sequence[str] = ("argv", "cwd", "env")

    def __init__(
        self,
        *,
        argv: Any,  # a list when it runs
        cwd: str,
        env: dict[str, str],
        private: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.argv, self.cwd, self.env, self.private = argv, cwd, env, private or {}

    def execute(self, context: Any) -> None:
        python = os.environ.get("LONGTAIL_PYTHON", sys.executable)
        argv = [python if word == "python" else word for word in self.argv]
        self.log.info("In %s: %s", self.cwd, argv)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
        inherited.pop("PYTHONPATH", None)
        env = {**inherited, **self.private, **self.env}
        self.child = subprocess.Popen(
            argv, cwd=self.cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        last: deque[str] = deque(maxlen=5)
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.log.info("%s", line.rstrip())
            last.append(line.rstrip())
        settle(self.child.wait(), last)

    def on_kill(self) -> None:
        """End the step and its workers, which share its process group."""
        if getattr(self, "child", None) is not None and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)


def private_environment(settings: Settings) -> dict[str, str]:
    """What a step gets besides its own environment. It may hold secrets and is never shown."""
    given = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    given["MLFLOW_TRACKING_URI"] = settings.tracking_uri
    if settings.artifact_root:
        # MLflow's only word for it without a server; else `mlruns` of the working folder counts.
        given["_MLFLOW_SERVER_ARTIFACT_ROOT"] = settings.artifact_root
    return given


def step_environment(settings: Settings, step: Step) -> dict[str, str]:
    """What every step is told about where it runs; Airflow shows it with the task."""
    in_container = settings.runner != "process"
    return {
        "LONGTAIL_CACHE": f"{settings.state}/cache",
        "LONGTAIL_DATA_REVISION": "{{ ti.xcom_pull(task_ids='record') or '' }}",
        "LONGTAIL_GIT_COMMIT": FACTS % "commit",
        "LONGTAIL_IMAGE_DIGEST": settings.image(step.image) if in_container else "",
        "LONGTAIL_LOGICAL_DATE": FACTS % "key",
    }


def operator(settings: Settings, step: Step, **kwargs: Any) -> BaseOperator:
    """The Airflow operator that runs `step` in the way of this installation."""
    env = step_environment(settings, step)
    if settings.runner == "docker":
        from dags._docker import docker_operator

        return docker_operator(settings, step, env, **kwargs)
    if settings.runner == "kubernetes":
        from dags._kubernetes import kubernetes_operator

        return kubernetes_operator(settings, step, env, **kwargs)
    return ProcessOperator(
        task_id=step.task_id,
        argv=step.words,
        cwd=WORKSPACE,
        env=env,
        private=private_environment(settings),
        **kwargs,
    )
