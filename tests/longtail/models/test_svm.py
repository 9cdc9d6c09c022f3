"""The solver of many SVMs at once: hand-computed, at the minimum, and against LIBLINEAR."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from longtail.models import svm
from longtail.models.svm import hyperplanes

COSTS = (0.01, 0.25, 1.0, 4.0)


def long_tail(n_docs: int, n_labels: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """Rows of length 1 with frequent and rare terms, and labels from half of them down to one."""
    rng = np.random.default_rng(0)
    x = sp.random_array((n_docs, 300), density=0.05, rng=rng, format="csr")
    x.data *= 1 / (1 + x.indices % 30)
    x = sp.csr_matrix(x / np.maximum(sp.linalg.norm(x, axis=1), 1e-9)[:, None], dtype=np.float32)
    freq = np.geomspace(n_docs / 2, 1, n_labels).astype(int)
    targets = np.zeros((n_docs, n_labels), np.int8)
    for label, positives in enumerate(freq):
        first = np.asarray(x[:, label].todense()).ravel().argsort()
        targets[first[-positives:], label] = 1
    return x, targets


def error_bound(x, targets, cost: float, coef, intercept) -> np.ndarray:
    """The length of the objective's gradient per label.

    The objective curves by 1 or more in every direction, so the minimum is no further away.
    """
    signs = 2.0 * targets - 1
    slack = np.maximum(0, 1 - signs * (x @ coef + intercept))
    over_coef = coef - 2 * cost * (x.T @ (signs * slack))
    over_intercept = intercept - 2 * cost * (signs * slack).sum(axis=0)
    return np.sqrt((over_coef**2).sum(axis=0) + over_intercept**2)


def test_one_document_by_hand():
    """α = 1 / (|x|² + 1 + 1 / (2C)) = 1 / (9 + 1 + 1), w = ±αx, b = ±α."""
    x, targets = sp.csr_matrix([[3.0]]), np.array([[1, 0]], np.int8)
    coef, intercept = hyperplanes(x, targets, 0.5, 1e-12)
    np.testing.assert_allclose(coef, [[3 / 11, -3 / 11]])
    np.testing.assert_allclose(intercept, [1 / 11, -1 / 11])


def test_weights_by_hand():
    """As above, with C of 1/8 and of 2: 1 / (2C) is 4 and 1/4."""
    x, targets = sp.csr_matrix([[3.0]]), np.array([[1, 0]], np.int8)
    coef, intercept = hyperplanes(x, targets, 0.5, 1e-12, weights=np.array([[0.25, 4.0]]))
    np.testing.assert_allclose(coef, [[3 / 14, -3 / 10.25]])
    np.testing.assert_allclose(intercept, [1 / 14, -1 / 10.25])


def test_a_document_beyond_its_margin_counts_for_nothing_by_hand():
    """The first alone has α = 1 / (1 + 1 + 1/200); the second is then at 11 α, well above 1."""
    x, targets = sp.csr_matrix([[1.0], [10.0]]), np.array([[1], [1]], np.int8)
    coef, intercept = hyperplanes(x, targets, 100.0, 1e-12)
    np.testing.assert_allclose([coef[0, 0], intercept[0]], [1 / 2.005] * 2)


def test_documents_without_terms_that_contradict_each_other_leave_zero():
    coef, intercept = hyperplanes(sp.csr_matrix((2, 1)), np.array([[1], [0]], np.int8), 4.0, 1e-12)
    np.testing.assert_allclose([coef[0, 0], intercept[0]], [0, 0], atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    """No comparison with NaN is true, so its label would be done after one sweep."""
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        hyperplanes(sp.csr_matrix([[1.0], [value]]), np.array([[1], [0]], np.int8), 1.0)


@pytest.mark.parametrize("weight", [0.0, -0.5, np.nan])
def test_weights_that_are_not_above_zero_are_refused(weight):
    """C = 0 would make planes of NaN, which pass for done."""
    with pytest.raises(ValueError, match="weights must be above 0"):
        hyperplanes(
            sp.csr_matrix(np.eye(2)), np.array([[1], [0]]), 1.0, 1e-3, np.array([[1.0], [weight]])
        )


def test_no_labels_are_done_at_once():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coef, intercept = hyperplanes(sp.csr_matrix(np.eye(3)), np.zeros((3, 0), np.int8), 1.0)
    assert (coef.shape, intercept.shape) == ((3, 0), (0,))


def test_however_the_matrix_is_laid_out_it_is_the_same_problem():
    """By columns, with int64 indices, read-only, as an array, with entries in parts."""
    x, targets = long_tail(100, 3)
    expected, _ = hyperplanes(x, targets, 1.0)
    wide, read_only = x.copy(), x.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    read_only.data.flags.writeable = False
    for same in (x.tocsc(), wide, read_only, sp.csr_array(x)):
        np.testing.assert_array_equal(hyperplanes(same, targets, 1.0)[0], expected)
    halves = (np.repeat(x.data / 2, 2), np.repeat(x.indices, 2), x.indptr * 2)
    in_parts, _ = hyperplanes(sp.csr_matrix(halves, shape=x.shape), targets, 1.0)
    np.testing.assert_allclose(in_parts, expected, atol=1e-5)


@st.composite
def problems(draw):
    """Documents, some without a term, and labels that all, some, one, or none of them have."""
    n_docs, n_terms, n_labels = draw(st.tuples(*[st.integers(1, n) for n in (12, 6, 4)]))
    values = st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0, 2.0])
    rows = st.lists(values, min_size=n_terms, max_size=n_terms)
    x = draw(st.lists(rows, min_size=n_docs, max_size=n_docs))
    labels = st.lists(st.integers(0, 1), min_size=n_labels, max_size=n_labels)
    targets = draw(st.lists(labels, min_size=n_docs, max_size=n_docs))
    return sp.csr_matrix(np.array(x)), np.array(targets, np.int8), draw(st.sampled_from(COSTS))


# 358 sweeps to the usual tolerance, and 1,263 to 1e-10.
LONG_WAY = (
    sp.csr_matrix(
        [
            [2, 0, 0.25], [2, 2, 2], [0.5, 2, 2], [0, 0.5, 0], [2, 2, 2], [1, 0, 0.5],
            [0.5, 0.5, 0], [0.5, 0, 0.25], [0, 0.25, 2], [2, 0.5, 0.25], [0, 0.25, 0],
            [0.25, 0.25, 2],
        ]
    ),
    np.eye(12, dtype=np.int8)[:, [1, 9, 11]].sum(axis=1, keepdims=True, dtype=np.int8),
    4.0,
)  # fmt: skip


def solved_as_by_liblinear(problem, weights):
    """Coefficients and intercepts at the minimum, compared with LIBLINEAR's label by label."""
    x, targets, cost = problem
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(svm, "MOST_SWEEPS", 100_000)  # 1,000 are for the usual tolerance
        warnings.simplefilter("error", ConvergenceWarning)
        coef, intercept = hyperplanes(x, targets, cost, 1e-10, weights=weights)
    for label, y in enumerate(targets.T):
        if 0 < y.sum() < len(y):
            own = None if weights is None else weights[:, label]
            theirs = LinearSVC(C=cost, dual=False, tol=1e-9, max_iter=10_000).fit(x, y, own)
            np.testing.assert_allclose(coef[:, label], theirs.coef_[0], atol=1e-5)
            np.testing.assert_allclose(intercept[label], theirs.intercept_[0], atol=1e-5)
    return coef, intercept


@settings(max_examples=60, deadline=None)
@given(problems())
@example((sp.csr_matrix((3, 2)), np.array([[1, 0, 1]] * 3, np.int8), 4.0))
@example(LONG_WAY)
def test_every_label_is_at_the_minimum_that_liblinear_finds(problem):
    coef, intercept = solved_as_by_liblinear(problem, None)
    assert error_bound(*problem, coef, intercept).max() < 1e-7


@settings(max_examples=30, deadline=None)
@given(problems(), st.integers(0, 99))
def test_weights_are_the_sample_weights_of_liblinear_label_by_label(problem, seed):
    weights = np.random.default_rng(seed).choice([0.05, 0.3, 1.0, 2.0], problem[1].shape)
    solved_as_by_liblinear(problem, weights)


@pytest.mark.parametrize("cost", COSTS)
def test_weights_of_one_change_no_bit(cost):
    x, targets = long_tail(300, 20)
    found = hyperplanes(x, targets, cost)
    for ours, same in zip(found, hyperplanes(x, targets, cost, weights=1.0 + 0 * targets),
                          strict=True):  # fmt: skip
        np.testing.assert_array_equal(ours, same)


@pytest.mark.parametrize("cost", COSTS)
def test_float32_and_the_usual_tolerance_are_close_to_liblinear(cost):
    x, targets = long_tail(600, 40)
    coef, intercept = hyperplanes(x, targets, cost)
    assert coef.dtype == intercept.dtype == np.float32
    for label in (0, 20, 39):
        theirs = LinearSVC(C=cost, tol=1e-6, random_state=0, max_iter=100_000)
        theirs.fit(x.astype(np.float64), targets[:, label])
        margins = x @ coef[:, label] + intercept[label]
        np.testing.assert_allclose(margins, theirs.decision_function(x), atol=1e-3)


def test_a_label_does_not_depend_on_those_fitted_beside_it():
    x, targets = long_tail(300, 70)
    coef, intercept = hyperplanes(x, targets, 1.0)
    for columns in ([3], [69, 0], range(30, 47)):
        own, bias = hyperplanes(x, targets[:, list(columns)], 1.0)
        np.testing.assert_array_equal(own, coef[:, list(columns)])
        np.testing.assert_array_equal(bias, intercept[list(columns)])


def test_labels_that_are_not_done_are_told_and_the_others_kept(monkeypatch):
    x, targets = long_tail(300, 5)
    targets[:, 4] = 0  # done after 18 sweeps, the next one after 22
    monkeypatch.setattr(svm, "MOST_SWEEPS", 20)
    with pytest.warns(ConvergenceWarning, match=r"4 SVMs .* after 20 sweeps .* at C = 4;"):
        coef, intercept = hyperplanes(x, targets, 4.0)
    assert error_bound(x, targets, 4.0, coef, intercept)[0] > 1  # as far as it came
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own, bias = hyperplanes(x, targets[:, 4:], 4.0)
    np.testing.assert_array_equal(own[:, 0], coef[:, 4])
    np.testing.assert_array_equal(bias[0], intercept[4])
