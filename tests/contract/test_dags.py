"""DAG files: their tasks against golden files, and what parsing them must not do.

After an intended change, run `UPDATE_GOLDEN=1 pytest tests/contract/test_dags.py`, which writes the
golden files, and read the diff before committing it.
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
from dags._runners import RUNNERS
from tests.builders.nights import environment
from tests.builders.paths import ROOT

GOLDEN = Path(__file__).parent / "golden"
DAGS = ("nightly_retraining", "rollback", "retention")
HEAVY = {"torch", "transformers", "mlflow", "pandas", "great_expectations", "sklearn", "dvc", "kfp"}

# Imports `airflow.sdk`, blocks the database, then forks a process for each DAG and its settings.
PARSE = """
import importlib, json, os, sys, time
import airflow.sdk, sqlalchemy.engine
from airflow.sdk import Connection, Variable

def blocked(*args, **kwargs):
    raise AssertionError("a query or a lookup while parsing")

sqlalchemy.engine.Engine.connect = sqlalchemy.engine.Engine.raw_connection = blocked
Connection.get = Variable.get = blocked
for name, runner, settings in json.loads(sys.argv[1]):
    if runner == "kubernetes":  # importing the client alone takes a second
        import airflow.providers.cncf.kubernetes.operators.pod
    if not (child := os.fork()):
        break
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
else:
    sys.exit()
os.environ.update(settings, LONGTAIL_RUNNER=runner)
before = set(sys.modules)
started = time.process_time()
dag = importlib.import_module(f"dags.{name}").dag
seconds = time.process_time() - started

def arguments(task):
    values = [getattr(task, name, None) for name in ("cmds", "argv", "command")]
    value = next((value for value in values if value), None)
    return value if value is None or isinstance(value, list) else str(value)  # set at run time

tasks = [
    {"id": t.task_id, "image": getattr(t, "image", None), "argv": arguments(t),
     "upstream": sorted(t.upstream_task_ids), "trigger_rule": str(t.trigger_rule), "pool": t.pool}
    for t in dag.topological_sort()
]
tops = sorted({name.split(".")[0] for name in set(sys.modules) - before})
serial = [task.task_id for task in dag.tasks if task.max_active_tis_per_dag == 1]
print(json.dumps({"tasks": tasks, "serial": serial, "modules": tops, "seconds": seconds}))
"""


POOL = {"LONGTAIL_POOL": "/texts", "LONGTAIL_HOME": "/nights"}


@pytest.fixture(scope="module")
def everything() -> list[tuple[tuple[str, str], bool, dict[str, Any]]]:
    """DAG and runner, whether there is a pool, and what was found."""
    asked = [(dag, runner, settings) for runner in RUNNERS for dag, settings in
             (*((dag, {}) for dag in DAGS), (DAGS[0], POOL))]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PARSE, json.dumps(asked)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [((dag, runner), bool(settings), line)
            for (dag, runner, settings), line in zip(asked, lines, strict=True)]  # fmt: skip


@pytest.fixture
def all_parsed(everything: Any) -> dict[tuple[str, str], dict[str, Any]]:
    return {key: found for key, has_pool, found in everything if not has_pool}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("dag", DAGS)
def test_tasks_are_the_golden_ones(dag: str, runner: str, all_parsed: Any) -> None:
    text = json.dumps(all_parsed[dag, runner]["tasks"], indent=1) + "\n"
    golden = GOLDEN / f"{dag}.{runner}.json"
    if "UPDATE_GOLDEN" in os.environ:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_pool_adds_the_queue_after_the_decision_and_changes_nothing_else(
    runner: str, everything: Any
) -> None:
    [found] = [found for key, has_pool, found in everything if has_pool and key[1] == runner]
    tasks = {task["id"]: task for task in found["tasks"]}
    pool, queue, done = (tasks.pop(name) for name in ("pool", "queue", "queue_done"))
    golden = json.loads((GOLDEN / f"nightly_retraining.{runner}.json").read_text("utf-8"))
    assert tasks == {task["id"]: task for task in golden}
    assert [task["upstream"] for task in (pool, queue, done)] == [["apply"], ["pool"], ["queue"]]
    # Refused models, too, leave room for a queue; whatever becomes of it, the last one succeeds.
    assert [task["trigger_rule"] for task in (pool, queue, done)] == [
        "TriggerRule.NONE_FAILED", "TriggerRule.ALL_SUCCESS", "TriggerRule.ALL_DONE",
    ]  # fmt: skip
    assert queue["image"] == tasks["apply"]["image"]
    assert not HEAVY.intersection(found["modules"])


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


def test_no_task_waits_for_a_pool_that_somebody_must_create(all_parsed: Any) -> None:
    """Airflow does not fail such a task; it warns in the scheduler's log and waits for ever."""
    for parsed_dag in all_parsed.values():
        assert {task["pool"] for task in parsed_dag["tasks"]} == {"default_pool"}
    assert all_parsed["nightly_retraining", "process"]["serial"] == [
        f"stages.{stage.name}" for stage in load_stages(ROOT / "dvc.yaml")
    ]
