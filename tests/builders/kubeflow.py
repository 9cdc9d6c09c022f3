"""Runs the Kubeflow pipeline on this machine: by kfp's Docker runner, or its steps as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from dags._environment import PASSED_ON
from tests.builders.nights import environment
from tests.builders.paths import ROOT

KFP = ROOT / ".venv-kfp" / "bin" / "python"
VOLUME, NIGHT = "/longtail", "comp-exit-handler-1"


def run_kubeflow(home: Path, socket: str, *words: str, **settings: str) -> Any:
    """Run a night in `home` with the Docker API at `socket`; `words` are `NAME=value`."""
    subprocess.run(["make", "--silent", ".venv-kfp/.installed"], cwd=ROOT, check=True)
    argv = [str(KFP), "-m", "dags._kubeflow_local", str(home), *words]
    own = {"PYTHONPATH": str(ROOT), "DOCKER_HOST": socket, "LONGTAIL_NETWORK": "host"}
    own |= {"LONGTAIL_RETRIES": "1", "LONGTAIL_RETRY_SECONDS": "1"}
    env = os.environ | own | settings
    return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True)


def compile_pipeline(
    target: Path, *words: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Compile the pipeline into `target` in Kubeflow's own virtual environment."""
    plain = {k: v for k, v in environment().items() if not k.startswith(PASSED_ON)}
    argv = [str(KFP), "-m", "dags.kubeflow_pipeline", str(target), *words]
    return subprocess.run(argv, env=plain | settings, cwd=ROOT, capture_output=True, text=True)


@dataclass
class Processes:
    """The compiled pipeline's commands, run as Kubeflow would, but as processes.

    Attributes:
        pipeline: The compiled file.
        home: What the volume would hold.
        output: What each step wrote, all tries.
        tries: How often each step was started.
    """

    pipeline: Path
    home: Path
    output: dict[str, str] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)

    def __call__(self, run: str, **parameters: str) -> list[str]:
        """Run a night; returns the steps that failed."""
        spec = next(iter(yaml.safe_load_all(self.pipeline.read_text(encoding="utf-8"))))
        self.output.clear()
        self.tries.clear()
        dag = spec["components"][NIGHT]["dag"]["tasks"]
        failed: list[str] = []
        order = {name: task.get("dependentTasks", []) for name, task in dag.items()}
        for name in TopologicalSorter(order).static_order():
            unreached = bool(set(order[name]) & set(failed))
            if unreached or not self._try(spec, name, run, parameters):
                failed.append(name)
        self._try(spec, "notify", run, parameters)
        return [name for name in failed if name in self.tries]

    def _try(self, spec: Any, name: str, run: str, given: dict[str, str]) -> bool:
        task = {
            **spec["components"][NIGHT]["dag"]["tasks"],
            **spec["root"]["dag"]["tasks"],
        }
        policy = task[name].get("retryPolicy", {})
        for _ in range(1 + policy["maxRetryCount"]):
            if self._start(spec, name, run, given) == 0:
                return True
        return False

    def _start(self, spec: Any, name: str, run: str, given: dict[str, str]) -> int:
        container = spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
        values = {"run": run, "task": f"id-of-{name}", "update": "false", "force": "false", **given}
        words = [*container["command"], *container["args"]]
        for i, word in enumerate(words):
            if word.startswith("{{$.inputs.parameters['"):
                words[i] = values.get(word.split("'")[1], "")
            words[i] = words[i].replace("{{$.inputs.parameters['run']}}", run)
            words[i] = words[i].replace(f"{VOLUME}/", f"{self.home}/")
        env = environment(**{e["name"]: e["value"].replace(VOLUME, str(self.home))
                             for e in container.get("env", [])})  # fmt: skip
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        done = subprocess.run(words, env=env, cwd=self.home, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)  # fmt: skip
        self.output[name] = self.output.get(name, "") + done.stdout
        self.tries[name] = self.tries.get(name, 0) + 1
        return done.returncode
