"""One step as its pod without a volume runs it: the containers as processes, each for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dags._pod_storage import COMMAND, SCRIPT
from tests.builders.paths import ROOT


@dataclass
class PodStep:
    """The pod of one step.

    Attributes:
        step: its name.
        night: the name of its night in the remote.
        remote: options of the remote.
        folder: the pod's own workspace, empty at first.
        said: what the containers wrote, by their name.
        storage: the container beside the step, once it is started.
    """

    step: str
    night: str
    remote: dict[str, str]
    folder: Path
    said: dict[str, str] = field(default_factory=dict)
    storage: subprocess.Popen[str] | None = None

    @property
    def env(self) -> dict[str, str]:
        told = {"LONGTAIL_NIGHT": self.night, "LONGTAIL_REMOTE": json.dumps(self.remote)}
        return {**os.environ, **told, "PYTHONPATH": str(ROOT)}

    def argv(self, function: str) -> list[str]:
        return [sys.executable, *COMMAND[1:], function, self.step]

    def pull(self) -> int:
        """The init container; its exit code."""
        self.folder.mkdir(parents=True)
        done = subprocess.run(self.argv("pull"), cwd=self.folder, env=self.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        self.said["pull"] = done.stdout
        return done.returncode

    def run(self, argv: Sequence[str]) -> int:
        """The step, and the container that stores what it made; the exit code of the step."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.storage = subprocess.Popen(self.argv("push"), cwd=self.folder, env=self.env, **pipes)
        step = [sys.executable if part == "python" else part for part in argv]
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        base = subprocess.run(["sh", "-c", SCRIPT, "step", *step], cwd=self.folder, env=own,
                              timeout=200, **pipes)  # fmt: skip
        self.said["storage"], _ = self.storage.communicate(timeout=100)
        self.said["base"] = base.stdout
        return base.returncode
