"""Measures how far annotators of the same documents agree.

Krippendorff's alpha (Krippendorff 2011, "Computing Krippendorff's alpha-reliability") is 1 −
observed / expected disagreement: 1 is full agreement, 0 is chance. The distance between label sets
is MASI (Passonneau 2006): 1 − Jaccard index × monotonicity (1 if equal, 2/3 for a subset, 1/3 for
an overlap). nltk's `AnnotationTask` with `masi_distance` gives the same alpha (tested), but it
compares label sets one by one in Python; here all pairs go through sparse products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

LEAST_SWAPS = 2
PAIRS = 4_000_000  # compared for the expected disagreement, at most
PAIRS_AT_A_TIME = 200_000


@dataclass(frozen=True)
class Judgments:
    """Who gave which labels, one row per document and annotator.

    Attributes:
        document: `(n_rows,)` int codes.
        annotator: `(n_rows,)` int codes.
        targets: 0/1 CSR `(n_rows, n_labels)`.
    """

    document: np.ndarray
    annotator: np.ndarray
    targets: sp.csr_matrix

    def several(self) -> np.ndarray:
        """Whether each row's document has at least two rows, `(n_rows,)` bool."""
        return np.bincount(self.document, minlength=1)[self.document] > 1

    def rows(self, rows: np.ndarray) -> Judgments:
        """Only these rows."""
        return Judgments(self.document[rows], self.annotator[rows], self.targets[rows])

    def shared(self) -> Judgments:
        """Only the rows of documents that have at least two."""
        return self.rows(np.flatnonzero(self.several()))


@dataclass(frozen=True)
class Swap:
    """Two labels where one annotator gives the first and another gives the second."""

    labels: tuple[int, int]
    count: int
    lift: float


def masi_distances(targets: sp.csr_matrix, others: sp.csr_matrix) -> np.ndarray:
    """MASI distance between each row of `targets` and each row of `others`.

    Two empty sets are equal (distance 0); nltk divides by zero there.

    Args:
        targets: 0/1 `(n_rows, n_labels)`.
        others: 0/1 `(n_others, n_labels)`.

    Returns:
        `(n_rows, n_others)` float in [0, 1].

    >>> sets = sp.csr_matrix([[1, 1, 0], [1, 0, 0], [0, 0, 1]])
    >>> masi_distances(sets[:1], sets).round(2).tolist()  # equal, a subset, nothing in common
    [[0.0, 0.67, 1.0]]
    """
    a, b = (m.astype(np.float64).tocsr() for m in (targets, others))
    size_a, size_b = np.asarray(a.sum(axis=1)), np.asarray(b.sum(axis=1)).T
    return _masi(np.asarray((a @ b.T).todense()), size_a, size_b)


def _masi(common: np.ndarray, size_a: np.ndarray, size_b: np.ndarray) -> np.ndarray:
    union = size_a + size_b - common
    subset = (common == size_a) | (common == size_b)
    some = np.where(common > 0, 1 / 3, 0)
    weight = np.where(common == union, 1.0, np.where(subset, 2 / 3, some))
    jaccard = np.divide(common, union, out=np.ones_like(common), where=union > 0)
    return 1 - jaccard * weight


def overall_alpha(judgments: Judgments) -> float:
    """Krippendorff's alpha over label sets with MASI distance; NaN if nobody shares a document.

    If every judgment is the same set, alpha is 1, as in nltk.
    """
    shared = judgments.shared()
    if not len(shared.document):
        return float("nan")
    kinds, kind = distinct_rows(shared.targets)
    count = np.bincount(kind)
    expected = _mean_distance(kinds, count)
    if expected == 0:
        return 1.0
    observed = _mean_to_others(shared)  # the mean over rows weighs a document by its rows
    return 1 - float(observed.mean()) / expected


def label_alphas(judgments: Judgments) -> np.ndarray:
    """Nominal alpha of each label taken alone (given or not), `(n_labels,)` float.

    NaN for a label that no shared document has, or all have: chance expects no disagreement.
    """
    shared = judgments.shared()
    n_labels = judgments.targets.shape[1]
    if not len(shared.document):
        return np.full(n_labels, np.nan)
    given, rows = _per_document(shared)
    refused = given.copy()
    refused.data = (np.repeat(rows, np.diff(given.indptr)) - given.data).astype(float)
    weight = sp.diags_array(2 / (rows - 1.0))
    observed = np.asarray((weight @ given.multiply(refused)).sum(axis=0)).ravel()
    n, ones = rows.sum(), np.asarray(given.sum(axis=0)).ravel()
    expected = 2 * ones * (n - ones) / (n - 1)
    return 1 - np.divide(observed, expected, out=np.full(n_labels, np.nan), where=expected > 0)


def annotator_agreement(judgments: Judgments) -> dict[int, tuple[int, float]]:
    """Annotator to (documents shared, mean MASI similarity to what others gave to them)."""
    shared = judgments.shared()
    similarity = 1 - _mean_to_others(shared)
    who, row, n = np.unique(shared.annotator, return_inverse=True, return_counts=True)
    mean = np.bincount(row, similarity) / n if len(n) else similarity
    return {int(a): (int(k), float(s)) for a, k, s in zip(who, n, mean, strict=True)}


def pair_alphas(judgments: Judgments, most: int) -> list[tuple[int, int, int, float]]:
    """Alpha of two annotators alone, for the pairs that share most documents.

    Args:
        judgments: at most one row per document and annotator.
        most: pairs, at most.

    Returns:
        Two annotators, the smaller code first, the documents they share, and their alpha; those who
        agree least first.
    """
    shared = judgments.shared()
    shape = (int(shared.document.max(initial=-1)) + 1, int(shared.annotator.max(initial=-1)) + 1)
    member = sp.csr_matrix(
        (np.ones(len(shared.document)), (shared.document, shared.annotator)), shape
    )
    both = sp.coo_matrix(sp.triu(member.T @ member, k=1))
    order = np.lexsort((both.col, both.row, -both.data))[:most]
    found = []
    for a, b, n in zip(both.row[order], both.col[order], both.data[order], strict=True):
        own = shared.rows(np.flatnonzero((shared.annotator == a) | (shared.annotator == b)))
        found.append((int(a), int(b), int(n), overall_alpha(own)))
    return sorted(found, key=lambda row: (row[3], row[:2]))


def swap_documents(judgments: Judgments, swap: Swap) -> np.ndarray:
    """The documents to which one annotator gave only the first label and another the second."""
    shared = judgments.shared()
    first, second = (np.asarray(shared.targets[:, [i]].todense()).ravel() > 0 for i in swap.labels)
    only_first, only_second = shared.document[first & ~second], shared.document[second & ~first]
    return np.intersect1d(only_first, only_second)


def disagreements(judgments: Judgments, n_docs: int) -> np.ndarray:
    """Mean MASI distance between each document's judgments, `(n_docs,)`; 0 with fewer than two."""
    shared = judgments.shared()
    total = np.bincount(shared.document, _mean_to_others(shared), minlength=n_docs)
    return total / np.maximum(np.bincount(shared.document, minlength=n_docs), 1)


def swapped_labels(judgments: Judgments) -> list[Swap]:
    """Label pairs where one annotator gives only the first and another only the second.

    `lift` compares the count with what chance would give, given how often the two labels are
    disputed. Pairs with a lift of 1 or less, or seen only once, are left out.

    Returns:
        The pairs, most frequent first.
    """
    shared = judgments.shared()
    pairs = _pairs(shared)
    a, b = (shared.targets[rows].astype(np.int64) for rows in pairs)
    only_a, only_b = a > a.multiply(b), b > a.multiply(b)
    swaps = only_a.astype(np.int64).T @ only_b.astype(np.int64)
    swaps = sp.coo_matrix(sp.triu(swaps + swaps.T, k=1))
    disputed = np.asarray(only_a.sum(axis=0) + only_b.sum(axis=0)).ravel().astype(float)
    chance = disputed[swaps.row] * disputed[swaps.col] / max(disputed.sum(), 1)
    found = [
        Swap((int(i), int(j)), int(n), float(n / c))
        for i, j, n, c in zip(swaps.row, swaps.col, swaps.data, chance, strict=True)
        if n >= LEAST_SWAPS and n > c
    ]
    return sorted(found, key=lambda swap: (-swap.count, -swap.lift, swap.labels))


def _pairs(shared: Judgments) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of rows about the same document, as two `(n_pairs,)` arrays of rows."""
    order = np.argsort(shared.document, kind="stable")
    document = shared.document[order]
    found = []
    for apart in range(1, int(np.bincount(document).max(initial=1))):
        same = np.flatnonzero(document[apart:] == document[:-apart])
        found.append(np.stack([order[same], order[same + apart]]))
    first, second = np.hstack(found) if found else np.zeros((2, 0), dtype=np.int64)
    return first, second


def _mean_to_others(shared: Judgments) -> np.ndarray:
    """Mean MASI distance from each row to the other rows of its document, `(n_rows,)`."""
    first, second = _pairs(shared)
    distance = _paired_distances(shared.targets, first, second)
    ends, n_rows = np.concatenate([first, second]), len(shared.document)
    total = np.bincount(ends, np.tile(distance, 2), minlength=n_rows)
    return total / np.maximum(np.bincount(ends, minlength=n_rows), 1)


def _per_document(shared: Judgments) -> tuple[sp.csr_matrix, np.ndarray]:
    """How often each document was given each label, and its number of rows."""
    _, code = np.unique(shared.document, return_inverse=True)
    member = sp.csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))))
    return sp.csr_matrix(member @ shared.targets), np.bincount(code)


def distinct_rows(targets: sp.csr_matrix) -> tuple[sp.csr_matrix, np.ndarray]:
    """The distinct rows and which of them each row is."""
    seen: dict[bytes, int] = {}
    first: list[int] = []
    kind = np.empty(targets.shape[0], dtype=np.int64)
    for row in range(targets.shape[0]):
        key = np.sort(targets.indices[targets.indptr[row] : targets.indptr[row + 1]]).tobytes()
        kind[row] = seen.setdefault(key, len(seen))
        if kind[row] == len(first):
            first.append(row)
    return targets[first], kind


def _mean_distance(kinds: sp.csr_matrix, count: np.ndarray, most_pairs: int = PAIRS) -> float:
    """Mean MASI distance between any two different judgments.

    Exact if there are at most `most_pairs` pairs of kinds, otherwise the mean of as many random
    pairs of judgments, whose standard error is at most 0.5 / √most_pairs = 0.00025.

    Args:
        kinds: the distinct label sets, 0/1 `(n_kinds, n_labels)`.
        count: judgments of each kind `(n_kinds,)`, two in all at least.
        most_pairs: pairs compared, at most.
    """
    n = int(count.sum())
    if len(count) ** 2 <= most_pairs:
        return float(count @ masi_distances(kinds, kinds) @ count) / (n * (n - 1))
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(len(count)), count)
    total = 0.0
    for start in range(0, most_pairs, PAIRS_AT_A_TIME):
        size = min(PAIRS_AT_A_TIME, most_pairs - start)
        first = rng.integers(n, size=size)
        second = (first + rng.integers(1, n, size=size)) % n  # never the same judgment
        total += float(_paired_distances(kinds, kind[first], kind[second]).sum())
    return total / most_pairs


def _paired_distances(targets: sp.csr_matrix, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """MASI distance between rows `first` and rows `second`, `(n_pairs,)`."""
    size = np.asarray(targets.sum(axis=1), dtype=float).ravel()
    common = np.asarray(targets[first].multiply(targets[second]).sum(axis=1), dtype=float).ravel()
    return _masi(common, size[first], size[second])
