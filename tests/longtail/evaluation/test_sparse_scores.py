"""Sparse scores: what is kept, what a dropped cell counts as, and results equal to dense ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from longtail.errors import DataError, ParameterError
from longtail.evaluation import score_blocks, sparse_scores
from longtail.evaluation.keeping import EVERYTHING, Keep
from longtail.evaluation.metrics import RANKING_METRICS, apply_thresholds
from longtail.evaluation.ranking import hits_at_k, mean_average_precision
from longtail.evaluation.score_blocks import column_blocks, row_blocks
from longtail.evaluation.sparse_scores import SparseScores, stacked, taken, top_scores
from longtail.thresholds import curve, tune

N_LABELS = 12


def kept(scores: np.ndarray, targets: np.ndarray, best: int, floor: float = 0.0) -> SparseScores:
    found = Keep(best, floor).scored(lambda rows: scores[rows], csr(targets))
    assert isinstance(found, SparseScores)
    return found


def csr(targets: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix(np.asarray(targets, dtype=np.int8))


def drawn(
    seed: int, n_docs: int = 30, decimals: int = 2, dtype: Any = np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and targets that they rank high; every document has a label."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n_docs, N_LABELS)) < 0.15
    targets[np.arange(n_docs), rng.integers(0, N_LABELS, n_docs)] = True
    z = 3.0 * targets - 2 + rng.normal(size=targets.shape)
    return (1 / (1 + np.exp(-z))).round(decimals).astype(dtype), targets


cases = st.builds(
    lambda seed, n_docs, decimals, dtype: drawn(seed, n_docs, decimals, dtype),
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.sampled_from([1, 2, 6]),
    st.sampled_from([np.float32, np.float64]),
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks of rows, of columns, and of kept cells in every test."""
    monkeypatch.setattr(score_blocks, "BLOCK_BYTES", 7 * N_LABELS * 8)
    monkeypatch.setattr(sparse_scores, "CELLS_AT_ONCE", 13)


def test_best_labels_above_the_floor_and_all_true_ones_are_kept() -> None:
    scores = np.array([[0.9, 0.05, 0.6, 0.6], [0.02, 0.03, 0.2, 0.01]], dtype=np.float32)
    targets = np.array([[0, 1, 0, 0], [0, 0, 0, 1]])
    found = kept(scores, targets, best=2, floor=0.1)
    # 0.6 in column 2 before that in 3; 0.03 is among the best two but below the floor
    expected = np.array([[0.9, 0.05, 0.6, np.nan], [np.nan, np.nan, 0.2, 0.01]], np.float32)
    np.testing.assert_array_equal(found.dense(np.nan), expected)
    np.testing.assert_array_equal(found.doc_limits, np.float32([0.6, 0.03]))
    np.testing.assert_array_equal(found.label_limits, np.float32([0.02, 0.03, -np.inf, 0.6]))
    bounds = [[0.9, 0.05, 0.6, 0.6], [0.02, 0.03, 0.2, 0.01]]  # here min(row, column) is exact
    np.testing.assert_array_equal(found.dense(), np.float32(bounds))
    assert found.limit == np.float32(0.6) and found.shape == (2, 4)
    np.testing.assert_array_equal(top_scores(found), np.float32([0.9, 0.2]))
    assert found.reached([0.7, 0.029, 0.0, 0.5]) == 2


def test_a_cell_is_found_where_documents_times_labels_is_beyond_int32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sparse_scores, "CELLS_AT_ONCE", 1_000_000)  # all documents in one part
    n_docs, n_labels = 30_000, 100_000
    scores = SparseScores(
        np.linspace(0.5, 1, n_docs),
        np.full(n_docs, n_labels - 1, np.int32),
        np.arange(n_docs + 1),
        np.full(n_docs, 0.1),
        np.full(n_labels, 0.2),
    )
    rows = np.array([n_docs - 1, 3], dtype=np.int32)  # as in SciPy's matrices
    assert scores.at(rows, np.array([n_labels - 1] * 2, np.int32))[0] == 1.0
    assert scores.at(rows, np.array([0, 1], np.int32)).tolist() == [0.1, 0.1]


def test_with_as_few_labels_as_are_kept_nothing_changes() -> None:
    scores, targets = drawn(0)
    for keep in (EVERYTHING, Keep(N_LABELS, 0.9)):
        assert keep.scored(lambda rows: scores[rows], csr(targets)).base is scores


def test_fewer_than_a_documents_true_labels_are_refused() -> None:
    with pytest.raises(ParameterError, match="best_labels is 2, but a document has 3 true labels"):
        kept(np.full((1, 4), 0.5), np.array([[1, 1, 1, 0]]), best=2)


def test_nan_is_refused_before_it_is_kept_or_dropped() -> None:
    scores, targets = drawn(0)
    scores[3, 4] = np.nan
    with pytest.raises(DataError, match="scores contain NaN"):
        kept(scores, targets, best=6)


def test_a_document_without_any_kept_score_has_its_top_score_as_bound() -> None:
    found = kept(np.array([[0.1, 0.2, 0.05]]), np.zeros((1, 3)), best=2, floor=0.3)
    assert len(found.values) == 0 and top_scores(found).tolist() == [0.2]
    assert apply_thresholds(found, 0.15).toarray().tolist() == [[0, 1, 0]]
    assert apply_thresholds(found, 0.25).nnz == 0


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(4, N_LABELS - 1))
def test_kept_cells_are_the_scores_and_bounds_are_never_below_dropped_ones(
    case: tuple[np.ndarray, np.ndarray], best: int
) -> None:
    scores, targets = case
    assume(targets.sum(axis=1).max() <= best)
    found = kept(scores, targets, best, floor=0.2)
    whole = found.dense(np.nan)
    there = ~np.isnan(whole)
    np.testing.assert_array_equal(whole[there], scores[there])
    assert there[targets].all()
    assert (found.dense() >= scores).all() and found.dense().dtype == scores.dtype
    order = np.argsort(-scores, axis=1, kind="stable")[:, :best]
    expected = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(expected, order, True, 1)
    np.testing.assert_array_equal(there, (expected & (scores >= scores.dtype.type(0.2))) | targets)
    np.testing.assert_array_equal(top_scores(found), scores.max(axis=1))
    rows, columns = (side.ravel() for side in np.indices(scores.shape))
    shuffled = np.random.default_rng(0).permutation(len(rows))
    at = found.at(rows[shuffled], columns[shuffled])
    np.testing.assert_array_equal(at, found.dense().ravel()[shuffled])
    read = np.concatenate([block for _, block in row_blocks(found)])
    np.testing.assert_array_equal(read, found.dense())
    for chosen, block in column_blocks(found, np.array([1, 4, 5])):
        np.testing.assert_array_equal(block, found.dense().T[chosen])


@settings(max_examples=150, deadline=None)
@given(cases, st.integers(2, N_LABELS - 1), st.sampled_from([0.0, 0.1, 0.4]))
def test_thresholds_and_predictions_equal_dense_ones_above_the_dropped_scores(
    case: tuple[np.ndarray, np.ndarray], best: int, floor: float
) -> None:
    scores, targets = case
    assume(targets.sum(axis=1).max() <= best)
    found, truth = kept(scores, targets, best, floor), csr(targets)
    for objective in ("global", "per_label"):
        dense = tune(scores, truth, objective=objective, min_support=2)
        sparse = tune(found, truth, objective=objective, min_support=2)
        # never below a dropped score, so what is predicted is exact
        own = sparse if objective == "per_label" else np.full(N_LABELS, sparse.min())
        limits = found.label_limits if objective == "per_label" else found.limit
        assert (own > limits).all()
        np.testing.assert_array_equal(apply_thresholds(found, sparse).toarray(), scores >= sparse)
        # The 200 points of the common curve that labels share are those of all scores, if they
        # are those above the dropped ones.
        same = objective == "global" or scores[targets].min() > found.limit
        if same and (dense > found.limit).all():
            np.testing.assert_array_equal(sparse, dense)
    exact = curve(scores, truth, max_points=10_000)
    above = exact["threshold"] > found.limit
    if above.any():
        for name, values in curve(found, truth, max_points=10_000).items():
            np.testing.assert_array_equal(values[-above.sum() :], exact[name][above])


@settings(max_examples=60, deadline=None)
@given(cases)
def test_complete_rows_give_the_same_as_dense_ones(case: tuple[np.ndarray, np.ndarray]) -> None:
    """`best` below the labels, but the last column is never kept nor of any weight: it is 0."""
    scores, targets = case
    wide = np.hstack([scores, np.zeros((len(scores), 1), scores.dtype)])
    truth = np.hstack([targets, np.zeros((len(scores), 1), bool)])
    found = kept(wide, truth, best=N_LABELS)
    for objective in ("global", "per_label"):
        np.testing.assert_array_equal(
            tune(found, csr(truth), objective=objective),
            tune(wide, csr(truth), objective=objective),
        )
    for name, metric in RANKING_METRICS.items():
        assert metric(found, csr(truth)) == metric(wide, csr(truth)), name


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(6, N_LABELS - 1), st.sampled_from([0.0, 0.3]))
def test_ranking_metrics_flatter_no_model(
    case: tuple[np.ndarray, np.ndarray], best: int, floor: float
) -> None:
    scores, targets = case
    assume(targets.sum(axis=1).max() <= best)
    found, truth = kept(scores, targets, best, floor), csr(targets)
    assert mean_average_precision(found, truth) <= mean_average_precision(scores, truth) + 1e-12
    assert RANKING_METRICS["coverage_error"](found, truth) >= RANKING_METRICS["coverage_error"](
        scores, truth
    )
    # What the best k hit is known where none of them is as low as what may have been dropped.
    for k in (1, 5):
        sure = np.sort(scores, axis=1)[:, -k] > found.doc_limits
        hits, every = hits_at_k(found, truth, k), hits_at_k(scores, truth, k)
        assert (hits <= every).all()
        np.testing.assert_array_equal(hits[sure], every[sure])


@settings(max_examples=100, deadline=None)
@given(cases, st.integers(4, N_LABELS - 1), st.sampled_from([0.0, 0.3]), st.integers(0, 1000))
def test_predictions_flatter_no_model(
    case: tuple[np.ndarray, np.ndarray], best: int, floor: float, seed: int
) -> None:
    """Such as those of test at thresholds tuned elsewhere, which dropped scores may reach."""
    scores, targets = case
    assume(targets.sum(axis=1).max() <= best)
    found = kept(scores, targets, best, floor)
    limits = np.random.default_rng(seed).choice(np.linspace(0, 1, 21), N_LABELS)
    predicted, truth = apply_thresholds(found, limits).toarray(), scores >= limits
    np.testing.assert_array_equal(predicted, found.dense() >= limits)
    np.testing.assert_array_equal(predicted[targets], truth[targets])
    assert (predicted >= truth).all()
    exact = found.label_limits < limits
    np.testing.assert_array_equal(predicted[:, exact], truth[:, exact])


def test_where_no_positive_is_above_the_dropped_scores_nothing_is_predicted() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.1], [0.9, 0.8, 0.7, 0.1]], dtype=np.float32)
    found, truth = kept(scores, np.array([[0, 0, 0, 1]] * 2), best=2), csr([[0, 0, 0, 1]] * 2)
    assert found.limit == np.float32(0.7)
    for objective in ("global", "per_label"):
        limits = tune(found, truth, objective=objective)
        assert not apply_thresholds(found, limits)[:, 3].nnz or objective == "per_label"
        assert (apply_thresholds(found, limits).toarray() == (scores >= limits)).all()


def test_documents_are_stacked_and_taken_in_any_order() -> None:
    scores, targets = drawn(3)
    whole = kept(scores, targets, best=7, floor=0.1)
    halves = [
        kept(scores[part], targets[part], best=7, floor=0.1) for part in (slice(11), slice(11, 30))
    ]
    joined = stacked(halves)
    assert isinstance(joined, SparseScores)
    np.testing.assert_array_equal(joined.dense(np.nan), whole.dense(np.nan))
    np.testing.assert_array_equal(joined.label_limits, whole.label_limits)
    rows = np.random.default_rng(0).permutation(30)[:20]
    some = taken(joined, rows)
    assert isinstance(some, SparseScores)
    np.testing.assert_array_equal(some.dense(np.nan), whole.dense(np.nan)[rows])
    np.testing.assert_array_equal(some.doc_limits, whole.doc_limits[rows])
    np.testing.assert_array_equal(taken(scores, rows), scores[rows])
