"""Checks what a split is given: one clear sentence per fault, otherwise plain arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from longtail.errors import DataError, ParameterError


def hashes(ids: Sequence[str] | None, n_docs: int, seed: int) -> np.ndarray:
    """A stable non-negative 63-bit hash of (seed, id) per document, `(n_docs,)` int64.

    Raises:
        ParameterError: `seed` is not an integer.
        DataError: not one id per document, or an id occurs more than once.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ParameterError(f"`seed` must be an integer, got {seed!r}.")
    names = [str(i) for i in (range(n_docs) if ids is None else ids)]
    if len(names) != n_docs:
        raise DataError(
            f"`ids` must have one entry per document: expected {n_docs}, got {len(names)}."
        )
    if len(set(names)) != n_docs:
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore
        raise DataError(f"`ids` must be unique, but {twice!r:.80} occurs more than once.")
    key = str(int(seed)).encode()
    digests = (hashlib.blake2b(i.encode(), digest_size=8, key=key).digest() for i in names)
    return (np.frombuffer(b"".join(digests), ">u8") >> np.uint64(1)).astype(np.int64)


def group_codes(groups: Sequence[Hashable] | None, n_docs: int) -> np.ndarray:
    """Group numbers `(n_docs,)` int64; None and NaN get a number of their own.

    Raises:
        DataError: not one group per document.

    >>> group_codes(["a", None, "a", "b", None], 5).tolist()
    [0, 1, 0, 2, 3]
    """
    if groups is None:
        return np.arange(n_docs)
    if len(groups) != n_docs:
        raise DataError(
            f"`groups` must have one entry per document: expected {n_docs}, got {len(groups)}."
        )
    codes: dict[Any, int] = {}
    alone = (g is None or g != g for g in groups)
    return np.array(
        [
            codes.setdefault(("row", i) if single else ("group", g), len(codes))
            for i, (g, single) in enumerate(zip(groups, alone, strict=True))
        ],
        dtype=np.int64,
    )


def checked_labels(labels: sp.csr_matrix) -> sp.csr_matrix:
    """A canonical 0/1 CSR int32 copy of `labels` `(n_docs, n_labels)`.

    Raises:
        DataError: not sparse, or values other than 0 and 1.
    """
    if not sp.issparse(labels):
        raise DataError(f"`labels` must be a scipy sparse matrix, got {type(labels).__name__}.")
    labels = sp.csr_matrix(labels, copy=True)
    labels.sum_duplicates()
    if np.isnan(labels.data.astype(float)).any():
        raise DataError("`labels` contains NaN; expected 0 and 1 only.")
    labels.eliminate_zeros()
    if (labels.data != 1).any():
        wrong = labels.data[labels.data != 1][0]
        raise DataError(f"`labels` must be binary (0 and 1), got the value {wrong}.")
    return labels.astype(np.int32)


def checked_fractions(fractions: Sequence[float]) -> np.ndarray:
    """The fractions as an array `(n_parts,)` with a sum of exactly 1.

    Raises:
        ParameterError: fewer than 2 or more than 127 parts, negative, NaN, or a sum other than 1.
    """
    shares = np.asarray(fractions, dtype=float)
    if shares.ndim != 1 or len(shares) < 2:
        raise ParameterError(f"`fractions` needs at least two parts, got {fractions!r}.")
    if len(shares) > 127:
        raise ParameterError(f"`fractions` allows at most 127 parts, got {len(shares)}.")
    if np.isnan(shares).any():
        raise ParameterError(f"`fractions` contains NaN: {list(fractions)}.")
    if (shares < 0).any():
        raise ParameterError(f"`fractions` must not be negative, got {list(fractions)}.")
    if abs(shares.sum() - 1) > 1e-6:
        raise ParameterError(f"`fractions` must sum to 1, got {list(fractions)}: {shares.sum():g}.")
    return shares / shares.sum()


def checked_fixed(fixed: np.ndarray | None, n_docs: int, k: int, name: str = "fixed") -> np.ndarray:
    """The part of each document, -1 for a free one, `(n_docs,)` int8; all free for None.

    Raises:
        DataError: not one value per document, or not -1 or one of the `k` parts.
    """
    if fixed is None:
        return np.full(n_docs, -1, np.int8)
    given = np.asarray(fixed)
    if given.shape != (n_docs,):
        raise DataError(
            f"`{name}` must have shape ({n_docs},), one part per document, got {given.shape}."
        )
    wrong = ~np.isin(given, np.arange(-1, k))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"`{name}` must be -1 (free) or a part 0..{k - 1}, got {given[row]} in row {row}."
        )
    return given.astype(np.int8)
