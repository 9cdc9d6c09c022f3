"""The counted parts of the report: confusions, calibration, curves, co-occurrence, worst errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from longtail.errors import DataError
from longtail.report import sections
from longtail.report.confusion import confusion_pairs
from longtail.report.evidence import Evidence, Scored
from longtail.report.score_histogram import (
    N_BINS,
    calibration,
    precision_recall,
    score_histogram,
)
from longtail.report.worst import worst_errors


def csr(rows: list[list[int]]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, dtype=np.int8))


def evidence(scores: np.ndarray, targets: sp.csr_matrix, freq: list[int]) -> Evidence:
    n_docs, n_labels = scores.shape
    ids = [f"d{i}" for i in range(n_docs)]
    frame = pd.DataFrame({"id": ids, "text": "", "labels": [[]] * n_docs})
    counts = np.array(freq)
    model = Scored("model", "DB", scores, np.full(n_labels, 0.5))
    return Evidence(
        [f"l{i}" for i in range(n_labels)], counts, counts, counts, 35, 8, targets, frame, frame,
        [model],
    )  # fmt: skip


def test_lift_of_confused_pairs_by_hand():
    missed = csr([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]])
    wrong = csr([[0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]])
    (pair,) = confusion_pairs(missed, wrong, limit=10)
    # l0 was missed 3 times, l1 wrongly predicted 3 times, both in documents 0 and 1 of 5.
    assert (pair["missed"], pair["predicted"], pair["n_docs"]) == (0, 1, 2)
    assert pair["lift"] == pytest.approx(5 * 2 / (3 * 3))
    assert pair["documents"] == [0, 1]


def test_pairs_are_ranked_by_lift_not_by_count():
    missed = csr([[1, 0]] * 6 + [[0, 1]] * 2 + [[1, 0]] * 2)
    wrong = csr([[0, 1]] * 6 + [[1, 0]] * 2 + [[0, 0]] * 2)
    pairs = confusion_pairs(missed, wrong, limit=10)
    assert [(p["missed"], p["predicted"]) for p in pairs] == [(1, 0), (0, 1)]
    assert [p["n_docs"] for p in pairs] == [2, 6]
    assert [p["lift"] for p in pairs] == pytest.approx([10 * 2 / (2 * 2), 10 * 6 / (8 * 6)])
    assert len(confusion_pairs(missed, wrong, limit=1)) == 1


def test_calibration_error_by_hand():
    total, positives, mass = np.zeros((3, N_BINS))
    total[[120, 180, 950]] = 2, 2, 1  # two bins of ten: [0.1, 0.2) with 4 scores, [0.9, 1] with 1
    positives[[180, 950]] = 1, 1
    mass[[120, 180, 950]] = 0.24, 0.36, 0.95
    found = calibration(total, positives, mass, 10)
    assert [b["n"] for b in found["bins"]] == [4, 1]
    assert found["bins"][0]["mean_score"] == pytest.approx(0.15)
    assert found["bins"][0]["share_positive"] == pytest.approx(0.25)
    assert found["ece"] == pytest.approx((4 * 0.10 + 1 * 0.05) / 5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_histogram_agrees_with_a_naive_one_and_a_calibrated_score_has_no_error(seed):
    rng = np.random.default_rng(seed)
    scores = rng.random((40, 6)).astype(np.float32)
    targets = sp.csr_matrix((rng.random((40, 6)) < scores).astype(np.int8))
    groups = np.array(["HEAD", "TAIL", "HEAD", "MEDIUM", "TAIL", "TAIL"])
    found = score_histogram(scores, targets, groups, ("HEAD", "MEDIUM", "TAIL"))
    assert found.total.sum() == scores.size
    assert found.positives.sum() == targets.nnz
    assert found.score_sum.sum() == pytest.approx(scores.sum(dtype=np.float64), rel=1e-6)
    tail = groups == "TAIL"
    half = scores[:, tail] >= 0.5
    assert found.total[2, N_BINS // 2 :].sum() == half.sum()
    assert found.positives[2, N_BINS // 2 :].sum() == targets.toarray()[:, tail][half].sum()


def test_precision_recall_agrees_with_scikit_learn_on_the_grid():
    rng = np.random.default_rng(3)
    scores = np.round(rng.random((60, 5)), 3) - 1e-4  # inside a bin each
    scores = np.clip(scores, 0.0, 1.0).astype(np.float64)
    targets = sp.csr_matrix((rng.random((60, 5)) < scores**2).astype(np.int8))
    counted = score_histogram(scores, targets, np.full(5, "HEAD"), ("HEAD",))
    curve = precision_recall(counted.total[0], counted.positives[0])
    precision, recall, thresholds = precision_recall_curve(
        targets.toarray().ravel(), np.floor(scores * N_BINS).ravel() / N_BINS
    )
    known = {round(t, 3): (p, r) for p, r, t in zip(precision, recall, thresholds, strict=False)}
    assert len(curve["threshold"]) > 20
    for t, p, r in zip(*(curve[k] for k in ("threshold", "precision", "recall")), strict=True):
        assert (p, r) == pytest.approx(known[round(t, 3)], abs=1e-4)
    assert curve["recall"][-1] == 1.0


def test_curve_of_a_slice_without_positives_is_empty():
    assert precision_recall(np.ones(N_BINS), np.zeros(N_BINS))["recall"] == []


def test_nan_scores_are_refused_by_name():
    scores = np.full((2, 2), 0.4)
    scores[1, 0] = np.nan
    with pytest.raises(DataError, match=r"'model'.*NaN"):
        _ = evidence(scores, csr([[1, 0], [0, 1]]), [50, 5]).model.predicted


def test_worst_errors_take_turns_and_each_label_once_per_kind():
    targets = csr([[1, 0, 1], [1, 0, 0], [0, 0, 0]])
    scores = np.array([[0.01, 0.9, 0.4], [0.2, 0.6, 0.3], [0.7, 0.99, 0.1]])
    rows = worst_errors(evidence(scores, targets, [50, 5, 5]), limit=10)
    found = {(r["group"], r["kind"], r["document"], r["label"]) for r in rows}
    assert found == {
        ("HEAD", "missed", 0, 0),  # 0.01 is further from 0.5 than 0.2, which is not listed again
        ("HEAD", "wrongly predicted", 2, 0),
        ("TAIL", "missed", 0, 2),
        ("TAIL", "wrongly predicted", 2, 1),
    }
    assert rows[0]["margin"] == pytest.approx(np.log(99))
    assert [r["group"] for r in worst_errors(evidence(scores, targets, [50, 5, 5]), limit=2)] == [
        "HEAD", "HEAD",
    ]  # fmt: skip


def test_cooccurrence_is_conditioned_on_the_column():
    pairs = sp.csr_matrix(np.array([[40, 10, 0], [10, 20, 0], [0, 0, 5]]))
    found = sections.cooccurrence(["a", "b", "c"], [40, 20, 5], pairs)
    assert found["labels"] == ["a", "b", "c"]
    assert found["percent"] == [[100, 50, 0], [25, 100, 0], [0, 0, 100]]
    assert found["pairs"][0] == {"i": "a", "j": "b", "n": 10, "p": 0.5}


def test_supports_that_do_not_add_up_are_caught():
    rows = [
        {"kind": "all", "of": "labels", "overlay": False, "support": 5, "n_labels": 2, "n_docs": 3},
        {"kind": "zero", "of": "labels", "overlay": True, "support": 1, "n_labels": 1, "n_docs": 3},
    ]
    sections.check_sums(rows, n_labels=2, n_docs=3, support=5)
    with pytest.raises(AssertionError, match="supports add up to 5, not 6"):
        sections.check_sums(rows, n_labels=2, n_docs=3, support=6)
    rows[1]["overlay"] = False
    with pytest.raises(AssertionError, match="slices by zero"):
        sections.check_sums(rows, n_labels=2, n_docs=3, support=5)
