"""Blending by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp

from longtail.evaluation.selection import validation_f1
from longtail.models.blending import WEIGHTS, best_weight, blend


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_weight_zero_is_the_identity():
    model = np.array([[0.0, 1.0, 0.3]], dtype=np.float32)
    assert np.array_equal(blend(model, np.full_like(model, 0.9), 0), model)


def test_logits_are_mixed_by_weight():
    model = np.array([[sigmoid(2.0), sigmoid(-1.0)]])
    baseline = np.array([[sigmoid(-2.0), sigmoid(3.0)]])
    found = blend(model, baseline, 0.25)
    assert found.dtype == np.float32
    assert found[0] == pytest.approx([sigmoid(1.0), sigmoid(0.0)], abs=1e-6)


def test_scores_of_zero_and_one_are_clipped():
    found = blend(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]), 0.5)
    # logit(1e-7) = −16.118…; half of it.
    assert found[0] == pytest.approx([sigmoid(-8.05905), 1 - sigmoid(-8.05905)], abs=1e-6)
    assert np.isfinite(found).all()
    same = blend(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]), 0.5)
    assert same[0] == pytest.approx([0.5, 0.5], abs=1e-4)


def test_a_score_that_float16_rounds_to_1_is_not_a_certainty():
    """float16 knows nothing between 0.9995 and 1; a baseline that is sure of 0 must outweigh it."""
    model = np.array([[0.9999, 1e-9]], dtype=np.float16)
    assert model.tolist() == [[1.0, 0.0]]
    baseline = np.array([[sigmoid(-14.0), sigmoid(14.0)]], dtype=np.float32)
    found = blend(model, baseline, 0.6)
    # ± logit(1 − 2⁻¹²), half of float16's last step below 1, instead of infinity.
    expected = sigmoid(0.4 * math.log(2**12 - 1) - 0.6 * 14)
    assert found[0] == pytest.approx([expected, 1 - expected], abs=1e-4)
    assert found[0, 0] < 0.01


def test_weights_are_steps_of_a_twentieth_below_one():
    assert tuple(round(0.05 * i, 2) for i in range(19)) == WEIGHTS


def test_a_perfect_model_needs_no_baseline():
    targets = sp.csr_matrix(np.eye(3, dtype=np.int8))
    model = np.where(np.eye(3) == 1, 0.9, 0.1)
    assert best_weight(model, model[::-1].copy(), targets) == 0.0


def test_the_smallest_weight_with_the_best_figure_wins():
    targets = sp.csr_matrix(np.array([[1, 0], [0, 1]], dtype=np.int8))
    model = np.array([[sigmoid(0.0), sigmoid(1.0)], [sigmoid(-1.0), sigmoid(0.0)]])
    baseline = np.array([[sigmoid(2.0), sigmoid(-2.0)], [sigmoid(-2.0), sigmoid(2.0)]])
    # Row 0: 2w against (1 − w) − 2w; the positive is ahead from w > 0.2 on.
    assert best_weight(model, baseline, targets) == 0.25
    assert validation_f1(blend(model, baseline, 0.25), targets)["mean_f1"] == 1.0
    assert validation_f1(blend(model, baseline, 0.15), targets)["mean_f1"] < 1.0
