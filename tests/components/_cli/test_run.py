"""`longtail run` on a small clone of this project: from data to a decision, then nothing to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.real_project import SPLIT, in_project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
STAGES = ("validate", "split", "frequencies", "baseline", "train", "thresholds", "report")


def longtail_run(folder: Path) -> subprocess.CompletedProcess[str]:
    """With the clone's own code, and no `python` of an active environment."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "VIRTUAL_ENV"))}
    own |= {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"}
    own |= {"LONGTAIL_CACHE": str(folder / ".cache"), "DVC_NO_ANALYTICS": "1"}
    code = "from components._cli.main import main; main()"
    argv = [sys.executable, "-c", code, "run"]
    return subprocess.run(argv, cwd=folder, env=own, capture_output=True, text=True)


def test_from_data_to_a_decision_then_nothing_then_a_wrong_parameter(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", (60,))
    first = longtail_run(folder)
    assert first.returncode == 0, first.stdout + first.stderr
    said = [line.split(":")[0] for line in first.stdout.splitlines()]
    assert tuple(name for name in said if name in STAGES) == STAGES
    assert "PROMOTED" in first.stdout and "reports/decision.html" in first.stdout
    lines = (first.stdout + first.stderr).splitlines()
    assert len(lines) <= 40, "\n".join(lines)
    assert "ocuments arrived" not in first.stdout  # nothing to compare with
    assert [line for line in first.stderr.splitlines() if "arn" in line] == []

    second = longtail_run(folder)
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"{len(STAGES)} stages unchanged." in second.stdout
    assert "nothing registered" in second.stdout

    in_project(folder, "python", "-m", "components.ingest", "jsonl", "../in1/1.jsonl",
               "--assignment", SPLIT)  # fmt: skip
    third = longtail_run(folder)
    assert third.returncode == 0, third.stdout + third.stderr
    drift = json.loads((folder / "reports/drift.json").read_text())
    assert (drift["champion"], drift["documents"]) == ("1", {"reference": 300, "new": 60})
    assert drift["watch"]["measured"]["n_docs"] > 50
    assert "60 new documents" in third.stdout or "ALARM: " in third.stdout
    assert (
        "Champion version 1 since its promotion" in (folder / "reports/decision.html").read_text()
    )

    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("max_length:", "max_lenth:"))
    wrong = longtail_run(folder)
    assert wrong.returncode != 0 and "Traceback" not in wrong.stderr
    assert "Did you mean 'max_length'" in wrong.stderr
    assert "Test set, F1" not in wrong.stdout
