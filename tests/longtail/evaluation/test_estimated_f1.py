"""F1 without labels: by hand, and against the truth where the calibration holds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from longtail.evaluation.estimated_f1 import (
    Calibration,
    calibrate,
    estimated_f1,
    expected_counts,
)
from longtail.evaluation.metrics import Counts, apply_thresholds, compute

IDENTITY = Calibration([0.0, 1.0], [0.0, 1.0])


def drawn(n_docs: int, seed: int, power: float = 1.0):
    """Scores, and targets that are right with the probability score^power."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.3, 2.0, (n_docs, 20)).astype(np.float32)
    targets = sp.csr_matrix(rng.random(scores.shape) < scores.astype(float) ** power, dtype=np.int8)
    return scores, targets


def test_expected_counts_by_hand():
    scores = np.array([[0.9, 0.2], [0.5, 0.0]], dtype=np.float32)
    found = expected_counts(scores, apply_thresholds(scores, 0.5), IDENTITY)
    assert found.tp == pytest.approx([0.9, 0.5])
    assert found.n_pred.tolist() == [1, 1]
    assert found.n_pos == pytest.approx([1.1, 0.5])
    assert estimated_f1(found) == pytest.approx(2 * 1.4 / (2 + 1.6))


def test_nothing_predicted_and_nothing_expected_is_zero():
    assert estimated_f1(Counts(np.zeros(3), np.zeros(3), np.zeros(3))) == 0.0


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_the_estimate_is_the_truth_where_the_calibration_holds(power: float):
    """Scores that are far from probabilities, too: the calibration learns the power."""
    calibration = calibrate(*drawn(20_000, 1, power))
    scores, targets = drawn(20_000, 2, power)
    predicted = apply_thresholds(scores, 0.4)
    found = estimated_f1(expected_counts(scores, predicted, calibration))
    assert found == pytest.approx(compute("micro_f1", predicted, targets), abs=0.01)


def test_the_calibration_is_isotonic_regression_on_all_scores():
    scores, targets = drawn(2000, 3, 2.0)
    found = calibrate(scores, targets)
    own = IsotonicRegression(out_of_bounds="clip")
    own.fit(scores.ravel().astype(float), targets.toarray().ravel())
    asked = np.linspace(0, 1, 101)
    assert found(asked) == pytest.approx(own.predict(asked), abs=0.02)
    assert len(found.scores) < 400  # small enough to keep with every version


@given(st.integers(0, 10_000))
def test_probabilities_ascend_and_stay_within_zero_and_one(seed: int):
    rng = np.random.default_rng(seed)
    scores = rng.random((rng.integers(1, 5), 3)).astype(np.float32)
    targets = sp.csr_matrix(rng.random(scores.shape) < 0.5, dtype=np.int8)
    found = calibrate(scores, targets)(np.linspace(0, 1, 50))
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0 and found.max() <= 1
