"""The rounds of cross-fitting: everything is scored once, by what has not learned from it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longtail.splitting.rounds import make_plan


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60).filter(lambda x: len(set(x)) > 1))
def test_every_document_is_scored_once_by_what_has_not_seen_it(folds: list[int]) -> None:
    plan = make_plan(np.array(folds), np.zeros(len(folds), bool))
    assert plan.refit and plan.scored.tolist() == list(range(len(folds)))
    for learned, scored in plan.rounds:
        assert not set(learned) & set(scored)
        assert sorted([*learned, *scored]) == list(range(len(folds)))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40).filter(lambda x: len(set(x)) > 1))
def test_scores_come_back_in_the_order_of_the_documents(folds: list[int]) -> None:
    plan = make_plan(np.array(folds), np.zeros(len(folds), bool))
    joined = np.concatenate([scored * 10.0 for _, scored in plan.rounds])[plan.order]
    assert joined.tolist() == [10.0 * row for row in range(len(folds))]


def test_without_folds_train_learns_and_val_is_scored() -> None:
    in_val = np.array([False, True, False, True])
    plan = make_plan(np.full(4, -1), in_val)
    [(learned, scored)] = plan.rounds
    assert (learned.tolist(), scored.tolist(), plan.refit) == ([0, 2], [1, 3], False)
    assert plan.order.tolist() == [0, 1]
