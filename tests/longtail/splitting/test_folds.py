"""Folds: equal, whole groups, kept from night to night, and nothing in two."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.errors import DataError, ParameterError
from longtail.splitting.folds import cross_folds


def corpus(n_docs: int = 100, seed: int = 0) -> tuple[sp.csr_matrix, list[str]]:
    dense = np.random.default_rng(seed).random((n_docs, 4)) < [0.5, 0.3, 0.1, 0.05]
    return sp.csr_matrix(dense.astype(np.int8)), [f"d{i:03}" for i in range(n_docs)]


def folds(labels, ids, *, learned=None, n_folds=5, groups=None, fixed=None, seed=0) -> np.ndarray:
    n_docs = len(ids)
    return cross_folds(
        labels,
        np.ones(n_docs, bool) if learned is None else learned,
        n_folds,
        ids=ids,
        groups=ids if groups is None else groups,
        fixed=np.full(n_docs, -1) if fixed is None else fixed,
        seed=seed,
    )


def test_test_is_in_no_fold_and_the_others_are_spread_evenly() -> None:
    labels, ids = corpus()
    learned = np.arange(100) % 4 != 0
    found = folds(labels, ids, learned=learned)
    assert (found[~learned] == -1).all()
    assert np.bincount(found[learned]).tolist() == [15] * 5
    for label in range(4):
        holders = labels[learned][:, [label]].toarray().ravel() > 0
        each = np.bincount(found[learned][holders], minlength=5)
        assert each.max() - each.min() <= 1, "a label is spread over all folds"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 4))
def test_what_belongs_together_shares_a_fold_in_any_order(seed: int, n_folds: int, size: int):
    labels, ids = corpus(60, seed)
    rng = np.random.default_rng(seed)
    groups = [f"g{i // size}" for i in range(60)]
    learned = (rng.random(60) < 0.8)[[int(name[1:]) for name in groups]]
    found = folds(labels, ids, learned=learned, n_folds=n_folds, groups=groups, seed=seed)
    of_group: dict[str, set[int]] = {}
    for name, fold in zip(groups, found, strict=True):
        of_group.setdefault(name, set()).add(int(fold))
    assert all(len(each) == 1 for each in of_group.values())
    order = rng.permutation(60)
    again = folds(
        labels[order],
        [ids[i] for i in order],
        learned=learned[order],
        n_folds=n_folds,
        groups=[groups[i] for i in order],
        seed=seed,
    )
    np.testing.assert_array_equal(again, found[order])


def test_a_night_keeps_the_folds_and_places_what_is_new() -> None:
    labels, ids = corpus(120)
    first = folds(labels[:100], ids[:100])
    fixed = np.concatenate([first, np.full(20, -1)])
    second = folds(labels, ids, fixed=fixed)
    np.testing.assert_array_equal(second[:100], first)
    assert np.bincount(second).tolist() == [24] * 5


def test_a_document_that_left_test_gets_a_fold() -> None:
    labels, ids = corpus()
    learned = np.arange(100) >= 20
    first = folds(labels, ids, learned=learned)
    second = folds(labels, ids, fixed=first)
    np.testing.assert_array_equal(second[learned], first[learned])
    assert (second >= 0).all()


def test_a_group_that_came_to_be_in_two_folds_is_placed_anew_as_a_whole() -> None:
    labels, ids = corpus()
    first = folds(labels, ids)
    a, b = (int(np.flatnonzero(first == fold)[0]) for fold in (0, 1))
    groups = list(ids)
    groups[b] = groups[a]  # found to be copies of each other
    second = folds(labels, ids, groups=groups, fixed=first)
    assert second[a] == second[b]
    others = np.setdiff1d(np.arange(100), [a, b])
    np.testing.assert_array_equal(second[others], first[others])


@pytest.mark.parametrize("before", [3, 7])
def test_another_number_of_folds_places_everything_anew(before: int) -> None:
    labels, ids = corpus()
    found = folds(labels, ids, fixed=folds(labels, ids, n_folds=before))
    np.testing.assert_array_equal(found, folds(labels, ids))


def test_fewer_groups_than_folds_have_none() -> None:
    labels, ids = corpus(8)
    groups = ["a"] * 2 + ["b"] * 2 + ["c"] * 2 + ["d"] * 2
    assert (folds(labels, ids, groups=groups) == -1).all()
    assert set(folds(labels, ids, groups=groups, n_folds=4)) == {0, 1, 2, 3}
    assert (folds(labels, ids, n_folds=0) == -1).all()


@pytest.mark.parametrize("sizes", [[36, 1, 1, 1, 1], [20, 10, 20, 5, 5], [2, 2]])
def test_groups_too_unequal_for_the_folds_have_none(sizes: list[int]) -> None:
    """Every fold has documents, or there are no folds: nobody learns from nothing."""
    labels, ids = corpus(sum(sizes))
    groups = [f"g{at}" for at, size in enumerate(sizes) for _ in range(size)]
    for n_folds in (2, len(sizes)):
        found = folds(labels, ids, groups=groups, n_folds=n_folds)
        assert set(found) in ({-1}, set(range(n_folds)))
    if sizes[0] == 36:
        assert set(found) == {-1}


@pytest.mark.parametrize("n_folds", [1, -1, 21])
def test_a_number_that_makes_no_sense_is_refused(n_folds: int) -> None:
    labels, ids = corpus()
    with pytest.raises(ParameterError, match="n_folds"):
        folds(labels, ids, n_folds=n_folds)


def test_wrong_shapes_are_refused() -> None:
    labels, ids = corpus()
    with pytest.raises(DataError, match=r"`fixed` must have shape \(100,\), got \(3,\)"):
        folds(labels, ids, fixed=np.zeros(3))
