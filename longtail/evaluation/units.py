"""Which documents come together, so that they count once in a test or an interval."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components


def joined(*keys: Sequence[Hashable | None]) -> npt.NDArray[np.int64]:
    """Number the units of documents; documents that share a key, or are linked by others, are one.

    Args:
        keys: each `(n_docs,)`, for example the group and the normalized text of each document. A
            document with the key None or "" shares it with no other.

    Returns:
        `(n_docs,)` int64, from 0 to n_units − 1.

    >>> joined(["a", None, "b", "a"], ["x", "y", "y", "z"]).tolist()
    [0, 1, 1, 0]
    """
    n_docs = len(keys[0])
    pairs: list[tuple[int, int]] = []
    for column in keys:
        first: dict[Hashable, int] = {}
        for row, key in enumerate(column):
            if key is not None and key != "":
                pairs.append((first.setdefault(key, row), row))
    one, other = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    graph = sp.csr_matrix((np.ones(len(one)), (one, other)), (n_docs, n_docs))
    return connected_components(graph, directed=False)[1].astype(np.int64)
