"""Fair splits of a multi-label corpus: iterative stratification with groups and frozen rows.

Guarantees: the size of each part, in documents, is within one group (the largest free one; one
document if there are no groups) of the wanted fraction. A part that frozen documents fill beyond
its fraction gets no more, and the others shrink by one common factor. Within these sizes, a label
with at least 1 group is in train, with 2 in train and the last part, with 3 in every part, unless
the repair finds no way (`quality.quality` names the label and the reason).

Sources: Sechidis, Tsoumakas & Vlahavas 2011, Algorithm 1 (order 1); Szymanski & Kajdanowicz 2017
(order 2). Beyond them, full parts are closed, uncovered parts come first, and exchanges then lower
Pearson's chi-square of the label-by-part table, sum (got - wanted)^2 / wanted, before sizes and
coverage are repaired.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from longtail.errors import ParameterError
from longtail.splitting import inputs as split_input

# The loops are compiled by numba, which only the image of `split` has; others use the atoms alone.
if TYPE_CHECKING:
    from longtail.splitting import loops

SPLITS = ("train", "val", "test")  # codes 0, 1, 2

MOST_PAIRED = 100  # labels of a document whose pairs are looked at
REPAIR_WORK = 4_000_000  # steps of the repair times labels per atom, at most: bounds its time
SWEEPS = 30  # of the exchange, at most; it stops when fewer than one atom in 1,000 moves


def iterative_split(
    labels: sp.csr_matrix,
    fractions: Sequence[float],
    *,
    ids: Sequence[str] | None = None,
    groups: Sequence[Hashable] | None = None,
    fixed: np.ndarray | None = None,
    order: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Assign every document to a part so that each label has the wanted share in each part.

    Args:
        labels: 0/1 sparse `(n_docs, n_labels)`; a document may have no label.
        fractions: wanted share of each part, at least two, each >= 0, with sum 1. Part 0 is train,
            the last is test. A part with fraction 0 receives no document.
        ids: `(n_docs,)` unique; ties are broken by them. The same ids, labels, groups and seed give
            the same split in any row order and process. Without ids the row number takes their
            place, so the order matters.
        groups: `(n_docs,)` hashable; documents of one group stay together, and None (or NaN) is a
            group of its own. Free documents join the frozen ones of their group: the part where
            most of those are, and on a tie the earlier part. A group whose frozen documents are
            already in several parts stays that way.
        fixed: `(n_docs,)` int, -1 for free documents, otherwise the part; a frozen document is
            counted and left where it is.
        order: 1 stratifies labels; 2 also stratifies label pairs (scikit-multilearn's default).
        seed: enters the tie-breaking hash only.

    Returns:
        The part of each document, `(n_docs,)` int8 (an index into `SPLITS` if there are three).

    Raises:
        ParameterError: wrong fractions, order or seed.
        DataError: wrong labels, ids, groups or fixed.

    >>> labels = sp.csr_matrix([[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> parts = iterative_split(labels, [0.5, 0.5], ids=["a", "b", "c", "d"])
    >>> sorted(parts[:2].tolist()), sorted(parts[2:].tolist())  # each label is in both parts
    ([0, 1], [0, 1])
    """
    labels = split_input.checked_labels(labels)
    n_docs = labels.shape[0]
    shares = split_input.checked_fractions(fractions)
    if order not in (1, 2):
        raise ParameterError(f"`order` must be 1 (labels) or 2 (label pairs), got {order!r}.")
    hashes = split_input.hashes(ids, n_docs, seed)
    group = split_input.group_codes(groups, n_docs)
    assignment = split_input.checked_fixed(fixed, n_docs, len(shares)).copy()
    join_frozen_groups(assignment, group, len(shares))
    if (assignment < 0).any():
        columns = labels if order == 1 else sp.hstack([labels, label_pairs(labels, 2)], "csr")
        need = coverage_need(group_support(labels, group), shares)
        _assign_free(assignment, columns, need, hashes, group, shares)
    return assignment


def scikit_multilearn_split(
    labels: sp.csr_matrix,
    fractions: Sequence[float],
    *,
    ids: Sequence[str] | None = None,
    seed: int = 0,
    max_bytes: int = 4 * 2**30,
    max_pairs: int = 20_000_000,
) -> np.ndarray:
    """Split with scikit-multilearn's own `iterative_train_test_split`, made deterministic.

    The library splits in two, so the last part is split off first, then the one before it. It
    draws from NumPy's global state, so the rows are sorted by hash of (seed, id), and that state is
    seeded for the call and restored afterwards. Parts with fraction 0 stay empty. The library knows
    neither groups nor frozen rows.

    Args:
        labels: see `iterative_split`.
        fractions: see `iterative_split`.
        ids: see `iterative_split`.
        seed: of the row order and of NumPy's global state.
        max_bytes: largest size of the dense int64 matrix that the library works on.
        max_pairs: most label pairs, summed over the documents, that it goes through.

    Returns:
        The part of each document, `(n_docs,)` int8.

    Raises:
        ParameterError: wrong fractions or seed, or more than `max_bytes` or `max_pairs`.
        DataError: wrong labels or ids.
    """
    from skmultilearn.model_selection import iterative_train_test_split

    labels = split_input.checked_labels(labels)
    n_docs, n_labels = labels.shape
    shares = split_input.checked_fractions(fractions)
    needed = n_docs * n_labels * 8
    if needed > max_bytes:
        raise ParameterError(
            f"scikit-multilearn needs a dense matrix of {needed / 2**30:.1f} GiB for {n_docs} "
            f"documents x {n_labels} labels, more than the {max_bytes / 2**30:.1f} GiB allowed; "
            "use iterative_split."
        )
    per_doc = np.diff(labels.indptr).astype(np.int64)
    pairs = int((per_doc * (per_doc - 1) // 2).sum())
    if pairs > max_pairs:
        raise ParameterError(
            f"scikit-multilearn goes through all label pairs of each document, {pairs:,} here, "
            f"more than the {max_pairs:,} allowed; use iterative_split."
        )
    rows = np.argsort(split_input.hashes(ids, n_docs, seed), kind="stable")[:, None]
    dense = labels[rows[:, 0]].toarray().astype(np.int64)
    assignment = np.zeros(n_docs, np.int8)
    state = np.random.get_state()
    try:
        np.random.seed(seed % 2**32)
        for j in range(len(shares) - 1, 0, -1):
            if shares[j] > 0 and len(rows) > 1:  # the library cannot split a single document
                share = shares[j] / shares[: j + 1].sum()
                rows, dense, part, _ = iterative_train_test_split(rows, dense, share)
                assignment[part[:, 0]] = j
    finally:
        np.random.set_state(state)
    return assignment


def label_pairs(labels: sp.csr_matrix, min_docs: int = 1) -> sp.csr_matrix:
    """Documents by unordered label pairs, 0/1 CSR `(n_docs, n_pairs)` int32, pairs in sorted order.

    Left out are pairs with fewer than `min_docs` documents, and those of documents with more than
    `MOST_PAIRED` labels, which have half a million of them at 1,000 labels.

    >>> label_pairs(sp.csr_matrix([[1, 1, 0], [1, 1, 1]])).toarray().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    n_docs, n_labels = labels.shape
    per_doc = np.diff(labels.indptr)
    end = np.repeat(labels.indptr[1:], per_doc)
    row = np.repeat(np.arange(n_docs, dtype=np.int32), per_doc)
    position = np.flatnonzero(np.repeat(per_doc, per_doc) <= MOST_PAIRED)
    rows, keys, distance = [], [], 0
    while len(position):
        distance += 1
        position = position[position + distance < end[position]]
        rows.append(row[position])
        first = labels.indices[position].astype(np.int64)
        keys.append(first * n_labels + labels.indices[position + distance])
    if not rows:
        return sp.csr_matrix((n_docs, 0), dtype=np.int32)
    _, column, count = np.unique(np.concatenate(keys), return_inverse=True, return_counts=True)
    kept = count >= min_docs
    number = np.where(kept, np.cumsum(kept) - 1, -1)[column]
    chosen = number >= 0
    ones = np.ones(int(chosen.sum()), np.int32)
    at = (np.concatenate(rows)[chosen], number[chosen])
    return sp.csr_matrix((ones, at), shape=(n_docs, int(kept.sum())))


def group_support(labels: sp.csr_matrix, group: np.ndarray) -> np.ndarray:
    """Number of groups with each label, `(n_labels,)`; `group` is `(n_docs,)` group numbers."""
    return np.diff(_by_group(labels, group, int(group.max(initial=-1)) + 1).tocsc().indptr)


def coverage_need(support: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Which parts must hold each label, by its number of groups, `(n_labels, n_parts)` bool.

    Train comes first, then the last part, then the others in order; a part with share 0 never.

    >>> coverage_need(np.array([1, 2, 3]), np.array([0.6, 0.2, 0.2])).astype(int).tolist()
    [[1, 0, 0], [1, 0, 1], [1, 1, 1]]
    """
    k = len(shares)
    priority = [j for j in (0, k - 1, *range(1, k - 1)) if shares[j] > 0]
    need = np.zeros((len(support), k), bool)
    for rank, j in enumerate(priority):
        need[:, j] = support > rank
    return need


def reachable_sizes(shares: np.ndarray, frozen: np.ndarray, n_docs: int) -> np.ndarray:
    """The sizes nearest to `shares * n_docs` that leave frozen documents in place, `(n_parts,)`.

    A part frozen beyond its share keeps its size; the others shrink by one common factor.

    >>> reachable_sizes(np.array([0.5, 0.5]), np.array([0, 6]), 10).tolist()
    [4.0, 6.0]
    """
    full = np.zeros(len(shares), bool)
    while True:
        open_share = shares[~full].sum()
        scale = (n_docs - frozen[full].sum()) / open_share if open_share > 0 else 0.0
        size = np.where(full, frozen, shares * scale)
        over = ~full & (frozen > size + 1e-9)
        if not over.any():
            return size
        full |= over


class Bounds(NamedTuple):
    """The sizes that parts are to have, each `(n_parts,)` documents."""

    target: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    open: np.ndarray  # bool; the others are full of frozen documents


def size_bounds(shares: np.ndarray, frozen: np.ndarray, n_docs: int, slack: int) -> Bounds:
    """Sizes within `slack` documents, the largest free group, of those that can be reached.

    A part that frozen documents fill takes one more only up to its own share and the slack. If they
    fill it even beyond that, it may stay as it is.
    """
    target = reachable_sizes(shares, frozen, n_docs)
    is_open = target > frozen + 1e-9
    return Bounds(
        target,
        lower=np.where(is_open, target - slack, 0.0),
        upper=np.maximum(np.where(is_open, target, shares * n_docs) + slack, frozen),
        open=is_open,
    )


class _Frozen(NamedTuple):
    docs: np.ndarray  # (n_columns, k) documents
    holders: np.ndarray  # (n_labels, k) groups
    size: np.ndarray  # (k,) documents


def _assign_free(
    assignment: np.ndarray,
    columns: sp.csr_matrix,
    need: np.ndarray,
    hashes: np.ndarray,
    group: np.ndarray,
    shares: np.ndarray,
) -> None:
    free = np.flatnonzero(assignment < 0)
    atom_of, tie, weight = _atoms(group[free], hashes[free])
    atoms = _by_group(columns[free], atom_of, len(weight))
    frozen = _count_frozen(assignment, columns, group, len(shares), len(need))
    table = _table(atoms, weight, tie, need, frozen, shares)
    by_column = atoms.tocsc()
    _solve(table, by_column.indptr, by_column.indices)
    assignment[free] = table.part[atom_of]


def _solve(table: loops.Table, colptr: np.ndarray, rows: np.ndarray) -> None:
    from longtail.splitting import loops

    slack = float(table.weight.max())
    loose = max(slack, 0.005 * float(table.size.sum() + table.weight.sum()))
    trail = np.empty((len(table.part) + 16, 2), np.int64)
    loops.greedy(table, colptr, rows)
    loops.refine(table, SWEEPS, loose)
    loops.balance(table, 0, False, -1, trail)
    if not loops.within(table):  # sizes come before coverage
        loops.balance(table, -table.need.size, True, -1, trail)
    loops.refine(table, SWEEPS, 1.0)
    by_rarity = np.argsort(table.holders.sum(axis=1), kind="stable")
    per_atom = max(1, len(table.indices) // len(table.part))
    steps = min(200 + 20 * int(table.missing[0]), REPAIR_WORK // per_atom)
    loops.repair(table, colptr, rows, by_rarity, steps)
    loops.balance(table, 0, False, -1, trail)


def _table(
    atoms: sp.csr_matrix,
    weight: np.ndarray,
    tie: np.ndarray,
    need: np.ndarray,
    frozen: _Frozen,
    shares: np.ndarray,
) -> loops.Table:
    from longtail.splitting import loops

    n_docs = int(frozen.size.sum() + weight.sum())
    bounds = size_bounds(shares, frozen.size, n_docs, int(weight.max()))
    total = frozen.docs.sum(axis=1) + np.asarray(atoms.sum(axis=0)).ravel()
    tiny = 1e-6  # keeps the division finite for parts of share 0, which never take part
    return loops.Table(
        indptr=atoms.indptr.astype(np.int64),
        indices=atoms.indices.astype(np.int32),
        docs=atoms.data.astype(np.int32),
        weight=weight.astype(np.int64),
        tie=tie,
        part=np.full(len(weight), -1, np.int8),
        got=frozen.docs.astype(np.int32),
        wanted=np.maximum(np.outer(total, bounds.target / n_docs), tiny),
        size=frozen.size.astype(np.int64),
        target=np.maximum(bounds.target, tiny),
        lower=bounds.lower,
        upper=bounds.upper,
        open=bounds.open,
        holders=frozen.holders.astype(np.int64),
        need=need,
        missing=np.array([(need & (frozen.holders == 0)).sum()], np.int64),
        size_weight=1.0,
    )


def _count_frozen(
    assignment: np.ndarray, columns: sp.csr_matrix, group: np.ndarray, k: int, n_labels: int
) -> _Frozen:
    docs = np.zeros((columns.shape[1], k), np.int64)
    holders = np.zeros((n_labels, k), np.int64)
    for j in range(k):
        rows = np.flatnonzero(assignment == j)
        docs[:, j] = np.asarray(columns[rows].sum(axis=0)).ravel()
        _, number = np.unique(group[rows], return_inverse=True)
        support = group_support(columns[rows], number) if len(rows) else holders[:, j]
        holders[:, j] = support[:n_labels]
    size = np.bincount(assignment[assignment >= 0], minlength=k).astype(np.int64)
    return _Frozen(docs, holders, size)


def _atoms(group: np.ndarray, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the groups, largest first, then by the least hash of their documents.

    Returns:
        The atom of each row, and the hash and the number of documents of each atom.
    """
    _, number, weight = np.unique(group, return_inverse=True, return_counts=True)
    least = np.full(len(weight), np.iinfo(np.int64).max)
    np.minimum.at(least, number, hashes)
    ranked = np.lexsort((least, -weight))
    rank = np.empty_like(ranked)
    rank[ranked] = np.arange(len(ranked))
    return rank[number], least[ranked], weight[ranked]


def _by_group(matrix: sp.csr_matrix, group: np.ndarray, n_groups: int) -> sp.csr_matrix:
    """Sum the rows of each group, `(n_groups, n_columns)` with sorted column indices."""
    n_rows = len(group)
    member = sp.csr_matrix(
        (np.ones(n_rows, np.int32), (group, np.arange(n_rows))), shape=(n_groups, n_rows)
    )
    summed = (member @ matrix).tocsr()
    summed.sort_indices()
    return summed


def join_frozen_groups(assignment: np.ndarray, group: np.ndarray, k: int) -> None:
    """Put free documents into the part that holds most frozen documents of their group.

    Args:
        assignment: `(n_docs,)` part, −1 for free documents; changed in place.
        group: `(n_docs,)` group numbers.
        k: number of parts.
    """
    frozen = assignment >= 0
    if not frozen.any() or frozen.all():
        return
    number = np.bincount(
        group[frozen].astype(np.int64) * k + assignment[frozen], minlength=(group.max() + 1) * k
    ).reshape(-1, k)
    part = np.where(number.any(axis=1), number.argmax(axis=1), -1).astype(np.int8)
    assignment[~frozen] = part[group[~frozen]]
