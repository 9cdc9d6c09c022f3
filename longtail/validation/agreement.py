"""How far annotators agree who labelled the same documents.

Krippendorff's alpha (Krippendorff 2011, "Computing Krippendorff's alpha-reliability"): 1 −
observed / expected disagreement; 1 is full agreement, 0 what chance gives. Distance between label
sets: MASI (Passonneau 2006), 1 − Jaccard index × monotonicity, with the constants of nltk's
`masi_distance`, 0.67 and 0.33. nltk's `AnnotationTask` gives the same alpha (tested) but compares
label sets one by one in Python; here distinct sets are compared through one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.sparse as sp

LEAST_SWAPS = 2


@dataclass(frozen=True)
class Judgements:
    """One row per (document, annotator): who gave which labels.

    `document` and `annotator` are `(n_rows,)` int codes, `targets` `(n_rows, n_labels)` 0/1 CSR.
    """

    document: np.ndarray
    annotator: np.ndarray
    targets: sp.csr_matrix

    def shared(self) -> Judgements:
        """Only documents that at least two rows judge."""
        several = np.bincount(self.document)[self.document] > 1 if len(self.document) else []
        rows = np.flatnonzero(several)
        return Judgements(self.document[rows], self.annotator[rows], self.targets[rows])


@dataclass(frozen=True)
class Swap:
    """Two labels of which one annotator gives the one where another gives the other."""

    labels: tuple[int, int]
    count: int
    lift: float


def masi_distances(targets: sp.csr_matrix, others: sp.csr_matrix) -> np.ndarray:
    """MASI distance of each row of `targets` to each row of `others`, `(n, m)` float in [0, 1].

    Two empty sets are equal (distance 0); nltk divides by zero there.
    """
    a, b = (m.astype(np.float64).tocsr() for m in (targets, others))
    common = np.asarray((a @ b.T).todense())
    size_a, size_b = np.asarray(a.sum(axis=1)), np.asarray(b.sum(axis=1)).T
    union = size_a + size_b - common
    subset = (common == size_a) | (common == size_b)
    weight = np.where(common == union, 1.0, np.where(subset, 0.67, np.where(common > 0, 0.33, 0)))
    jaccard = np.divide(common, union, out=np.ones_like(common), where=union > 0)
    return 1 - jaccard * weight


def overall_alpha(judgements: Judgements) -> float:
    """Krippendorff's alpha over label sets with MASI distance; NaN where nobody shares a document.

    Where every judgement is the same set, alpha is 1, as nltk has it.
    """
    shared = judgements.shared()
    if not len(shared.document):
        return float("nan")
    kinds, kind = _distinct(shared.targets)
    count = np.bincount(kind)
    expected = _mean_distance(kinds, count)
    if expected == 0:
        return 1.0
    _, observed, rows = _within(shared)
    return 1 - float(np.average(observed, weights=rows)) / expected


def label_alphas(judgements: Judgements) -> np.ndarray:
    """Nominal alpha of each label taken alone (given or not), `(n_labels,)` float.

    NaN for a label that no shared document has or all have: chance expects no disagreement.
    """
    shared = judgements.shared()
    n_labels = judgements.targets.shape[1]
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


def annotator_agreement(judgements: Judgements) -> dict[int, tuple[int, float]]:
    """Annotator → (documents shared, mean MASI similarity with the others' sets for them)."""
    shared = judgements.shared()
    sums: dict[int, list[float]] = {}
    for rows, distance in _documents(shared):
        means = distance.sum(axis=1) / (len(rows) - 1)
        for row, mean in zip(rows, means, strict=True):
            sums.setdefault(int(shared.annotator[row]), []).append(1 - mean)
    return {who: (len(all_), float(np.mean(all_))) for who, all_ in sorted(sums.items())}


def disagreements(judgements: Judgements, n_docs: int) -> np.ndarray:
    """Mean MASI distance between each document's judgements, `(n_docs,)`, 0 with fewer than 2."""
    result = np.zeros(n_docs)
    shared = judgements.shared()
    documents, observed, _ = _within(shared)
    result[documents] = observed
    return result


def swapped_labels(judgements: Judgements) -> list[Swap]:
    """Label pairs of which one annotator gives the one and another only the other, most first.

    `lift` compares the count with what the two labels' disputes would give by chance; pairs with
    a lift of 1 or less are left out, and so are those seen once.
    """
    shared = judgements.shared()
    pairs = [pair for rows in _rows_by_document(shared) for pair in combinations(rows, 2)]
    if not pairs:
        return []
    a, b = (shared.targets[list(side)].astype(np.int32) for side in zip(*pairs, strict=True))
    only_a, only_b = a > a.multiply(b), b > a.multiply(b)
    swaps = only_a.T.astype(np.int64) @ only_b.astype(np.int64)
    swaps = sp.coo_matrix(sp.triu(swaps + swaps.T, k=1))
    disputed = np.asarray(only_a.sum(axis=0) + only_b.sum(axis=0)).ravel().astype(float)
    chance = disputed[swaps.row] * disputed[swaps.col] / max(disputed.sum(), 1)
    found = [
        Swap((int(i), int(j)), int(n), float(n / c))
        for i, j, n, c in zip(swaps.row, swaps.col, swaps.data, chance, strict=True)
        if n >= LEAST_SWAPS and n > c
    ]
    return sorted(found, key=lambda swap: (-swap.count, -swap.lift, swap.labels))


def _rows_by_document(judgements: Judgements) -> list[np.ndarray]:
    order = np.argsort(judgements.document, kind="stable")
    cuts = np.flatnonzero(np.diff(judgements.document[order])) + 1
    return [rows for rows in np.split(order, cuts) if len(rows) > 1]


def _documents(shared: Judgements) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each document's rows and the distances between them."""
    groups = _rows_by_document(shared)
    return [(rows, masi_distances(shared.targets[rows], shared.targets[rows])) for rows in groups]


def _within(shared: Judgements) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per document: its code, the mean distance between its judgements, their number."""
    groups = _documents(shared)
    codes = np.array([shared.document[rows[0]] for rows, _ in groups], dtype=np.int64)
    rows = np.array([len(rows) for rows, _ in groups], dtype=np.int64)
    means = [d.sum() / (len(r) * (len(r) - 1)) for r, d in groups]
    return codes, np.array(means, dtype=float), rows


def _per_document(shared: Judgements) -> tuple[sp.csr_matrix, np.ndarray]:
    """How often each document was given each label, and by how many rows it was judged."""
    _, code = np.unique(shared.document, return_inverse=True)
    member = sp.csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))))
    return sp.csr_matrix(member @ shared.targets), np.bincount(code)


def _distinct(targets: sp.csr_matrix) -> tuple[sp.csr_matrix, np.ndarray]:
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


def _mean_distance(kinds: sp.csr_matrix, count: np.ndarray, block: int = 1000) -> float:
    """Mean MASI distance between two different judgements out of all, in blocks of rows."""
    weight = np.asarray(count, dtype=float)
    total = 0.0
    for start in range(0, len(weight), block):
        rows = slice(start, start + block)
        total += float(weight[rows] @ masi_distances(kinds[rows], kinds) @ weight)
    return total / (weight.sum() * (weight.sum() - 1))
