"""DAG files: their tasks against golden files, and what parsing them may not do.

After a wanted change write the golden files again with `python tests/contract/test_dags.py`, and
read the difference before committing it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components._frame.pipeline import load_stages
from tests.builders.paths import ROOT

GOLDEN = Path(__file__).parent / "golden"
RUNNERS = ("process", "docker", "kubernetes")
DAGS = ("nightly_retraining", "rollback")
HEAVY = {"torch", "transformers", "mlflow", "pandas", "great_expectations", "sklearn", "dvc", "kfp"}

# Runs in a fresh process: `airflow.sdk` first, then every door to the database shut, then the DAG.
PARSE = """
import importlib, json, sys, time
import airflow.sdk, sqlalchemy.engine
from airflow.sdk import Connection, Variable

def shut(*args, **kwargs):
    raise AssertionError("a query or a look-up while parsing")

if sys.argv[2] == "kubernetes":  # the client's own import takes a second, whoever asks for it
    import airflow.providers.cncf.kubernetes.operators.pod
sqlalchemy.engine.Engine.connect = sqlalchemy.engine.Engine.raw_connection = shut
Connection.get = Variable.get = shut
before = set(sys.modules)
started = time.process_time()
dag = importlib.import_module(f"dags.{sys.argv[1]}").dag
seconds = time.process_time() - started

def words(task):
    found = [getattr(task, name, None) for name in ("cmds", "argv", "command")]
    given = next((value for value in found if value), None)
    return given if given is None or isinstance(given, list) else str(given)  # told at run time

tasks = [
    {"id": t.task_id, "image": getattr(t, "image", None), "argv": words(t),
     "upstream": sorted(t.upstream_task_ids), "trigger_rule": str(t.trigger_rule), "pool": t.pool}
    for t in dag.topological_sort()
]
tops = sorted({name.split(".")[0] for name in set(sys.modules) - before})
print(json.dumps({"tasks": tasks, "modules": tops, "seconds": seconds}))
"""


def environment(**settings: str) -> dict[str, str]:
    """This process's, less the project's own settings and MLflow's, which other tests leave."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("LONGTAIL_", "MLFLOW_"))}
    return own | {"PYTHONPATH": str(ROOT)} | settings


def parsed(dag: str, runner: str) -> dict[str, Any]:
    env = environment(LONGTAIL_RUNNER=runner, AIRFLOW__CORE__LOAD_EXAMPLES="False")
    done = subprocess.run(
        [sys.executable, "-c", PARSE, dag, runner],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def golden_text(tasks: list[dict[str, Any]]) -> str:
    return json.dumps(tasks, indent=1) + "\n"


@pytest.fixture(scope="module")
def all_parsed() -> dict[tuple[str, str], dict[str, Any]]:
    return {(dag, runner): parsed(dag, runner) for dag in DAGS for runner in RUNNERS}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("dag", DAGS)
def test_tasks_are_the_golden_ones(dag: str, runner: str, all_parsed: Any) -> None:
    golden = (GOLDEN / f"{dag}.{runner}.json").read_text(encoding="utf-8")
    assert golden_text(all_parsed[dag, runner]["tasks"]) == golden


@pytest.mark.parametrize("dag", DAGS)
def test_parsing_loads_nothing_heavy_and_takes_under_a_second(dag: str, all_parsed: Any) -> None:
    for runner in RUNNERS:
        found = all_parsed[dag, runner]
        assert not HEAVY.intersection(found["modules"])
        assert found["seconds"] < 1


def test_the_dag_has_every_stage_with_its_edges(all_parsed: Any) -> None:
    stages = load_stages(ROOT / "dvc.yaml")
    tasks = {task["id"]: task for task in all_parsed["nightly_retraining", "docker"]["tasks"]}
    assert {f"stages.{stage.name}" for stage in stages} == {
        name for name in tasks if name.startswith("stages.")
    }
    for stage in stages:
        task = tasks[f"stages.{stage.name}"]
        assert task["argv"] == list(stage.argv)
        assert task["image"] == f"localhost/longtail-{stage.image}:latest"
        assert task["upstream"] == sorted(["plan", *(f"stages.{up}" for up in stage.upstream)])


def test_every_stage_has_its_settings_and_no_other() -> None:
    source = "import dags.nightly_retraining as m; print(*sorted(m.STAGE_SETTINGS))"
    done = subprocess.run(
        [sys.executable, "-c", source], env=environment(), capture_output=True, text=True
    )
    names = sorted(stage.name for stage in load_stages(ROOT / "dvc.yaml"))
    assert done.stdout.split("\n")[-2].split() == names


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for dag_name in DAGS:
        for runner_name in RUNNERS:
            target = GOLDEN / f"{dag_name}.{runner_name}.json"
            target.write_text(golden_text(parsed(dag_name, runner_name)["tasks"]), "utf-8")
