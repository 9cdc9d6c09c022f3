"""Folds of train and val, so that every labeled document is learned from and judged, never both.

The folds are a stratified split into equal parts. Documents that belong together share a fold, so
no document is scored by a model that has learned from its copy. A fold is kept once it was given.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import scipy.sparse as sp

from longtail.errors import DataError, ParameterError
from longtail.splitting import inputs as split_input
from longtail.splitting.iterative import iterative_split
from longtail.splitting.rounds import NONE

MOST = 20


def cross_folds(
    labels: sp.csr_matrix,
    learned: np.ndarray,
    n_folds: int,
    *,
    ids: Sequence[str],
    groups: Sequence[Hashable],
    fixed: np.ndarray,
    seed: int = 0,
) -> np.ndarray:
    """Give every document of train and val a fold.

    Args:
        labels: 0/1 sparse `(n_docs, n_labels)`.
        learned: `(n_docs,)` bool, whether the document is in train or val.
        n_folds: 2 to 20; 0 for none.
        ids: `(n_docs,)` unique; ties are broken by them.
        groups: `(n_docs,)`, none of them null; documents of one group share a fold.
        fixed: `(n_docs,)` int, the fold that a document was given before, else −1. Folds of another
            number than `n_folds` are given anew, and so is that of a group that has come to be in
            several.
        seed: enters the tie-breaking hash only.

    Returns:
        `(n_docs,)` int8, −1 for documents in no fold: those of test, and all of them if `n_folds`
        is 0, or where the groups are too few or too unequal to fill every fold.

    Raises:
        ParameterError: wrong n_folds or seed.
        DataError: wrong labels, ids, groups or fixed.
    """
    if n_folds != 0 and not 2 <= n_folds <= MOST:
        raise ParameterError(f"`n_folds` must be 0 or from 2 to {MOST}, got {n_folds!r}.")
    labels = split_input.checked_labels(labels)
    n_docs = labels.shape[0]
    for name, values in (("learned", learned), ("fixed", fixed)):
        if np.shape(values) != (n_docs,):
            raise DataError(f"`{name}` must have shape ({n_docs},), got {np.shape(values)}.")
    folds = np.full(n_docs, NONE, dtype=np.int8)
    rows = np.flatnonzero(learned).tolist()
    group = split_input.group_codes([groups[row] for row in rows], len(rows))
    if not n_folds or len(np.unique(group)) < n_folds:
        return folds
    found = iterative_split(
        labels[rows],
        [1 / n_folds] * n_folds,
        ids=[ids[row] for row in rows],
        groups=group.tolist(),
        fixed=_kept(np.asarray(fixed)[rows], group, n_folds),
        seed=seed,
    )
    if len(np.unique(found)) == n_folds:  # not so where one group is larger than a fold
        folds[rows] = found
    return folds


def _kept(fixed: np.ndarray, group: np.ndarray, n_folds: int) -> np.ndarray:
    """The folds given before that still hold."""
    fixed = np.where(fixed < 0, NONE, fixed)
    if set(np.unique(fixed[fixed >= 0])) != set(range(n_folds)):
        return np.full(len(fixed), NONE, dtype=np.int8)
    n_groups = int(group.max()) + 1
    given = fixed >= 0
    lowest, highest = np.full(n_groups, n_folds), np.full(n_groups, NONE)
    np.minimum.at(lowest, group[given], fixed[given])
    np.maximum.at(highest, group[given], fixed[given])
    torn = (lowest < highest)[group]
    return np.where(torn, NONE, fixed).astype(np.int8)
