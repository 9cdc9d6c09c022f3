"""The atoms of a split: documents of one group, and copies of one text, that must stay together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from longtail.splitting.inputs import group_codes


class Copies(NamedTuple):
    """Which documents have the same text.

    Attributes:
        exact: `(n_docs,)` int, equal for equal texts, −1 for a text that occurs once.
        near: `(n_pairs, 2)` int, documents with nearly the same text; one of equal texts is enough.
            None if they were not searched for.
    """

    exact: np.ndarray
    near: np.ndarray | None


def atoms(
    ids: Sequence[str],
    groups: Sequence[Hashable] | None,
    copies: Copies,
) -> list[str]:
    """The atom of each document, named by its smallest id.

    An atom is a connected component: whoever shares a group or a text with one of its documents
    belongs to it.

    Args:
        ids: `(n_docs,)` unique.
        groups: as given to `iterative_split`.
        copies: which documents have the same text.

    >>> copies = Copies(np.array([-1, 0, 0, -1]), None)
    >>> atoms(["a", "b", "c", "d"], ["g", "g", None, None], copies)
    ['a', 'a', 'a', 'd']
    """
    n_docs = len(ids)
    group = group_codes(groups, n_docs)
    copied = np.flatnonzero(copies.exact >= 0)
    first_copy = n_docs + int(group.max(initial=-1)) + 1
    edges = [
        np.stack([np.arange(n_docs), n_docs + group], axis=1),
        np.stack([copied, first_copy + copies.exact[copied]], axis=1),
        *([] if copies.near is None else [copies.near]),
    ]
    start, end = np.concatenate(edges).T
    n_nodes = first_copy + int(copies.exact.max(initial=-1)) + 1
    graph = sp.coo_matrix((np.ones(len(start), np.int8), (start, end)), shape=(n_nodes, n_nodes))
    component = connected_components(graph, directed=False)[1][:n_docs]
    names: dict[int, str] = {}
    for identity, number in sorted(zip(ids, component.tolist(), strict=True)):
        names.setdefault(number, identity)
    return [names[number] for number in component.tolist()]


def copies_across(part: np.ndarray, copies: Copies, k: int) -> dict[str, np.ndarray]:
    """How many documents of each part have a copy in another part.

    Args:
        part: `(n_docs,)` int, 0 to k − 1.
        copies: which documents have the same text.
        k: number of parts.

    Returns:
        `exact` copies and, if they were searched for, `near` ones, each `(k,)` int.
    """
    alone = copies.exact < 0
    text = copies.exact.copy()
    text[alone] = copies.exact.max(initial=-1) + 1 + np.arange(alone.sum())
    present = np.zeros((int(text.max(initial=-1)) + 1, k), dtype=bool)
    present[text, part] = True

    def count(where: np.ndarray) -> np.ndarray:
        elsewhere = where[text].sum(axis=1) > where[text, part]
        return np.bincount(part[elsewhere], minlength=k)

    if copies.near is None:
        return {"exact": count(present)}
    close = np.zeros_like(present)
    a, b = text[copies.near].T
    np.logical_or.at(close, a, present[b])
    np.logical_or.at(close, b, present[a])
    return {"exact": count(present), "near": count(close)}
