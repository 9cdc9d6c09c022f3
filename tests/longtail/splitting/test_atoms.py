"""What must stay together, against a plain search, and what still crosses parts, against loops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.splitting.atoms import Copies, atoms, copies_across
from longtail.splitting.iterative import iterative_split
from longtail.splitting.quality import quality

THREE = (0.6, 0.2, 0.2)
NO_PAIRS = np.zeros((0, 2), dtype=np.int64)


@st.composite
def relations(draw, max_docs: int = 30):
    """Ids, groups with nulls, exact copies, and near-copies of a small corpus."""
    n_docs = draw(st.integers(1, max_docs))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids = [f"d{i}" for i in rng.permutation(n_docs)]
    groups = [None if g == 0 else f"g{g}" for g in rng.integers(0, n_docs + 1, n_docs)]
    text = rng.integers(0, 2 * n_docs, n_docs)
    _, code, count = np.unique(text, return_inverse=True, return_counts=True)
    exact = np.where(count[code] > 1, code, -1)
    pairs = rng.integers(0, n_docs, (draw(st.integers(0, 6)), 2))
    return ids, groups, Copies(exact, pairs[pairs[:, 0] < pairs[:, 1]])


def searched(ids, groups, copies: Copies) -> list[str]:
    """The smallest id that can be reached from each document."""
    n_docs = len(ids)
    linked = np.eye(n_docs, dtype=bool)
    for i in range(n_docs):
        for j in range(n_docs):
            linked[i, j] |= groups[i] is not None and groups[i] == groups[j]
            linked[i, j] |= copies.exact[i] >= 0 and copies.exact[i] == copies.exact[j]
    for i, j in () if copies.near is None else copies.near:
        linked[i, j] = linked[j, i] = True
    for _ in range(n_docs):
        linked = linked @ linked
    return [min(ids[j] for j in np.flatnonzero(linked[i])) for i in range(n_docs)]


@settings(max_examples=150, deadline=None)
@given(relations(), st.booleans())
def test_atoms_are_what_can_be_reached(given_, near):
    ids, groups, copies = given_
    copies = copies if near else copies._replace(near=None)
    assert atoms(ids, groups, copies) == searched(ids, groups, copies)
    assert atoms(ids, None, copies) == searched(ids, [None] * len(ids), copies)


@settings(max_examples=100, deadline=None)
@given(relations(), st.integers(0, 3), st.booleans())
def test_nothing_crosses_parts_and_sizes_are_within_one_atom(given_, seed, near):
    ids, groups, copies = given_
    labels = sp.csr_matrix(np.random.default_rng(seed).random((len(ids), 4)) < 0.3)
    together = atoms(ids, groups, copies if near else copies._replace(near=None))
    part = iterative_split(labels, THREE, ids=ids, groups=together, seed=seed)
    across = copies_across(part, copies, 3)
    assert not across["exact"].any()
    assert not (near and across["near"].any())
    largest = max(together.count(name) for name in together)
    off = np.bincount(part, minlength=3) - np.array(THREE) * len(ids)
    assert np.abs(off).max() <= largest + 1e-9


@settings(max_examples=150, deadline=None)
@given(relations(), st.integers(0, 2**32 - 1))
def test_copies_across_are_counted_as_by_loops(given_, seed):
    ids, _, copies = given_
    part = np.random.default_rng(seed).integers(0, 3, len(ids))
    same = lambda i, j: i == j or (copies.exact[i] >= 0 and copies.exact[i] == copies.exact[j])  # noqa: E731
    exact, near = np.zeros(3, int), np.zeros(3, int)
    for i in range(len(ids)):
        exact[part[i]] += any(same(i, j) and part[i] != part[j] for j in range(len(ids)))
        near[part[i]] += any(
            part[i] != part[j] and any((same(i, a) and same(j, b)) or (same(i, b) and same(j, a))
                                       for a, b in copies.near)
            for j in range(len(ids))
        )  # fmt: skip
    across = copies_across(part, copies, 3)
    assert across["exact"].tolist() == exact.tolist()
    assert across["near"].tolist() == near.tolist()


def test_copies_across_by_hand():
    # 0, 1, 2 are equal, 3 is nearly as 0 (and so as 1 and 2), 4 is alone.
    copies = Copies(np.array([0, 0, 0, -1, -1]), np.array([[0, 3]]))
    part = np.array([0, 0, 2, 2, 1])
    across = copies_across(part, copies, 3)
    assert across["exact"].tolist() == [2, 0, 1]
    assert across["near"].tolist() == [2, 0, 1]  # of 2 and 3 in test, only 3 is unlike 0 and 1
    report = quality(sp.csr_matrix((5, 1)), part, THREE, copies=copies)
    assert report["copies_across"] == {
        "exact": {"train": 2, "val": 0, "test": 1},
        "near": {"train": 2, "val": 0, "test": 1},
    }
    assert "copies_across" not in quality(sp.csr_matrix((5, 1)), part, THREE)


def test_a_chain_of_group_copy_and_near_copy_is_one_atom():
    copies = Copies(np.array([-1, 0, 0, -1, -1]), np.array([[2, 3]]))
    groups = ["g", "g", None, None, None]
    assert atoms(["e", "d", "c", "b", "a"], groups, copies) == ["b"] * 4 + ["a"]
    alone = copies._replace(near=None)
    assert atoms(["e", "d", "c", "b", "a"], groups, alone) == ["c"] * 3 + ["b", "a"]
    assert atoms([], None, Copies(np.zeros(0, int), NO_PAIRS)) == []


@pytest.mark.parametrize("frozen_in", [0, 1, 2])
def test_a_new_copy_joins_the_part_of_the_frozen_one(frozen_in):
    copies = Copies(np.array([0, -1, -1, 0, -1, -1]), NO_PAIRS)
    together = atoms(list("abcdef"), None, copies)
    fixed = np.array([frozen_in, -1, -1, -1, -1, -1])
    part = iterative_split(sp.csr_matrix((6, 1)), THREE, groups=together, fixed=fixed)
    assert part[0] == part[3] == frozen_in
