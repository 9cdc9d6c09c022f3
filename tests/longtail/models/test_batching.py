"""Batches within a token budget: every document once, never over budget, always as many."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.models.batching import TokenBudgetSampler, token_budget_batches

lengths = st.lists(st.integers(1, 70), min_size=1, max_size=60).map(np.array)
budgets = st.integers(16, 300)


def test_batches_by_hand():
    batches = token_budget_batches(np.array([2, 5, 3, 4, 1]), 10)
    assert [batch.tolist() for batch in batches] == [[1, 3], [2, 0, 4]]


@given(lengths, budgets)
def test_batches_hold_every_row_once_within_the_budget(lengths, budget):
    batches = token_budget_batches(lengths, budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * lengths[batch].max() <= budget or len(batch) == 1
    tops = [lengths[batch].max() for batch in batches]
    assert tops == sorted(tops, reverse=True)


@given(lengths, budgets, st.integers(0, 5), st.integers(0, 9))
def test_an_epoch_has_every_document_once_within_the_budget(lengths, budget, epoch, seed):
    sampler = TokenBudgetSampler(lengths, budget, seed=seed)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    padded = -(-lengths // sampler.STEP) * sampler.STEP
    for batch in batches:
        assert len(batch) * padded[batch].max() <= budget or len(batch) == 1
    assert len(batches) == len(sampler)


def test_order_depends_on_seed_and_epoch_only():
    lengths = np.arange(1, 200)

    def order(seed, epoch):
        sampler = TokenBudgetSampler(lengths, 256, seed=seed)
        list(sampler)  # what was read before must not matter
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    orders = [order(seed, epoch) for seed in (1, 2) for epoch in (0, 1, 2)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])
    # Not only the batches' order: documents change company.
    sets = [{frozenset(batch) for batch in one} for one in orders]
    assert sets[0] != sets[1]
    # Nor does an epoch go from long to short.
    tops = [max(batch) for batch in orders[0]]
    assert tops != sorted(tops, reverse=True)


@pytest.mark.parametrize("multiple_of", [2, 3, 4])
def test_the_number_of_batches_is_a_multiple(multiple_of):
    lengths = np.full(11, 16)  # 11 batches of one document
    sampler = TokenBudgetSampler(lengths, 16, seed=0, multiple_of=multiple_of)
    rows = [row for batch in sampler for row in batch]
    assert len(rows) == len(sampler) == 11 - 11 % multiple_of
    assert max(Counter(rows).values()) == 1


def test_fewer_batches_than_processes_are_repeated():
    sampler = TokenBudgetSampler(np.array([16]), 16, seed=0, multiple_of=3)
    assert list(sampler) == [[0], [0], [0]]
