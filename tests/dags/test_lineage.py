"""What OpenLineage hears of a night: each stage's inputs and outputs, written to a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from components._frame.pipeline import load_stages
from dags._lineage import StageExtractor
from tests.builders.nights import Nights
from tests.builders.paths import ROOT


class Operator:
    def __init__(self, task_id: str) -> None:
        self.task_id = task_id


def lineage(task_id: str) -> tuple[list[str], list[str]]:
    found = StageExtractor(Operator(task_id)).extract()
    assert found is not None
    assert {dataset.namespace for dataset in (*found.inputs, *found.outputs)} <= {"longtail"}
    return [d.name for d in found.inputs], [d.name for d in found.outputs]


def test_a_stage_reads_files_of_others_and_no_code() -> None:
    inputs, outputs = lineage("stages.split")
    assert inputs == ["artifacts/validate/corpus.parquet"]
    assert "artifacts/split/assignment.parquet" in outputs
    assert lineage("ingest") == ([], ["data"])
    assert lineage("decide") == ([], [])


def test_every_output_is_made_once_and_every_input_is_made() -> None:
    made = ["data"]
    for stage in load_stages(ROOT / "dvc.yaml"):
        inputs, outputs = lineage(f"stages.{stage.name}")
        assert inputs and set(inputs) <= set(made), stage.name
        assert not set(outputs) & set(made), stage.name
        made += outputs


@pytest.mark.beyond_gate
@pytest.mark.slow
def test_a_night_is_told_to_openlineage(nights: Nights, tmp_path: Path) -> None:
    log = tmp_path / "lineage.jsonl"
    settings = {
        "AIRFLOW__OPENLINEAGE__EXTRACTORS": "dags._lineage.StageExtractor",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(log), "append": True}
        ),
    }
    replace(nights, extra=tuple(settings.items()))("2026-03-01T02:00:00")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    done = {
        event["job"]["name"]: [[d["name"] for d in event[side]] for side in ("inputs", "outputs")]
        for event in events
        if event["eventType"] == "COMPLETE"
    }
    assert done["nightly_retraining.stages.count"] == [["data"], ["artifacts/count.json"]]
    assert done["nightly_retraining.stages.total"] == [
        ["artifacts/count.json"], ["artifacts/total.json"],
    ]  # fmt: skip
