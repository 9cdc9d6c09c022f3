"""PSI against hand-written loops, without drift, and with shifts of known size."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import beta, binom

from longtail.drift.psi import N_FOLDS, PSEUDO_COUNTS, Draws, shift

N_LABELS, PER_DOCUMENT = 393, 3.5
ALPHA = 0.05


def zipf(n_labels: int = N_LABELS) -> np.ndarray:
    """Label rates that fall as 1 / rank, `PER_DOCUMENT` labels per document."""
    rates = 1 / np.arange(1, n_labels + 1)
    return np.minimum(0.9, rates / rates.sum() * PER_DOCUMENT)


def tilted(rates: np.ndarray, size: float) -> np.ndarray:
    """Rates whose shares have a PSI of `size` against those of `rates`, made by random factors."""
    factors = np.random.default_rng(0).normal(size=len(rates))
    low, high = 0.0, 4.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if true_psi(rates, middle * factors) < size else (low, middle)
    return rates * np.exp(low * factors)


def true_psi(rates: np.ndarray, log_factors: np.ndarray) -> float:
    q, p = (side / side.sum() for side in (rates, rates * np.exp(log_factors)))
    return float(((p - q) * np.log(p / q)).sum())


def documents(rng: np.random.Generator, rates: np.ndarray, n_docs: int) -> sp.csr_matrix:
    return sp.csr_matrix(rng.random((n_docs, len(rates))) < np.minimum(rates, 1), dtype=np.int8)


def measured(reference, new, units=None, n_draws=199, seed=0):
    sizes = [side.shape[0] for side in (reference, new)]
    numbers = units or [np.arange(size) for size in sizes]
    draws = Draws.of(*numbers, n_draws, seed)
    return shift(sp.vstack([reference, new]), draws, ALPHA)


def at_most(hits: int, trials: int, rate: float) -> bool:
    """Whether `hits` is what a true rate of at most `rate` gives, but for one time in 1,000."""
    return binom.sf(hits - 1, trials, rate) > 0.001


def test_the_estimate_is_the_one_of_plain_loops():
    rng = np.random.default_rng(1)
    reference, new = (rng.integers(0, 3, (n, 4)) for n in (30, 23))
    draws = Draws.of(np.arange(30), np.arange(23), 199, 0)
    whole = np.concatenate([reference, new])
    values = []
    for block in draws.chosen(7):
        for units in block:
            rest = np.setdiff1d(np.arange(53), units)
            q = whole[rest].sum(0)
            prior = PSEUDO_COUNTS * 4 * whole.sum(0) / whole.sum()
            value = 0.0
            for fold in range(N_FOLDS):
                own = whole[units[fold::N_FOLDS]].sum(0)
                others = whole[units].sum(0) - own
                p_others = (others + prior) / (others + prior).sum()
                ratio = np.log(p_others / ((q + prior) / (q + prior).sum()))
                value += ((own - own.sum() * q / q.sum()) * ratio).sum()
            values.append(value / whole[units].sum())
    found = shift(sp.csr_matrix(whole), draws, ALPHA)
    assert len(values) == 200
    assert found.psi == pytest.approx(values[0] - np.mean(values[1:]))
    assert found.p == (1 + sum(v >= values[0] for v in values[1:])) / 200


def test_the_draws_begin_with_what_was_observed_and_never_split_a_unit():
    units = np.array([5, 5, 7, 7, 7, 9])
    draws = Draws.of(units, np.array([3, 3, 5]), 300, 0)
    rows = np.concatenate(list(draws.chosen(64)))
    assert rows.shape == (301, 2)
    assert set(rows[0]) == {3, 4}  # the same number on both sides is not the same unit
    assert all(len(set(row)) == 2 for row in rows)
    assert np.bincount(rows[1:].ravel(), minlength=5) == pytest.approx(120, abs=40)
    sums = draws.by_unit(sp.csr_matrix(np.arange(1, 10)[:, None]))
    assert sums.toarray().ravel().tolist() == [3, 12, 6, 15, 9]


def test_chance_is_taken_out_where_there_are_more_bins_than_counts():
    """50 documents, 393 labels: (b − 1)(1/n + 1/m) takes out 1.1 where 0.8 is expected."""
    rng = np.random.default_rng(2)
    pool = documents(rng, zipf(), 4000)
    psi = []
    for seed in range(60):
        order = rng.permutation(4000)
        psi.append(measured(pool[order[50:]], pool[order[:50]], seed=seed).psi)
    assert abs(np.mean(psi)) < 3 * np.std(psi) / np.sqrt(60)
    assert np.mean(np.array(psi) > 0) == pytest.approx(0.5, abs=0.25)


def test_a_shift_of_031_is_found_with_200_documents():
    rng = np.random.default_rng(3)
    reference = documents(rng, zipf(), 8000)
    rates = tilted(zipf(), 0.31)
    found = [measured(reference, documents(rng, rates, 200), seed=s) for s in range(40)]
    assert np.mean([one.p <= 0.01 and one.high > 0.2 for one in found]) >= 0.95


@pytest.mark.parametrize("size", [0.1, 0.31])
def test_the_estimate_is_near_the_truth_and_its_interval_covers_it(size: float):
    rng = np.random.default_rng(4)
    reference = documents(rng, zipf(50), 8000)
    rates = tilted(zipf(50), size)
    found = [measured(reference, documents(rng, rates, 1000), seed=s) for s in range(60)]
    assert np.mean([one.psi for one in found]) == pytest.approx(size, rel=0.1)
    inside = sum(one.low <= size <= one.high for one in found)
    assert beta.ppf(0.999, inside + 1, 60 - inside) > 0.9  # nominal: 1 − 2 alpha


@pytest.mark.parametrize("copies", [1, 5])
def test_false_alarms_are_bounded_even_where_documents_come_in_groups(copies: int):
    rng = np.random.default_rng(5)
    hits = 0
    for seed in range(300):
        reference, new = (documents(rng, zipf(40), n) for n in (200, 30))
        units = [np.repeat(np.arange(side.shape[0]), copies) for side in (reference, new)]
        sides = [side[np.repeat(np.arange(side.shape[0]), copies)] for side in (reference, new)]
        hits += measured(*sides, units, seed=seed).p <= ALPHA
    assert at_most(hits, 300, ALPHA)
    assert hits >= 3  # not so careful that nothing is found


def test_groups_taken_for_independent_documents_would_alarm_falsely():
    """What the test above guards against."""
    rng = np.random.default_rng(6)
    hits = 0
    for seed in range(60):
        sides = [
            side[np.repeat(np.arange(side.shape[0]), 5)]
            for side in (documents(rng, zipf(40), n) for n in (200, 30))
        ]
        hits += measured(*sides, seed=seed).p <= ALPHA
    assert not at_most(hits, 60, ALPHA)


@pytest.mark.parametrize("side", [0, 1])
def test_a_side_without_a_count_has_no_shift(side: int):
    sides = [sp.csr_matrix(np.ones((20, 3))), sp.csr_matrix(np.ones((20, 3)))]
    sides[side] = sp.csr_matrix((20, 3))
    assert measured(*sides).psi == 0.0
    assert measured(*sides).p == 1.0
