"""Renews the test set: the oldest documents retire into train, new ones take their place.

A test set that is asked every night wears out: whoever is promoted was also lucky on it (Dwork et
al. 2015, "The reusable holdout"). New documents are drawn by a hash of their id, not by the
stratifier, which would take those with the labels that test lacks: on documents drawn at random, a
score is an honest estimate for the documents that arrive. Two exceptions keep the coverage rule: a
label that test lacks is drawn first, and a document that another part needs is not drawn.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from longtail.errors import DataError, ParameterError
from longtail.splitting import inputs as split_input
from longtail.splitting.iterative import coverage_need, join_frozen_groups, reachable_sizes

TRAIN, TEST = 0, -1  # the first and the last part


class Refreshed(NamedTuple):
    """What a refresh decided.

    Attributes:
        fixed: `(n_docs,)` int8 as given, with the retired documents in train and the drawn ones in
            test.
        retired: `(n_docs,)` bool, frozen in test before and in train now.
        drawn: `(n_docs,)` bool, free before and in test now.
    """

    fixed: np.ndarray
    retired: np.ndarray
    drawn: np.ndarray


def refresh(
    labels: sp.csr_matrix,
    fractions: Sequence[float],
    fixed: np.ndarray,
    *,
    groups: Sequence[Hashable],
    dates: np.ndarray,
    share: float,
    seed: int = 0,
) -> Refreshed:
    """Retire the oldest of the frozen test documents; draw new ones from the free documents.

    Whole groups retire and are drawn. No more retire than free documents can replace and train has
    room for, so without free documents nothing changes. The last group of a label that test needs
    does not retire. What is drawn fills test up to its size.

    Args:
        labels: 0/1 sparse `(n_docs, n_labels)`.
        fractions: as given to `iterative_split`.
        fixed: `(n_docs,)` int, −1 for free documents, otherwise the part.
        groups: `(n_docs,)`, none of them null; names, whose hashes draw.
        dates: `(n_docs,)` float, any unit. A group is as old as its oldest test document. NaN
            counts as older than any date, and among equals a hash of the group's name decides.
        share: of the frozen test documents that retire, 0 to 1.
        seed: of the hashes.

    Returns:
        The new frozen parts, to be given to `iterative_split`.

    Raises:
        ParameterError: wrong fractions, share or seed.
        DataError: wrong labels, fixed, groups or dates.
    """
    labels = split_input.checked_labels(labels)
    shares = split_input.checked_fractions(fractions)
    n_docs, k = labels.shape[0], len(shares)
    if not 0 <= share <= 1:
        raise ParameterError(f"`share` must be between 0 and 1, got {share!r}.")
    part = split_input.checked_fixed(fixed, n_docs, k)
    if np.shape(dates) != (n_docs,):
        raise DataError(f"`dates` must have shape ({n_docs},), got {np.shape(dates)}.")
    group = split_input.group_codes(groups, n_docs)
    nobody = np.zeros(n_docs, dtype=bool)
    is_test = part == k + TEST
    if not share or not (part < 0).any() or not is_test.any():
        return Refreshed(part, nobody, nobody)
    state = _state(labels, part, group, shares)
    names = [str(name) for name in dict.fromkeys(groups)]
    hashes = split_input.hashes(names, len(names), seed)
    retiring = _retiring(state, _ages(group, is_test, dates), hashes, share * is_test.sum())
    retired = is_test & retiring[group]
    part[retired] = TRAIN
    state = _state(labels, part, group, shares)
    drawn = _drawn(state, hashes)[group]
    part[drawn] = k + TEST
    return Refreshed(part, retired, drawn)


class _State(NamedTuple):
    carries: sp.csr_matrix  # groups x labels, 0/1
    docs: np.ndarray  # (n_groups, k) documents per part, free ones with frozen ones of their group
    free: np.ndarray  # (n_groups,) documents of groups without a frozen one, else 0
    room: np.ndarray  # (k,) documents that each part still takes
    need: np.ndarray  # (n_labels, k) whether the coverage rule requires a group here
    holders: np.ndarray  # (n_labels, k) groups that carry the label


def _state(
    labels: sp.csr_matrix, fixed: np.ndarray, group: np.ndarray, shares: np.ndarray
) -> _State:
    n_docs, n_groups, k = len(fixed), int(group.max()) + 1, len(shares)
    part = fixed.copy()
    join_frozen_groups(part, group, k)
    placed = part >= 0
    member = sp.csr_matrix((np.ones(n_docs, np.int64), (group, np.arange(n_docs))))
    carries = ((member @ labels) > 0).astype(np.int64).tocsr()
    docs = np.bincount(group[placed] * k + part[placed], minlength=n_groups * k).reshape(-1, k)
    size = docs.sum(axis=0)
    per_part = [
        np.asarray(
            ((member[:, part == j] @ labels[part == j]) > 0).astype(np.int64).sum(axis=0)
        ).ravel()
        for j in range(k)
    ]
    return _State(
        carries,
        docs,
        free=np.bincount(group[~placed], minlength=n_groups),
        room=reachable_sizes(shares, size, n_docs) - size,
        need=coverage_need(np.asarray(carries.sum(axis=0)).ravel(), shares),
        holders=np.stack(per_part, axis=1),
    )


def _ages(group: np.ndarray, is_test: np.ndarray, dates: np.ndarray) -> np.ndarray:
    """The date of each group's oldest test document, −inf if it is unknown, `(n_groups,)`."""
    oldest = np.full(int(group.max()) + 1, np.inf)
    np.minimum.at(oldest, group[is_test], np.where(np.isnan(dates), -np.inf, dates)[is_test])
    return oldest


def _retiring(s: _State, age: np.ndarray, hashes: np.ndarray, wanted: float) -> np.ndarray:
    """Choose the groups that leave test, oldest first, `(n_groups,)` bool."""
    spare = s.free.sum() - max(0.0, s.room[TEST])  # free documents that test does not need to grow
    most = min(wanted, s.room[TRAIN], spare)
    chosen, left = np.zeros(len(age), dtype=bool), s.holders[:, TEST].copy()
    # What is drawn has low hashes: the highest first, so that without dates it does not leave next.
    for g in np.lexsort((-hashes, age)):
        if most < 0.5 or age[g] == np.inf:
            break
        n, carried = s.docs[g, TEST], _labels_of(s, g)
        last = s.need[carried, TEST] & (left[carried] == 1)
        if n / 2 <= most and not last.any():
            chosen[g] = True
            left[carried] -= 1
            most -= n
    return chosen


def _drawn(s: _State, hashes: np.ndarray) -> np.ndarray:
    """Choose free groups for test by their hashes, up to its size, `(n_groups,)` bool."""
    chosen, room = np.zeros(len(hashes), dtype=bool), s.room[TEST]
    order = np.argsort(hashes, kind="stable")
    order = order[s.free[order] > 0]
    undrawn = np.asarray(s.carries[s.free > 0].sum(axis=0)).ravel()
    lacking = s.need & (s.holders == 0)
    others = lacking[:, :TEST].sum(axis=1)  # groups that parts other than test still need
    for covering in (True, False):
        for g in order:
            carried = _labels_of(s, g)
            if chosen[g] or s.free[g] / 2 > room or (undrawn[carried] <= others[carried]).any():
                continue
            if covering and not lacking[carried, TEST].any():
                continue
            chosen[g] = True
            undrawn[carried] -= 1
            lacking[carried, TEST] = False
            room -= s.free[g]
    return chosen


def _labels_of(s: _State, g: int) -> np.ndarray:
    return s.carries.indices[s.carries.indptr[g] : s.carries.indptr[g + 1]]
