"""The threshold rules that lost are what their papers say, so that losing means something."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, logit

from benchmarks.rules_tried import RULES, calibrated, micro_macro, per_group, plug_in
from longtail.thresholds import tune


def drawn(seed, n_docs=4000, slope=1.0, shifts=(0.0, 0.0, 0.0)):
    """Scores whose calibration is known: P(y) = σ(slope · z + shift)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-2, 2, (n_docs, len(shifts)))
    targets = rng.random(z.shape) < expit(slope * z + np.array(shifts))
    return expit(z), sp.csr_matrix(targets.astype(np.int8)), np.arange(n_docs) % 5


def test_calibration_finds_slope_and_shifts():
    scores, targets, _ = drawn(0, 20_000, slope=1.5, shifts=(0.5, -0.5, 1.0))
    slope, shifts = calibrated(scores, targets)
    assert slope == pytest.approx(1.5, abs=0.1)
    assert shifts == pytest.approx([0.5, -0.5, 1.0], abs=0.15)


def test_a_label_with_little_evidence_keeps_the_shift_of_the_others():
    scores, targets, _ = drawn(1, shifts=(1.0,) * 6)
    few = targets.tolil()
    few[np.flatnonzero(targets[:, 5].toarray().ravel())[1:], 5] = 0
    rows = scores[:20], sp.csr_matrix(few)[:20]
    _, alone = calibrated(np.vstack([scores, scores]), sp.vstack([targets, targets], "csr"))
    _, shifts = calibrated(*rows)
    assert alone == pytest.approx(np.ones(6), abs=0.2)
    assert np.ptp(shifts) < 3  # without the prior a label without a positive would go to -inf


def test_plug_in_is_half_of_the_best_f1_of_each_label():
    scores, targets, folds = drawn(2, 40_000, shifts=(1.0, -1.0, 0.0))
    found = plug_in(scores, targets, np.zeros(3), folds)
    for label, shift in enumerate((1.0, -1.0, 0.0)):
        own = tune(scores[:, [label]], targets[:, [label]])[0]
        on = scores[:, label] >= own
        truth = targets[:, [label]].toarray().ravel() == 1
        best = 2 * (on & truth).sum() / (on.sum() + truth.sum())
        assert expit(logit(found[label]) + shift) == pytest.approx(best / 2, abs=0.02)


def test_micro_macro_by_hand():
    """Two folds of a clean label: each cuts halfway, in logits, between positive and negative."""
    z = np.array([[3.0], [1.0], [5.0], [0.0]])
    targets, folds = sp.csr_matrix([[1], [0], [1], [0]]), np.array([0, 0, 1, 1])
    found = micro_macro(expit(z), targets, np.zeros(1), folds)
    assert logit(found) == pytest.approx([((3 + 1) / 2 + (5 + 0) / 2) / 2])


def test_micro_macro_leaves_a_label_of_one_fold_to_the_others():
    scores, targets, folds = drawn(3)
    lonely = targets.tolil()
    lonely[folds != 0, 2] = 0
    lonely = sp.csr_matrix(lonely)
    for rule in (micro_macro, plug_in):
        found = rule(scores, lonely, np.zeros(3), folds)
        assert found[2] == tune(scores, lonely)[0]
        assert (found[:2] != found[2]).all()


def test_each_group_has_its_own_optimum_and_one_without_a_positive_the_common_one():
    scores, targets, folds = drawn(4, shifts=(2.0, -2.0, 0.0))
    targets = targets.tolil()
    targets[:, 2] = 0
    targets = sp.csr_matrix(targets)
    found = per_group(scores, targets, np.array(["a", "b", "c"]), folds)
    assert found[0] == tune(scores[:, [0]], targets[:, [0]])[0]
    assert found[1] == tune(scores[:, [1]], targets[:, [1]])[0]
    assert found[2] == tune(scores, targets)[0]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_each_label_a_finite_threshold(rule):
    scores, targets, folds = drawn(5, 300)
    found = RULES[rule](scores.astype(np.float32), targets, np.array(["a", "a", "b"]), folds)
    assert found.shape == (3,)
    assert ((found > 0) & (found < 1)).all()
