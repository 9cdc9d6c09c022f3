"""The smoothed rates of rare labels: hand-computed, and the moments of what is drawn from them."""

import numpy as np
import pytest

from longtail.evaluation.metrics import Counts
from longtail.evaluation.rare_labels import RareLabels


def labels(tp, n_pred, n_pos):
    return Counts(*(np.array(part) for part in (tp, n_pred, n_pos)))


def test_rates_are_shrunk_toward_labels_that_are_about_as_rare():
    """Positives 1, 2 (1 of 3 found, 2 false) and 10, 15 (20 of 25, 5 false); strength 2."""
    found = labels([0, 1, 9, 11, 30], [0, 3, 11, 14, 40], [1, 2, 10, 15, 50])
    rare = RareLabels(found, units=np.array([1, 2, 10, 15, 50]))
    assert rare.rows.tolist() == [0, 1, 2, 3]
    assert rare.recall == pytest.approx([2 / 9, 5 / 12, 10.6 / 12, 12.6 / 17])
    # Mean 7, variance 33.5: the gamma prior has the rate 7 / (33.5 - 7).
    rate = 7 / 26.5
    means = [(n + 7 * rate) / (1 + rate) for n in (1, 2, 10, 15)]
    assert rare.positives == pytest.approx(means)
    per_positive = [4 / 9, 10 / 12, 2.4 / 12, 3.4 / 17]
    assert rare.false_positives == pytest.approx(np.multiply(per_positive, means))


def test_counts_that_vary_like_chance_get_their_mean():
    rare = RareLabels(labels([1, 1], [1, 1], [1, 2]), units=np.array([1, 2]))
    assert rare.positives.tolist() == [1.5, 1.5]


def test_copies_are_one_positive_that_counts_often():
    """Ten copies of one document: a draw has 0, 10, 20 … positives."""
    rare = RareLabels(labels([10, 3], [10, 3], [10, 6]), units=np.array([1, 6]))
    blank = Counts(*(np.zeros((2, 500)) for _ in range(3)))
    drawn = rare.sampler(0)(blank)
    assert set(drawn.n_pos[0] % 10) == {0.0}
    assert drawn.n_pos[0].max() > 10


def test_frequent_labels_keep_their_counts_and_draws_have_the_rates():
    found = labels([2, 30], [3, 40], [4, 50])
    rare = RareLabels(found, units=np.array([4, 50]))
    own = Counts(*(np.full((2, 20_000), value) for value in (7.0, 8.0, 9.0)))
    drawn = rare.sampler(1)(own)
    assert (drawn.tp[1] == 7).all() and (drawn.n_pred[1] == 8).all()
    assert drawn.n_pos[0].mean() == pytest.approx(rare.positives[0], abs=0.05)
    assert drawn.tp[0].sum() / drawn.n_pos[0].sum() == pytest.approx(rare.recall[0], abs=0.01)
    false = (drawn.n_pred[0] - drawn.tp[0]).mean()
    assert false == pytest.approx(rare.false_positives[0], abs=0.03)


def test_blocks_do_not_change_the_draws():
    rare = RareLabels(labels([1, 2], [1, 3], [2, 4]), units=np.array([2, 4]))
    whole = rare.sampler(3)(Counts(*(np.zeros((2, 10)) for _ in range(3))))
    sampler = rare.sampler(3)
    parts = [sampler(Counts(*(np.zeros((2, width)) for _ in range(3)))) for width in (4, 6)]
    for i in range(3):
        assert (np.hstack([part[i] for part in parts]) == whole[i]).all()
