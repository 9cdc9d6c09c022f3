"""Which documents of a pool need no annotation: labeled ones, queued ones, and copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from longtail.validation.duplicates import near_duplicate_pairs, text_keys

KEPT = ""
# Why a document is left out, in the order in which it is asked; each follows a number in messages.
NO_WORD = "without a word"
KNOWN = "in the corpus already"
NEAR_KNOWN = "near-copies of documents in the corpus"
QUEUED = "in an earlier queue"
NEAR_QUEUED = "near-copies of documents in an earlier queue"
COPY = "copies of others in the pool"
NEAR_COPY = "near-copies of others in the pool"
REASONS = (NO_WORD, KNOWN, NEAR_KNOWN, QUEUED, NEAR_QUEUED, COPY, NEAR_COPY)


def left_out(
    known_ids: Sequence[str],
    known_texts: Sequence[str],
    ids: Sequence[str],
    texts: Sequence[str],
    similarity: float,
    queued_ids: Sequence[str] = (),
    queued_texts: Sequence[str] = (),
) -> np.ndarray:
    """Why each document of the pool is left out, `KEPT` if it is not.

    Of several copies, exact or near, the first one is kept. Near-copies of near-copies count as
    near-copies.

    Args:
        known_ids: of the corpus, `(n_known,)`.
        known_texts: of the same.
        ids: of the pool, `(n_docs,)`.
        texts: of the pool.
        similarity: least Jaccard index of near-copies, 0 to 1.
        queued_ids: of earlier queues, `(n_queued,)`.
        queued_texts: of the same.

    Returns:
        `KEPT` or one of `REASONS`, `(n_docs,)` object.

    >>> pool = ["new", "a cat", "new", "New."]
    >>> left_out(["a"], ["A cat!"], ["a", "b", "c", "d"], pool, 0.8).tolist()
    ['in the corpus already', 'in the corpus already', '', 'copies of others in the pool']
    >>> left_out([], [], ["x", "y"], ["one", "Two!"], 0.8, ["q"], ["two"]).tolist()
    ['', 'in an earlier queue']
    """
    why = np.full(len(ids), KEPT, object)
    known, queued, keys = map(text_keys, (known_texts, queued_texts, texts))
    # The corpus last, so that a document that was queued and then labeled counts as labeled.
    by_id = dict.fromkeys(queued_ids, QUEUED) | dict.fromkeys(known_ids, KNOWN)
    by_key = dict.fromkeys(queued, QUEUED) | dict.fromkeys(known, KNOWN)
    own: set[str] = set()
    for row, (name, key) in enumerate(zip(ids, keys, strict=True)):
        if not key:
            why[row] = NO_WORD
        elif found := {by_id.get(name), by_key.get(key)} - {None}:
            why[row] = KNOWN if KNOWN in found else QUEUED
        elif key in own:
            why[row] = COPY
        else:
            own.add(key)
    kept = np.flatnonzero(why == KEPT)
    cluster = _clusters([*known, *queued, *(keys[row] for row in kept)], similarity)
    taken = dict.fromkeys(cluster[len(known) : len(known) + len(queued)].tolist(), NEAR_QUEUED)
    taken |= dict.fromkeys(cluster[: len(known)].tolist(), NEAR_KNOWN)
    for copy, mine in zip(kept, cluster[len(known) + len(queued) :].tolist(), strict=True):
        if mine in taken:
            why[copy] = taken[mine]
        taken.setdefault(mine, NEAR_COPY)
    return why


def _clusters(keys: Sequence[str], similarity: float) -> np.ndarray:
    """The cluster of near-copies that each document is in, `(n,)` int."""
    pairs = near_duplicate_pairs(keys, similarity)
    shape = (len(keys), len(keys))
    graph = sp.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape)
    return connected_components(graph, directed=False)[1]
