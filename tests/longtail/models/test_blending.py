"""Blending by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp

from longtail.errors import DataError
from longtail.evaluation import sparse_scores
from longtail.evaluation.keeping import Keep
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


def sparse_pair(seed, best):
    """Scores of two models and their targets, with what each keeps of its own."""
    rng = np.random.default_rng(seed)
    targets = sp.csr_matrix((rng.random((40, 9)) < 0.2).astype(np.int8))
    sides = []
    for noise in (1.0, 1.5):
        z = 3 * targets.toarray() - 2 + noise * rng.normal(size=targets.shape)
        sides.append((1 / (1 + np.exp(-z))).astype(np.float32))
    sides[0][:, 8] = sides[1][:, 8] = 0  # dropped by both if eight are kept
    targets = sp.csr_matrix(targets.multiply(np.arange(9) < 8), dtype=np.int8)
    keep = Keep(best, 0.0)
    return sides, [keep.scored(lambda rows, s=s: s[rows], targets) for s in sides], targets


@pytest.mark.parametrize("seed", range(3))
def test_blends_of_complete_rows_are_those_of_dense_ones_to_the_last_bit(seed, monkeypatch):
    monkeypatch.setattr(sparse_scores, "CELLS_AT_ONCE", 20)
    dense, sparse, targets = sparse_pair(seed, best=8)
    for weight in (0.0, 0.3, 0.9):
        found, expected = blend(*sparse, weight), blend(*dense, weight)
        kept = ~np.isnan(found.dense(np.nan))
        assert kept[:, :8].all() and found.dtype == expected.dtype
        assert np.array_equal(found.dense()[:, :8], expected[:, :8])
    for tuning in ({"objective": "global"}, {"objective": "per_label"}):
        assert best_weight(*sparse, targets, tuning=tuning) == best_weight(
            *dense, targets, tuning=tuning
        )


def test_a_score_that_one_model_dropped_counts_as_its_bound():
    model = np.array([[0.9, 0.4, 0.2]], dtype=np.float32)
    baseline = np.array([[0.1, 0.3, 0.8]], dtype=np.float32)
    nothing = sp.csr_matrix((1, 3), dtype=np.int8)
    kept = [Keep(1, 0.0).scored(lambda rows, s=s: s[rows], nothing) for s in (model, baseline)]
    found = blend(*kept, 0.5)
    # kept are 0.9 and 0.8; of the others the model is at most 0.4, 0.2 and the baseline 0.1, 0.3
    expected = blend(np.float32([[0.9, 0.2]]), np.float32([[0.1, 0.8]]), 0.5)
    assert np.array_equal(found.dense(np.nan)[:, [0, 2]], expected)
    assert found.doc_limits == blend(np.float32([[0.4]]), np.float32([[0.3]]), 0.5)[0]
    assert found.label_limits[1] == found.doc_limits[0] and found.label_limits[0] == -np.inf


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weight", [0.2, 0.7])
def test_a_sparse_blend_is_never_below_the_dense_one(seed, weight):
    dense, sparse, targets = sparse_pair(seed, best=7)
    found, exact = blend(*sparse, weight), blend(*dense, weight)
    assert (found.dense() >= exact - 1e-7).all()
    held = targets.toarray() > 0
    assert np.array_equal(found.dense()[held], exact[held])


def test_dense_and_sparse_scores_are_not_blended():
    dense, sparse, _ = sparse_pair(0, best=7)
    with pytest.raises(DataError, match="only one is sparse"):
        blend(dense[0], sparse[1], 0.5)
