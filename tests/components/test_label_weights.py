"""What annotators disagree on counts less in training: from their judgments to both models."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
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
from components._formats.choices import Choices, read_choice, write_choices
from components._formats.linear import read_linear
from longtail.annotation.agreed_labels import LEAST_WEIGHT, _weights
from longtail.annotation.consensus import Consensus, dawid_skene, decide
from longtail.errors import DataError
from longtail.label_matrix import encode
from longtail.models import linear, svm
from longtail.models.svm import hyperplanes
from longtail.splitting.rounds import make_plan
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


def test_where_nobody_gave_any_label_everything_counts_one(stage: Stage) -> None:
    annotate(stage, judged_by(records()[:9], ada=lambda row: [], ben=lambda row: []))
    stage.run(records(), consensus="dawid_skene")
    assert cells(stage) == {}


def test_documents_set_aside_have_no_weights(stage: Stage) -> None:
    rows = records()
    annotate(stage, disputed(rows))
    rows[10]["text"] = " "
    stage.run(rows, consensus="dawid_skene")
    found = {name for name, _ in cells(stage)}
    assert "d10" not in found and len(found) > 20


def weights_of(p: list[float]) -> list[tuple[int, str, float]]:
    """Of document 4 of five, with the labels x, y, and z."""
    cells = sp.csr_matrix((p, ([4, 4, 4], [0, 1, 2])), shape=(5, 3))
    empty = np.empty((1, 3))
    found = Consensus(cells, np.empty(3), empty, empty, empty, iterations=1, converged=True)
    weights = _weights(found, decide(cells), np.array([2, 4]), ["x", "y", "z"])
    return [tuple(cell) for cell in weights]


def test_what_is_even_counts_next_to_nothing_but_not_nothing() -> None:
    expected = [(4, "x", LEAST_WEIGHT), (4, "y", 0.999), (4, "z", pytest.approx(0.6))]
    assert weights_of([0.5, 0.9996, 0.2]) == expected
    assert [label for _, label, _ in weights_of([0.5, 0.9998, 0.2])] == ["x", "z"]


def test_a_label_taken_although_it_is_unlikely_does_not_count_as_certain() -> None:
    """x is taken since the document needs a label; that it lacks y and z is likely."""
    assert weights_of([0.1, 0.05, 0.02]) == [
        (4, "x", LEAST_WEIGHT), (4, "y", pytest.approx(0.9)), (4, "z", pytest.approx(0.96)),
    ]  # fmt: skip


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
        ([("a", "x", 1e-9)], r"row 1: \['a', 'x', '1e-09'\]"),  # 1 - 1e-9 is 1 in float32
        ([("a", "x", 0.5), (None, "x", 0.5)], "row 2"),
        ([("a", None, 0.5)], "row 1"),
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


NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"id": ["a"], "label": ["x"]}, r"columns id \(string\), label \(string\)"),
        ({"id": ["a"], "weight": [0.5]}, r"columns id \(string\), weight \(double\)"),
        ({"label": ["x"], "weight": [0.5]}, "columns label"),
        ({"id": [1], "label": ["x"], "weight": [0.5]}, r"columns id \(int64\)"),
        ({"anything": pa.array([], pa.int64())}, r"columns anything \(int64\)"),
        ({"id": NOT_UTF8, "label": ["x"], "weight": [0.5]}, "Invalid UTF8"),
    ],
)
def test_a_table_of_other_columns_is_refused(tmp_path: Path, columns: Any, why: str) -> None:
    """Even without rows: it would pass for 'everything counts 1'."""
    pq.write_table(pa.table(columns), tmp_path / "weights.parquet")
    with pytest.raises(DataError, match=f"no table of label weights .*{why}"):
        read_label_weights(tmp_path / "weights.parquet")


def test_a_folder_is_refused_and_a_torn_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a directory"):
        read_label_weights(tmp_path)
    path = tmp_path / "weights.parquet"
    write_label_weights(path, [(f"d{k}", "x", 0.5) for k in range(1000)])
    whole = path.read_bytes()
    for length in (4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
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


def test_a_cost_is_chosen_anew_once_something_counts_less(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C is what an entry counts: with weights, another may be best. And the other way round."""
    inputs = write_inputs(tmp_path)
    for name, given, why in (
        ("none", [], ""),
        ("none again", [], "kept since"),
        ("of val and test", [("d18", "sky", 0.1), ("d29", "sea", 0.1)], "kept since"),
        ("of train", [("d00", "sea", 0.5)], "2 tried"),
        ("of train, another", [("d01", "sky", 0.4)], "kept since"),
        ("no more", [], "2 tried"),
    ):
        write_label_weights(tmp_path / "label_weights.parquet", given)
        assert why in fit(tmp_path, *inputs, costs=[0.5, 1.0]), name
        said = "what it rests on has changed (label_weights)" in capsys.readouterr().out
        assert said == (name in ("of train", "no more")), name
        made = read_choice(tmp_path / "choice.json").model_copy(update={"since": date(2026, 1, 1)})
        choices = Choices(night=date(2026, 1, 2), made={"baseline": made})
        write_choices(choices, tmp_path / "choices.json")


@pytest.mark.parametrize(("n_jobs", "block"), [(1, 64), (2, 2)])
@pytest.mark.parametrize("n_folds", [0, 3])
def test_each_svm_gets_the_weights_of_its_documents(
    n_jobs: int, block: int, n_folds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Targets are the document's number in binary: they tell what is learned from."""
    n_docs, bits = 63, np.arange(6)
    targets = (np.arange(n_docs)[:, None] >> bits) & 1
    weights = np.random.default_rng(0).integers(1, 1000, targets.shape) / 1000
    val = np.arange(n_docs) >= 42
    plan = make_plan(np.arange(n_docs) % n_folds if n_folds else np.full(n_docs, -1), val)
    found = []

    def spy(x: Any, own: np.ndarray, cost: float, *, weights: np.ndarray) -> Any:
        found.append((own, weights))
        return hyperplanes(x, own, cost, weights=weights)

    monkeypatch.setattr(linear, "BLOCK", block)
    monkeypatch.setattr(svm, "hyperplanes", spy)
    linear.fit_svm(
        [f"word{k % 7} term{k % 5} common" for k in range(n_docs)],
        sp.csr_matrix(targets.astype(np.int8)), plan, costs=[1.0, 2.0], n_jobs=n_jobs,
        doubt=sp.csr_matrix((1 - weights).astype(np.float32)),
    )  # fmt: skip
    first, others = plan.rounds[0], plan.rounds[1:]
    refit = [np.arange(n_docs)] if n_folds else []
    expected = [first[0]] * 2 + [learned for learned, _ in others] + refit
    step = -(-6 // block)
    assert len(found) == len(expected) * step
    for at, rows in enumerate(expected):
        columns = targets[rows].T.tolist()
        parts = found[at * step : (at + 1) * step]
        # Labels come by their frequency, and threads end in any order.
        own, counted = (np.hstack(part) for part in zip(*parts, strict=True))
        order = np.argsort([columns.index(column) for column in own.T.tolist()])
        own, counted = own[:, order], counted[:, order]
        np.testing.assert_array_equal(own, targets[rows])
        np.testing.assert_allclose(counted, weights[rows], rtol=1e-4)


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

    def fitted(name: str, rows: tuple[int, ...], **how: bool) -> dict[str, bytes]:
        doubted = [(f"doc-{i:04d}", "label-0", 0.05) for i in range(120) if i % 5 in rows]
        write_label_weights(path, doubted)
        return files(train_stage(name, profile, 1, **how))

    for name, rows in {"none": (), "others": (3, 4), "train": (0, 1, 2)}.items():
        found[name] = fitted(name, rows, refit=False)
    keep = [key for key in found["none"] if not key.startswith(("choice", "summary"))]
    assert any("safetensors" in key for key in keep)
    assert [key for key in keep if found["none"][key] != found["others"][key]] == []
    model = next(key for key in keep if "safetensors" in key)
    assert found["train"][model] != found["none"][model]
    if profile == "finetune":  # the refit learns from val, too
        none, val = fitted("refit", (), refit=True), fitted("val", (3,), refit=True)
        changed = {key.split("/")[0] for key in none if none[key] != val[key]}
        assert {"model", "test_scores"} <= changed and "val_scores" not in changed
