"""The consensus of several annotators, as `validate` forms it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.components.test_validate import Stage, records

DAYS = [f"2026-0{month}-01" for month in range(1, 9)]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def judged_by(rows: list[dict[str, Any]], **labels_of: Any) -> list[dict[str, Any]]:
    """A judgment of every document per annotator; `labels_of[who](row)` are the labels given."""
    return [
        {
            "id": r["id"],
            "annotator": who,
            "labels": give(r),
            "annotated_at": f"2026-0{1 + k % 8}-01",
        }
        for who, give in labels_of.items()
        for k, r in enumerate(rows)
    ]


def annotate(stage: Stage, judged: list[dict[str, Any]]) -> None:
    frame = pd.DataFrame(judged)
    if "annotated_at" in frame:
        frame["annotated_at"] = pd.to_datetime(frame["annotated_at"])
    frame.to_parquet(stage.data / "annotations.parquet")


def own(row: dict[str, Any]) -> list[str]:
    return row["labels"]


def kept_labels(stage: Stage) -> dict[str, list[str]]:
    return {row["id"]: row["labels"] for row in pq.read_table(stage.corpus).to_pylist()}


@pytest.mark.parametrize("method", ["labels", "majority", "dawid_skene"])
def test_the_consensus_replaces_labels_only_if_asked(stage: Stage, method: str) -> None:
    rows = records() + [{**records()[0], "id": "z", "text": "judged by only one of them"}]
    rows[3]["labels"], rows[4]["labels"] = ["even"], ["new", "even"]
    true = {r["id"]: ["odd" if int(r["id"][1:] or 0) % 2 else "even"] for r in rows}
    judged = judged_by(rows[:40], ada=lambda r: true[r["id"]], ben=lambda r: true[r["id"]])
    annotate(stage, [*judged, {"id": "z", "annotator": "ada", "labels": ["odd"]}])
    found = stage.run(rows, consensus=method)["consensus"]
    changes = found["changes"]
    assert (found["method"], found["documents"]) == (method, 40)
    assert (changes["documents"], changes["added"], changes["removed"]) == (2, 1, 2)
    assert changes["examples"][1] == {"id": "d04", "labels": ["new", "even"], "agreed": ["even"]}
    labels = kept_labels(stage)
    changed = method != "labels"
    assert labels["d03"] == (["odd"] if changed else ["even"])
    assert labels["d04"] == (["even"] if changed else ["new", "even"])
    assert labels["z"] == ["even"]  # a single judgment replaces nothing


def test_reliability_per_annotator_and_period(stage: Stage) -> None:
    rows = records(80)
    late = {row["id"] for k, row in enumerate(rows) if k % 8 >= 4}
    changed = judged_by(
        rows, ada=own, ben=own, cleo=lambda r: ["odd"] if r["id"] in late else r["labels"]
    )
    annotate(stage, changed)
    found = stage.run(rows, consensus="dawid_skene", limits={"periods": 2})["consensus"]
    cleo, *others = found["annotators"]
    assert cleo["annotator"] == "cleo" and cleo["documents"] == 80
    assert 0.7 < cleo["found"] < 0.8 and 0.7 < cleo["right"] < 0.8
    assert [period["documents"] for period in cleo["periods"]] == [40, 40]
    before, after = cleo["periods"]
    assert before["period"] == "2026-01-01 … 2026-04-01"
    assert before["found"] > 0.95 and 0.45 < after["found"] < 0.55
    assert all(other["found"] > 0.95 for other in others)
    [worst] = found["most_missed"][:1]
    assert (worst["annotator"], worst["label"]) == ("cleo", "even")
    assert found["changes"]["documents"] == 0


def test_odd_judgments_lose_no_document(stage: Stage) -> None:
    """Gone documents, aliases, labels not allowed, empty judgments, and second thoughts."""
    (stage.data / "labels.yaml").write_text("labels: [odd, even]\naliases: {uneven: odd}\n")
    rows = records()
    judged = judged_by(rows, ada=own, ben=own)
    judged += [{"id": "gone", "annotator": who, "labels": ["odd"]} for who in ("ada", "ben")]
    by_key = {(j["annotator"], j["id"]): j for j in judged}
    by_key["ada", "d01"]["labels"] = by_key["ben", "d01"]["labels"] = ["uneven", "strange"]
    by_key["ada", "d02"]["labels"] = by_key["ben", "d02"]["labels"] = []
    wrong = by_key["ada", "d03"] | {"labels": ["even"], "annotated_at": "2025-01-01"}
    annotate(stage, [*judged, wrong, by_key["ben", "d04"] | {"annotated_at": None}])
    found = stage.run(rows, consensus="dawid_skene")["consensus"]
    assert found["ignored"] == {"unknown_documents": 1, "labels_not_allowed": 2}
    assert found["without_labels"] == 1 and found["changes"]["documents"] == 0
    assert kept_labels(stage) == {row["id"]: row["labels"] for row in rows}


def test_one_annotator_forms_no_consensus(stage: Stage) -> None:
    rows = records()
    annotate(stage, judged_by(rows, ada=lambda _: ["odd"]) * 2)
    assert "consensus" not in stage.run(rows, consensus="dawid_skene")
    assert kept_labels(stage) == {row["id"]: row["labels"] for row in rows}


def test_the_time_of_a_judgment_must_be_one(stage: Stage) -> None:
    rows = records()
    judged = [
        {"id": r["id"], "annotator": "ada", "labels": r["labels"], "annotated_at": "May"}
        for r in rows
    ]
    pd.DataFrame(judged).to_parquet(stage.data / "annotations.parquet")
    stage.refused(rows, r"optionally annotated_at \(timestamp\)")
