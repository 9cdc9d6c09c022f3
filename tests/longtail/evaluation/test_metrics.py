"""Metrics against scikit-learn and by hand; ranking metrics; thresholds applied in blocks."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from longtail.errors import DataError, ParameterError
from longtail.evaluation import metrics, ranking, score_blocks
from longtail.evaluation.metrics import (
    METRICS,
    RANKING_METRICS,
    SET_METRICS,
    apply_thresholds,
    per_label,
)

shapes = st.tuples(st.integers(1, 12), st.integers(2, 6))
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))

RATIOS = {"f1": sk.f1_score, "precision": sk.precision_score, "recall": sk.recall_score}


def random_scores(seed, n_docs=40, n_labels=9, dtype=np.float32):
    rng = np.random.default_rng(seed)
    targets = rng.random((n_docs, n_labels)) < 0.25
    return rng.permutation(n_docs * n_labels).reshape(n_docs, n_labels).astype(dtype), targets


@pytest.mark.parametrize("average", ["micro", "macro", "samples"])
@pytest.mark.parametrize("ratio", RATIOS)
@settings(max_examples=40, deadline=None)
@given(pairs)
def test_equals_scikit_learn(average, ratio, pair):
    predicted, targets = pair
    expected = RATIOS[ratio](targets, predicted, average=average, zero_division=0)
    found = METRICS[f"{average}_{ratio}"](sp.csr_matrix(predicted), targets)
    assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_hamming_equals_scikit_learn(pair):
    predicted, targets = pair
    assert metrics.hamming_loss(*pair) == pytest.approx(sk.hamming_loss(targets, predicted))


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_per_label_equals_scikit_learn(pair):
    predicted, targets = pair
    table = per_label(predicted, targets)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        targets, predicted, average=None, zero_division=0
    )
    assert table["precision"] == pytest.approx(precision)
    assert table["recall"] == pytest.approx(recall)
    assert table["f1"] == pytest.approx(f1)
    assert (table["support"] == support).all()
    cells = sk.multilabel_confusion_matrix(targets, predicted)
    for name, (row, column) in {"tp": (1, 1), "fp": (0, 1), "fn": (1, 0)}.items():
        assert (table[name] == cells[:, row, column]).all()
    assert metrics.labels_with_f1(predicted, targets) == np.count_nonzero(f1)


def test_hand_computed_macro_and_the_absent_label():
    predicted = np.array([[1, 0, 0], [1, 1, 0]])
    targets = np.array([[1, 0, 0], [0, 1, 0]])
    # label F1: 2/3, 1, and a label that is neither there nor predicted
    assert metrics.macro_f1(predicted, targets) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics.macro_f1(predicted, targets, absent="skip") == pytest.approx((2 / 3 + 1) / 2)
    # the F1 of macro precision (1/2 + 1) / 3 and recall (1 + 1) / 3 would be 4/7
    assert metrics.macro_precision(predicted, targets) == pytest.approx(0.5)
    assert metrics.micro_f1(predicted, targets) == pytest.approx(4 / 5)
    assert metrics.samples_f1(predicted, targets) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.hamming_loss(predicted, targets) == pytest.approx(1 / 6)
    assert metrics.labels_with_f1(predicted, targets, absent="skip") == 2
    with pytest.raises(ParameterError, match="Did you mean 'skip'"):
        metrics.macro_f1(predicted, targets, absent="skp")


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_macro_skip_equals_scikit_learn_with_nan(pair):
    predicted, targets = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sk.f1_score(targets, predicted, average="macro", zero_division=np.nan)
    found = metrics.macro_f1(predicted, targets, absent="skip")
    assert found == pytest.approx(np.nan_to_num(expected), abs=1e-12)


@pytest.mark.parametrize("name", SET_METRICS)
@settings(max_examples=30, deadline=None)
@given(pairs, st.integers(0, 100))
def test_set_metrics_ignore_order_and_format(name, pair, seed):
    predicted, targets = pair
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(targets)), rng.permutation(targets.shape[1])
    shuffled = METRICS[name](predicted[rows][:, columns], targets[rows][:, columns])
    cells = sp.coo_matrix(predicted.astype(float))
    with_stored_zero = sp.coo_matrix(
        (np.append(cells.data, 0.0), (np.append(cells.row, 0), np.append(cells.col, 0))),
        shape=predicted.shape,
    )
    assert shuffled == pytest.approx(METRICS[name](predicted, targets), abs=1e-12)
    assert METRICS[name](with_stored_zero, targets) == METRICS[name](predicted, targets)


@pytest.mark.parametrize("name", SET_METRICS)
def test_perfect_and_empty_predictions(name):
    targets = np.eye(4, dtype=bool)
    perfect, empty = METRICS[name](targets, targets), METRICS[name](np.zeros((4, 4)), targets)
    expected = {"hamming_loss": (0.0, 0.25), "labels_with_f1": (4.0, 0.0)}.get(name, (1.0, 0.0))
    assert (perfect, empty) == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ranking_metrics_equal_scikit_learn(dtype):
    for seed in range(5):
        scores, targets = random_scores(seed, dtype=dtype)
        assert METRICS["coverage_error"](scores, targets) == pytest.approx(
            sk.coverage_error(targets, scores)
        )
        assert METRICS["mean_average_precision"](scores, targets) == pytest.approx(
            np.mean(
                [
                    sk.average_precision_score(targets[:, i], scores[:, i])
                    for i in range(9)
                    if targets[:, i].any()
                ]
            )
        )
        for k in (3, 5):
            assert METRICS[f"ndcg_at_{k}"](scores, targets) == pytest.approx(
                sk.ndcg_score(targets, scores, k=k)
            )


@settings(max_examples=60, deadline=None)
@given(
    shapes.flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
            hnp.arrays(bool, shape),
        )
    )
)
def test_ranking_metrics_with_ties(case):
    scores, targets = case
    assert ranking.coverage_error(scores, targets) == pytest.approx(
        sk.coverage_error(targets, scores)
    )
    held = targets.any(axis=0)
    expected = [
        sk.average_precision_score(targets[:, i], scores[:, i]) for i in np.flatnonzero(held)
    ]
    assert ranking.mean_average_precision(scores, targets) == pytest.approx(
        np.mean(expected) if expected else 0.0
    )
    best = np.argsort(-scores, axis=1, kind="stable")
    for k in (1, 3):
        assert (ranking.top_k(scores, k) == best[:, :k]).all()


def test_hand_computed_ranking():
    scores = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.4], [0.5, 0.6, 0.7]])
    targets = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0]])
    assert METRICS["precision_at_1"](scores, targets) == pytest.approx(1 / 3)
    assert METRICS["precision_at_3"](scores, targets) == pytest.approx((2 + 1 + 0) / 9)
    assert METRICS["precision_at_5"](scores, targets) == pytest.approx((2 + 1 + 0) / 15)
    first = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert METRICS["ndcg_at_3"](scores, targets) == pytest.approx((first + 0.5 + 0) / 3)
    assert METRICS["coverage_error"](scores, targets) == pytest.approx((3 + 3 + 0) / 3)
    assert list(ranking.hits_at_k(scores, targets, 2)) == [1, 0, 0]
    with pytest.raises(ParameterError, match="k must be at least 1"):
        ranking.precision_at_k(scores, targets, 0)


@pytest.mark.parametrize("name", RANKING_METRICS)
def test_ranking_metrics_in_blocks(name, monkeypatch):
    scores, targets = random_scores(0)
    whole = METRICS[name](scores, targets)
    monkeypatch.setattr(score_blocks, "BLOCK_BYTES", 3 * 9 * 8)
    assert METRICS[name](scores, sp.csr_matrix(targets)) == pytest.approx(whole, abs=1e-12)
    scores[7, 2], targets[:, 2] = np.nan, True
    with pytest.raises(DataError, match="NaN"):
        METRICS[name](scores, targets)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_thresholds_are_applied_in_blocks_of_a_memory_map(tmp_path, monkeypatch, dtype):
    scores, _ = random_scores(1, dtype=dtype)
    thresholds = np.random.default_rng(0).choice(scores.ravel(), 9).astype(float)
    np.save(tmp_path / "scores.npy", scores)
    stored = np.load(tmp_path / "scores.npy", mmap_mode="r")
    monkeypatch.setattr(score_blocks, "BLOCK_BYTES", 7 * 9 * 8)
    found = apply_thresholds(stored, thresholds)
    assert found.format == "csr" and found.dtype == np.int8
    assert (found.toarray() == (scores >= thresholds)).all()
    assert (apply_thresholds(stored, 100.0).toarray() == (scores >= 100)).all()


def test_broken_input_is_rejected():
    scores, targets = random_scores(0)
    with pytest.raises(DataError, match=r"predicted has shape \(40, 8\), expected \(40, 9\)"):
        metrics.micro_f1(targets[:, 1:], targets)
    with pytest.raises(DataError, match="targets must hold only 0 and 1, got 0.5"):
        metrics.micro_f1(targets, targets * 0.5)
    with pytest.raises(DataError, match="1 dimensions"):
        metrics.micro_f1(targets[0], targets[0])
    with pytest.raises(ParameterError, match="Did you mean 'micro_f1'"):
        metrics.compute("micro_f2", targets, targets)
    with pytest.raises(ParameterError, match=r"shape \(8,\), expected \(9,\)"):
        apply_thresholds(scores, np.zeros(8))
    with pytest.raises(ParameterError, match="thresholds contain NaN"):
        apply_thresholds(scores, np.nan)
    scores[3, 3] = np.nan
    with pytest.raises(DataError, match="scores contain NaN"):
        apply_thresholds(scores, 0.5)
