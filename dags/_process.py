"""Runs a step as a child process of the Airflow worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.log import redact

from dags import _xcom
from dags._environment import private_environment
from dags._settings import Settings
from dags._steps import Step, mask_secrets, raise_for_exit_code

CHECK = Path("components/_cli/check.py")
MOST_LINES = 40


class ProcessOperator(BaseOperator):
    """Runs a step in its run's workspace, with the workspace's own code."""

    template_fields: Sequence[str] = ("argv", "cwd", "env")

    def __init__(
        self,
        *,
        argv: Any,  # a list by the time it runs
        cwd: str,
        env: dict[str, str],
        private: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.argv, self.cwd, self.env, self.private = argv, cwd, env, private or {}

    def execute(self, context: Any) -> None:
        mask_secrets()
        argv = [_python() if argument == "python" else argument for argument in self.argv]
        self.log.info("In %s: %s", self.cwd, argv)
        env = {**_inherited(), **self.private, **self.env}
        self.child = subprocess.Popen(
            argv, cwd=self.cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        last: deque[str] = deque(maxlen=5)
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.log.info("%s", redact(line.rstrip()))
            last.append(line.rstrip())
        raise_for_exit_code(self.child.wait(), last)

    def on_kill(self) -> None:
        """Terminate the step and its workers, which share its process group."""
        if getattr(self, "child", None) is not None and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)


def _python() -> str:
    return os.environ.get("LONGTAIL_PYTHON", sys.executable)


def _inherited() -> dict[str, str]:
    """Airflow's environment without what is Airflow's own."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    own.pop("PYTHONPATH", None)
    return own


def check_params(workspace: Path) -> None:
    """Check all of the workspace's params.yaml at once, with its own code; a fault fails the task.

    In containers every step checks its own sections: Airflow's image has none of their libraries.
    """
    if not (workspace / CHECK).exists():  # the code of an earlier date
        return
    argv = [_python(), "-m", CHECK.with_suffix("").as_posix().replace("/", ".")]
    done = subprocess.run(
        argv, cwd=workspace, env=_inherited(), capture_output=True, text=True, errors="replace"
    )
    raise_for_exit_code(done.returncode, done.stderr.splitlines()[-MOST_LINES:])


def process_operator(
    settings: Settings, step: Step, env: Mapping[str, str], **kwargs: Any
) -> ProcessOperator:
    """The child process of one step."""
    return ProcessOperator(
        task_id=step.task_id,
        argv=step.arguments,
        cwd=_xcom.PATH,
        env=dict(env),
        private=private_environment(settings),
        **kwargs,
    )
