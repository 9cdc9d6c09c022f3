"""The error budget: hand-counted draws, and chains of equal challengers with a known truth."""

from __future__ import annotations

import numpy as np
import pytest

from longtail.errors import DataError
from longtail.evaluation.sign_flips import Null
from longtail.gate import Asked, Budget

NULL = np.arange(1, 100) / 1000  # 0.001 to 0.099, in order of the draws


def null(difference: float, differences: np.ndarray = NULL) -> Null:
    return Null(0.5 + difference, 0.5, differences)


def test_the_budget_is_never_used_up():
    budget = Budget(0.1, 50)
    spent = [budget.spent(decisions) for decisions in range(0, 2000, 50)]
    assert spent[:3] == [0.0, 0.05, pytest.approx(0.1 * 100 / 150)]
    assert all(a < b < 0.1 for a, b in zip(spent[1:], spent[2:], strict=False))


def test_the_first_decision_spends_its_part():
    """4 % of 100 draws, the observed one included: four may be at least as large."""
    answer = Asked().answer(null(0.0965), 0.0, Budget(0.08, 1))
    assert answer.bound == 0.096
    assert answer.exceeded
    assert not Asked().answer(null(0.096), 0.0, Budget(0.08, 1)).exceeded


def test_a_refusal_alarms_the_draws_that_would_have_been_promoted():
    answer = Asked().answer(null(0.05), 0.0, Budget(0.08, 1))
    assert answer.after.decisions == 1
    assert np.flatnonzero(answer.after.alarmed).tolist() == [95, 96, 97, 98]
    # Two thirds of 8 % after the second decision: 5 of 100, less the four that are spent.
    again = answer.after.answer(null(0.05), 0.0, Budget(0.08, 1))
    assert again.bound == 0.095
    assert again.after.alarmed.sum() == 5


def test_ties_at_the_bound_are_not_spent():
    """A model that equals the champion but for one document promotes in no draw."""
    tied = null(0.1, np.repeat([-0.1, 0.1], [49, 50]))
    answer = Asked().answer(tied, 0.0, Budget(0.08, 1))
    assert (answer.bound, answer.exceeded) == (0.1, False)
    assert not answer.after.alarmed.any()


def test_the_same_challenger_again_spends_nothing_and_another_one_does():
    asked = Asked().answer(null(0.0), 0.0, Budget(0.5, 1)).after
    spent = asked.alarmed.sum()
    same = asked.answer(null(0.0), 0.0, Budget(0.5, 1))
    assert same.bound < 0.076  # lower than the first one: the same draws are alarmed already
    other = asked.answer(null(0.0, NULL[::-1]), 0.0, Budget(0.5, 1))
    assert other.bound > same.bound
    assert other.after.alarmed.sum() > spent


def test_a_promotion_spends_nothing():
    answer = Asked().answer(null(0.2), 0.0, Budget(0.08, 1))
    assert answer.exceeded
    assert not answer.after.alarmed.any()
    assert answer.after.decisions == 1


def test_nothing_left_to_spend_is_an_infinite_bound():
    used = Asked(3, np.ones(99, dtype=bool))
    answer = used.answer(null(0.9), 0.0, Budget(0.08, 1))
    assert answer.bound == float("inf")
    assert not answer.exceeded
    assert set(answer.power.values()) == {0.0}


def test_power_is_the_share_of_moved_draws_beyond_the_bound():
    """Bound 0.096, least gain 0.01: at +0.02 the draws from 0.087 on count, 13 of 99."""
    answer = Asked().answer(null(0.0), 0.01, Budget(0.08, 1))
    assert answer.power[0.02] == pytest.approx(13 / 99)
    assert answer.power[0.005] == 0.0
    assert list(answer.power) == [0.005, 0.01, 0.02]


def test_another_number_of_draws_is_named():
    asked = Asked(1, np.zeros(50, dtype=bool))
    with pytest.raises(DataError, match="50 draws so far, expected 99"):
        asked.answer(null(0.1), 0.0, Budget(0.1, 1))


def nights(rng: np.random.Generator, likeness: float, gain_at: int | None = None) -> list[int]:
    """Nights of 40 that promote; noisy differences of equal models, correlated by `likeness`."""
    n_docs, n_draws = 100, 399
    signs = rng.choice([-1.0, 1.0], (n_docs, n_draws))
    shared, asked, promoted = rng.normal(size=n_docs), Asked(), []
    for night in range(1, 41):
        own = rng.normal(size=n_docs)
        docs = likeness**0.5 * shared + (1 - likeness) ** 0.5 * own
        docs = docs + (0.5 if gain_at and night >= gain_at else 0.0)
        found = Null(docs.mean(), 0.0, docs @ signs / n_docs)
        answer = asked.answer(found, 0.0, Budget(0.1, 20))
        asked = answer.after
        if answer.exceeded:
            promoted.append(night)
    return promoted


@pytest.mark.parametrize("likeness", [0.0, 0.5, 0.95])
def test_any_false_promotion_in_a_life_stays_within_the_budget(likeness: float):
    """At most 10 % in 40 nights: 200 chains have at most 32 (exact one-sided 99.9 %)."""
    rng = np.random.default_rng(3)
    assert sum(bool(nights(rng, likeness)) for _ in range(200)) <= 32


def test_a_real_gain_is_found_after_many_decisions():
    """Five standard errors from night 30 on: found within three nights."""
    rng = np.random.default_rng(4)
    found = [nights(rng, 0.5, gain_at=30) for _ in range(50)]
    assert sum(any(30 <= night <= 32 for night in chain) for chain in found) >= 45
