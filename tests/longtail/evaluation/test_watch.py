"""The interval at any time: by the formula solved for f, and by simulation with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from longtail.errors import ParameterError
from longtail.evaluation.metrics import Counts
from longtail.evaluation.watch import MIN_UNITS, _half_width, anytime_f1

ALPHA = 0.05
NIGHTS, PER_NIGHT = 500, 20


def documents(n_docs: int, seed: int, *, lost: float = 0.0) -> Counts:
    """Counts of documents with about three labels and three predictions, about two right.

    A share `lost` of the true positives is not predicted.
    """
    rng = np.random.default_rng(seed)
    n_pos = 1 + rng.poisson(2, n_docs)
    tp = rng.binomial(n_pos, rng.beta(2, 1, n_docs))
    n_pred = tp + rng.poisson(1, n_docs)
    kept = rng.binomial(tp, 1 - lost)
    return Counts(kept, n_pred - (tp - kept), n_pos)


def f1(counts: Counts) -> float:
    return 2 * counts.tp.sum() / (counts.n_pred.sum() + counts.n_pos.sum())


def test_the_ends_solve_the_boundary():
    counts = documents(300, 0)
    found = anytime_f1(counts, np.arange(300), alpha=ALPHA)
    width = _half_width(300, ALPHA)

    def gap(f: float) -> float:
        x = 2 * counts.tp - f * (counts.n_pred + counts.n_pos)
        return abs(x.mean()) - width * x.std()

    assert found.micro_f1 == pytest.approx(f1(counts))
    assert found.high == pytest.approx(brentq(gap, found.micro_f1, 1))
    assert found.low == pytest.approx(brentq(gap, 0, found.micro_f1))
    assert found.low < found.micro_f1 < found.high


def test_the_boundary_is_the_published_one():
    """ρ² for t* = 500 and one side, then equation by equation."""
    alpha, t = 0.05, 200
    rho2 = (-2 * np.log(2 * alpha) + np.log(-2 * np.log(2 * alpha) + 1)) / 500
    inner = np.log(1 + np.sqrt(t * rho2 + 1) / (2 * alpha))
    assert _half_width(t, alpha) == pytest.approx(
        np.sqrt(2 * (t * rho2 + 1) / (t**2 * rho2) * inner)
    )
    widths = np.array([_half_width(t, alpha) * np.sqrt(t) for t in range(50, 3000, 50)])
    assert 250 <= 50 + 50 * widths.argmin() <= 1000  # tightest, relative to √t, near 500


def test_copies_and_groups_are_one_unit():
    counts = documents(200, 1)
    copied = Counts(*(np.repeat(part, 3) for part in counts))
    one = anytime_f1(counts, np.arange(200), alpha=ALPHA)
    grouped = anytime_f1(copied, np.repeat(np.arange(200), 3), alpha=ALPHA)
    assert (grouped.low, grouped.high) == pytest.approx((one.low, one.high))
    assert (grouped.n_docs, grouped.n_units) == (600, 200)
    assert anytime_f1(copied, np.arange(600), alpha=ALPHA).low > one.low  # what copies would fake


def test_nothing_is_judged_before_enough_units():
    few = MIN_UNITS - 1
    found = anytime_f1(documents(few, 2), np.arange(few), alpha=ALPHA)
    assert (found.low, found.high) == (0.0, 1.0)
    assert 0 < found.micro_f1 < 1
    many = anytime_f1(documents(few + 1, 2), np.arange(few + 1), alpha=ALPHA)
    assert many.low > 0 and many.high < 1


def test_extreme_champions():
    n = 100
    ones = np.ones(n)
    right = anytime_f1(Counts(ones, ones, ones), np.arange(n), alpha=ALPHA)
    assert (right.micro_f1, right.low, right.high) == (1.0, 1.0, 1.0)
    wrong = anytime_f1(Counts(0 * ones, ones, ones), np.arange(n), alpha=ALPHA)
    assert (wrong.micro_f1, wrong.low, wrong.high) == (0.0, 0.0, 0.0)
    silent = anytime_f1(Counts(0 * ones, 0 * ones, 0 * ones), np.arange(n), alpha=ALPHA)
    assert (silent.micro_f1, silent.low, silent.high) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("alpha", [0.0, 0.5, -1.0])
def test_alpha_out_of_range_is_refused(alpha: float):
    with pytest.raises(ParameterError, match="between 0 and 0.5"):
        anytime_f1(documents(60, 0), np.arange(60), alpha=alpha)


def chain(limit: float, seed: int, lost: float = 0.0) -> tuple[int | None, bool]:
    """The first night with an alarm, and whether the interval ever left out `limit` from below.

    The same as `anytime_f1` night after night, on running sums.
    """
    counts = documents(NIGHTS * PER_NIGHT, seed, lost=lost)
    x = 2 * counts.tp - limit * (counts.n_pred + counts.n_pos)
    t = np.arange(PER_NIGHT, NIGHTS * PER_NIGHT + 1, PER_NIGHT)
    total, squares = np.cumsum(x)[t - 1], np.cumsum(x * x)[t - 1]
    width = np.array([_half_width(int(n), ALPHA) for n in t])
    reach = width * np.sqrt(squares / t - (total / t) ** 2)
    enough = t >= MIN_UNITS
    nights = np.flatnonzero((total / t < -reach) & enough)
    above = bool(((total / t > reach) & enough).any())
    return (int(nights[0]) + 1 if len(nights) else None), above


def test_the_chain_is_the_function_night_after_night():
    counts = documents(NIGHTS * PER_NIGHT, 3, lost=0.15)
    limit = f1(documents(100_000, 99)) - 0.02
    night, _ = chain(limit, 3, lost=0.15)
    assert night is not None
    for n_docs, below in (((night - 1) * PER_NIGHT, False), (night * PER_NIGHT, True)):
        part = Counts(*(values[:n_docs] for values in counts))
        found = anytime_f1(part, np.arange(n_docs), alpha=ALPHA)
        assert (found.high < limit) == below


def test_false_alarms_in_500_nights_are_bounded_at_the_limit_itself():
    """The truth is the limit; 200 chains here, 1,000 in docs/benchmarks/drift.md."""
    truth = f1(documents(2_000_000, 99))
    found = [chain(truth, seed) for seed in range(200)]
    for hits in (sum(night is not None for night, _ in found), sum(above for _, above in found)):
        assert binom.sf(hits - 1, 200, ALPHA) > 0.001


def test_looking_every_night_at_an_ordinary_interval_would_alarm_falsely():
    """What the sequence is for: a 95% interval, one-sided, over 500 nights."""
    truth = f1(documents(2_000_000, 99))
    hits = 0
    for seed in range(60):
        counts = documents(NIGHTS * PER_NIGHT, seed)
        x = 2 * counts.tp - truth * (counts.n_pred + counts.n_pos)
        t = np.arange(60, NIGHTS * PER_NIGHT + 1, PER_NIGHT)
        error = np.sqrt(np.cumsum(x * x)[t - 1] / t) / np.sqrt(t)
        hits += bool((np.cumsum(x)[t - 1] / t < -1.645 * error).any())
    assert hits / 60 > 3 * ALPHA


def test_a_drop_of_five_points_is_found():
    before = f1(documents(100_000, 99))
    lost = brentq(lambda share: f1(documents(100_000, 99, lost=share)) - before + 0.05, 0, 0.5)
    nights = [chain(before - 0.02, seed, lost=lost)[0] for seed in range(40)]
    assert None not in nights
    assert np.median(nights) < 60
