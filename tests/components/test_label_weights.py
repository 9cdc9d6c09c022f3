"""What annotators disagree on counts less in training: from their judgments to both models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

from components._formats.annotations import (
    doubt_of,
    read_label_weights,
    write_label_weights,
)
from components._formats.linear import read_linear
from longtail.annotation.agreed_labels import LEAST_WEIGHT, _weights
from longtail.annotation.consensus import Consensus, dawid_skene
from longtail.errors import DataError
from longtail.label_matrix import encode
from longtail.validation.agreement import Judgments
from tests.components._formats.test_linear import fit, write_inputs
from tests.components.test_train import stage as train_stage  # noqa: F401
from tests.components.test_validate import Stage, records
from tests.components.test_validate_consensus import annotate, judged_by

Cells = dict[tuple[str, str], float]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def cells(stage: Stage) -> Cells:
    found = read_label_weights(stage.label_weights)
    return dict(zip(zip(found["id"], found["label"], strict=True), found["weight"], strict=True))


def disputed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each gives the wrong label to one document of three, and not to the same ones."""

    def errs(every: int) -> Callable[[dict[str, Any]], list[str]]:
        other = {"odd": "even", "even": "odd"}
        number = {row["id"]: k for k, row in enumerate(rows)}

        def give(row: dict[str, Any]) -> list[str]:
            wrong = number[row["id"]] * every % 11 < 4
            return [other[label] if wrong else label for label in row["labels"]]

        return give

    return judged_by(rows, ada=errs(3), ben=errs(5), cleo=errs(7))


def test_weights_are_the_certainty_of_dawid_and_skene(stage: Stage) -> None:
    rows = records()
    rows.append({**rows[1], "id": "single", "text": "only one of them judged this"})
    judged = [*disputed(rows[:40]), {"id": "single", "annotator": "cleo", "labels": ["even"]}]
    annotate(stage, judged)
    stage.run(rows, consensus="dawid_skene")
    names, ids, who = ["even", "odd"], [row["id"] for row in rows], ["ada", "ben", "cleo"]
    judgments = Judgments(
        np.array([ids.index(j["id"]) for j in judged]),
        np.array([who.index(j["annotator"]) for j in judged]),
        encode([j["labels"] for j in judged], names),
    )
    p = dawid_skene(judgments, len(ids)).probability.toarray()[:40]
    expected = {
        (ids[k], names[i]): max(weight, LEAST_WEIGHT)
        for (k, i), weight in np.ndenumerate(abs(2 * p - 1).round(3))
        if weight < 1
    }
    assert len(expected) > 40 and min(expected.values()) < 0.7
    assert cells(stage) == pytest.approx(expected)


@pytest.mark.parametrize(
    "params",
    [
        {"consensus": "labels"},
        {"consensus": "majority"},
        {"consensus": "dawid_skene", "consensus_weights": False},
    ],
)
def test_without_probabilities_in_use_everything_counts_one(stage: Stage, params: Any) -> None:
    annotate(stage, disputed(records()))
    stage.run(records(), **params)
    assert cells(stage) == {}


def test_without_annotators_everything_counts_one(stage: Stage) -> None:
    stage.run(records(), consensus="dawid_skene")
    assert cells(stage) == {}


def test_documents_set_aside_have_no_weights(stage: Stage) -> None:
    rows = records()
    annotate(stage, disputed(rows))
    rows[10]["text"] = " "
    stage.run(rows, consensus="dawid_skene")
    found = {name for name, _ in cells(stage)}
    assert "d10" not in found and len(found) > 20


def test_what_is_even_counts_next_to_nothing_but_not_nothing() -> None:
    """Document 4 of five: p is 0.5, 0.9996 and 0.2."""
    p = sp.csr_matrix(([0.5, 0.9996, 0.2], ([4, 4, 4], [0, 1, 2])), shape=(5, 3))
    empty = np.empty((1, 3))
    found = Consensus(p, np.empty(3), empty, empty, empty, iterations=1, converged=True)
    weights = [tuple(cell) for cell in _weights(found, np.array([2, 4]), ["x", "y", "z"])]
    assert weights == [(4, "x", LEAST_WEIGHT), (4, "y", 0.999), (4, "z", pytest.approx(0.6))]
    found.probability.data[1] = 0.9998
    assert [label for _, label, _ in _weights(found, np.array([4]), ["x", "y", "z"])] == ["x", "z"]


def test_doubt_is_one_minus_weight_where_document_and_label_are_known(tmp_path: Path) -> None:
    path = tmp_path / "weights.parquet"
    write_label_weights(path, [("b", "x", 0.25), ("a", "gone", 0.5), ("gone", "x", 0.5)])
    doubt = doubt_of(read_label_weights(path), ["a", "b"], ["x", "y"])
    assert doubt.dtype == np.float32
    assert doubt.toarray().tolist() == [[0, 0], [0.75, 0]]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("a", "x", 0.5), ("a", "x", 0.5)], r"row 2: \['a', 'x', '0.5'\]"),
        ([("a", "x", 0.5), ("b", "x", 0.0)], r"row 2: \['b', 'x', '0.0'\]"),
        ([("a", "x", 1.0)], "row 1"),
        ([("a", "x", float("nan"))], "row 1"),
    ],
)
def test_other_weights_are_refused(tmp_path: Path, rows: list[Any], why: str) -> None:
    write_label_weights(tmp_path / "weights.parquet", rows)
    with pytest.raises(DataError, match=why + ".* Run `dvc repro validate`"):
        read_label_weights(tmp_path / "weights.parquet")


@pytest.mark.parametrize("content", [b"", b"no table"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.parquet"
    with pytest.raises(DataError, match="no table of label weights"):
        read_label_weights(path)
    path.write_bytes(content)
    with pytest.raises(DataError, match="no table of label weights"):
        read_label_weights(path)
    pq.write_table(pa.table({"id": ["a"], "label": ["x"]}), path)
    with pytest.raises(DataError, match="no table of label weights"):
        read_label_weights(path)


def test_the_baseline_learns_less_from_what_is_doubted(tmp_path: Path) -> None:
    """Every second train document of the sea is said to be of the sky too, which is doubted."""
    corpus, assignment = write_inputs(tmp_path)
    frame = pd.read_parquet(corpus)
    sea = [i for i in range(18) if i % 6 == 0]
    for i in sea:
        frame.at[i, "labels"] = ["sea", "sky"]
    frame.to_parquet(corpus)
    weights, margins = tmp_path / "label_weights.parquet", []
    for given in ([], [(f"d{i:02}", "sky", 0.01) for i in sea]):
        write_label_weights(weights, given)
        fit(tmp_path, corpus, assignment, costs=[1.0])
        margins.append(read_linear(tmp_path / "model").scores(["ship harbor wave"])[0])
    column = ["Größe", "rare", "sea", "sky"].index("sky")
    assert margins[1][column] < margins[0][column] - 0.1
    others = [i for i in range(4) if i != column]
    np.testing.assert_array_equal(margins[0][others], margins[1][others])


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_doubt_of_what_is_not_learned_from_changes_no_byte(tmp_path: Path) -> None:
    corpus, assignment = write_inputs(tmp_path)
    found = []
    for given in ([], [("d29", "sea", 0.1), ("d18", "sky", 0.1)]):  # of test and of val
        write_label_weights(tmp_path / "label_weights.parquet", given)
        fit(tmp_path / str(len(given)), corpus, assignment, costs=[0.5, 1.0])
        found.append(files(tmp_path / str(len(given))))
    assert found[0] == found[1]


@pytest.mark.parametrize("profile", ["head", pytest.param("finetune", marks=pytest.mark.slow)])
def test_train_learns_less_from_what_is_doubted(train_stage, tmp_path, profile: str) -> None:  # noqa: F811
    """Doubt of train documents changes the model; that of val and test not a byte."""
    path, found = tmp_path / "label_weights.parquet", {}
    for name, rows in {"none": (), "others": (3, 4), "train": (0, 1, 2)}.items():
        write_label_weights(
            path, [(f"doc-{i:04d}", "label-0", 0.05) for i in range(120) if i % 5 in rows]
        )
        found[name] = files(train_stage(name, profile, 1))
    keep = [key for key in found["none"] if not key.startswith(("choice", "summary"))]
    assert any("safetensors" in key for key in keep)
    assert [key for key in keep if found["none"][key] != found["others"][key]] == []
    model = next(key for key in keep if "safetensors" in key)
    assert found["train"][model] != found["none"][model]
