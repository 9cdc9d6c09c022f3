"""The share of new words, and what it would be without drift."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.drift.psi import Draws

WORD = re.compile(r"\w+")
BLOCK_WORDS = 2_000_000


@dataclass(frozen=True)
class Unknown:
    """The words of the new documents that no document of the reference has.

    Attributes:
        share: of all words of the new documents, repetitions counted, in [0, 1].
        expected: the mean share without drift; some words occur in one document only.
        p: p-value of the permutation test, in (0, 1].
    """

    share: float
    expected: float
    p: float


def lengths(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """The number of words of each text, `(n_docs,)`."""
    return np.array([len(WORD.findall(text)) for text in texts], dtype=np.int64)


def unknown_words(texts: Sequence[str], draws: Draws) -> Unknown:
    """Measure how many words of the new texts are unknown to the reference, ignoring case.

    Args:
        texts: of both samples, reference first.
        draws: which of them are new.
    """
    counts = draws.by_unit(_counted(texts))
    total = np.asarray(counts.sum(axis=0)).ravel()
    width = max(1, int(np.diff(counts.indptr).mean()) * draws.n_new)
    shares = np.concatenate(
        [_unknown(counts, total, rows) for rows in draws.chosen(max(1, BLOCK_WORDS // width))]
    )
    observed, null = shares[0], shares[1:]
    p = (1 + np.count_nonzero(null >= observed)) / (1 + len(null))
    return Unknown(float(observed), float(null.mean()), p)


def _counted(texts: Sequence[str]) -> sp.csr_matrix:
    """How often each word occurs in each text, `(n_docs, n_words)`."""
    columns: dict[str, int] = {}
    indptr, indices = [0], list[int]()
    data: list[int] = []
    for text in texts:
        found = Counter(WORD.findall(text.lower()))
        indices += [columns.setdefault(word, len(columns)) for word in found]
        data += found.values()
        indptr.append(len(indices))
    shape = (len(texts), len(columns))
    return sp.csr_matrix((np.array(data, dtype=np.float64), indices, indptr), shape)


def _unknown(
    counts: sp.csr_matrix, total: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The share of unknown words `(n_draws,)` for the drawn units `(n_draws, n_new)`."""
    places = np.repeat(np.arange(len(rows)), rows.shape[1])
    shape = (len(rows), counts.shape[0])
    drawn = sp.csr_matrix((np.ones(rows.size), (places, rows.ravel())), shape)
    found = (drawn @ counts).tocsr()
    words = np.asarray(found.sum(axis=1)).ravel()
    found.data[found.data < total[found.indices]] = 0  # the reference has some of them
    return np.asarray(found.sum(axis=1)).ravel() / np.maximum(words, 1)
