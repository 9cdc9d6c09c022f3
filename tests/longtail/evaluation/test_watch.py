"""The interval at any time: by the formula solved for f, and by simulation with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import binom, norm

from longtail.errors import ParameterError
from longtail.evaluation.metrics import Counts
from longtail.evaluation.watch import MIN_UNITS, anytime_f1, fall, half_width, log_e_values

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
    width = half_width(300, ALPHA)

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
    assert half_width(t, alpha) == pytest.approx(
        np.sqrt(2 * (t * rho2 + 1) / (t**2 * rho2) * inner)
    )
    widths = np.array([half_width(t, alpha) * np.sqrt(t) for t in range(50, 3000, 50)])
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


def chain(limit: float, seed: int, *, lost: float = 0.0, good: int = 0) -> tuple[int | None, bool]:
    """The first night with an alarm, and whether the interval ever left out `limit`.

    The same as `fall` and `anytime_f1` night after night; the loss begins after `good` nights.
    """
    sides = documents(NIGHTS * PER_NIGHT, seed), documents(NIGHTS * PER_NIGHT, seed, lost=lost)
    first = good * PER_NIGHT
    x = np.concatenate(
        [
            limit * (c.n_pred + c.n_pos)[part] - 2 * c.tp[part]
            for c, part in zip(sides, (slice(0, first), slice(first, None)), strict=True)
        ]
    )
    t = np.arange(PER_NIGHT, NIGHTS * PER_NIGHT + 1, PER_NIGHT)
    evidence = logsumexp(log_e_values(x, t, ALPHA), axis=1)
    enough = t >= MIN_UNITS
    nights = np.flatnonzero((evidence >= -np.log(ALPHA)) & enough)
    total, squares = np.cumsum(x)[t - 1] / t, np.cumsum(x * x)[t - 1] / t
    width = np.array([half_width(int(n), ALPHA) for n in t])
    outside = bool(((total > width * np.sqrt(squares - total**2)) & enough).any())
    return (int(nights[0]) + 1 if len(nights) else None), outside


def test_the_chain_is_the_function_night_after_night():
    counts = documents(NIGHTS * PER_NIGHT, 3, lost=0.15)
    limit = f1(documents(400_000, 98)) - 0.02
    night, _ = chain(limit, 3, lost=0.15)
    assert night is not None
    for n_docs, certain in (((night - 1) * PER_NIGHT, False), (night * PER_NIGHT, True)):
        part = Counts(*(values[:n_docs] for values in counts))
        found = fall(part, np.arange(n_docs), limit=limit, alpha=ALPHA)
        assert found.certain == certain


def test_the_first_martingale_is_the_mixture_of_a_half_normal():
    """∫ exp(λ S − λ² n / 2) 2 φ(λ / ρ) / ρ dλ over λ > 0, by quadrature; its weight is 1/2."""
    counts = documents(90, 5)
    limit = f1(documents(100_000, 99)) + 0.02
    x = limit * (counts.n_pred + counts.n_pos) - 2 * counts.tp
    s = x.sum() / x.std()
    log = -2 * np.log(2 * ALPHA)
    rho = np.sqrt((log + np.log(log + 1)) / 500)
    lam = np.linspace(0, 10 * rho, 100_001)
    values = np.exp(lam * s - lam**2 * 90 / 2) * 2 * norm.pdf(lam / rho) / rho
    expected = np.trapezoid(values, lam) / 2
    assert np.exp(log_e_values(x, np.array([90]), ALPHA)[0, 0]) == pytest.approx(expected)
    assert fall(counts, np.arange(90), limit=limit, alpha=ALPHA).e_value == pytest.approx(expected)


def test_the_weights_of_all_martingales_stay_below_one():
    logs = log_e_values(np.zeros(1_000_000), np.array([1, 1_000_000]), ALPHA)
    weights = np.exp(logs[0])
    weights[0] = 0.5
    assert weights.sum() == pytest.approx(1, abs=1e-3) and weights.sum() < 1


def test_a_late_fall_is_found_and_its_documents_are_named():
    before, after = documents(10_000, 7), documents(1000, 8, lost=0.3)
    counts = Counts(*(np.concatenate(pair) for pair in zip(before, after, strict=True)))
    limit = f1(documents(100_000, 99)) - 0.02
    found = fall(counts, np.arange(11_000), limit=limit, alpha=ALPHA)
    assert found.certain
    assert 700 <= found.n_docs <= 1200
    last = Counts(*(part[-found.n_docs :] for part in counts))
    assert found.micro_f1 == pytest.approx(f1(last))
    assert anytime_f1(counts, np.arange(11_000), alpha=ALPHA).high > limit  # hidden in the mean


def test_the_order_of_units_is_that_of_their_first_documents():
    counts = documents(300, 9, lost=0.2)
    named = np.random.default_rng(0).permutation(300)
    settings = {"limit": 0.7, "alpha": ALPHA}
    assert fall(counts, named, **settings) == fall(counts, np.arange(300), **settings)
    twice = Counts(*(np.repeat(part, 2) for part in counts))
    grouped = fall(twice, np.repeat(named, 2), **settings)
    assert grouped.e_value == pytest.approx(fall(counts, named, **settings).e_value)


def test_no_fall_is_certain_before_enough_units_or_without_any_variance():
    few = MIN_UNITS - 1
    assert fall(documents(few, 2), np.arange(few), limit=1.0, alpha=ALPHA).e_value == 1.0
    ones = np.ones(100)
    right = fall(Counts(ones, ones, ones), np.arange(100), limit=0.9, alpha=ALPHA)
    assert not right.certain and right.micro_f1 == 1.0
    wrong = fall(Counts(0 * ones, ones, ones), np.arange(100), limit=0.9, alpha=ALPHA)
    assert wrong.certain and np.isfinite(wrong.e_value)


def test_false_alarms_in_500_nights_are_bounded_at_the_limit_itself():
    """The truth is the limit; 200 chains here, 1,000 in docs/benchmarks/watch.md."""
    truth = f1(documents(2_000_000, 99))
    found = [chain(truth, seed) for seed in range(200)]
    for hits in (sum(night is not None for night, _ in found), sum(out for _, out in found)):
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
    for good in (0, 100):
        nights = [chain(before - 0.02, seed, lost=lost, good=good)[0] for seed in range(40)]
        assert None not in nights
        assert np.median(nights) - good < (60 if good == 0 else 120)
