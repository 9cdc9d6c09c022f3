"""Metrics of a ranking of labels per document (or of documents per label).

`scores` are float `(n_docs, n_labels)`, arrays, memory maps, or `SparseScores`, whose dropped ones
count as their bounds; `targets` are 0/1 of the same shape.
Where ranks must differ, equal scores are ranked by column, lower first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from longtail.errors import ParameterError
from longtail.evaluation.keeping import best_mask
from longtail.evaluation.score_blocks import (
    Binary,
    Floats,
    ScoreMatrix,
    binary_csr,
    check_scores,
    column_blocks,
    label_cuts,
    row_blocks,
)


def top_hits(scores: ScoreMatrix, targets: Binary, k: int) -> npt.NDArray[np.int8]:
    """Whether each of a document's k highest scores is a true label's, best first.

    Returns:
        0/1 `(n_docs, min(k, n_labels))`.

    Raises:
        ParameterError: k < 1.
    """
    found = [hit for hit, _ in _hits(scores, targets, k)]
    return np.concatenate([np.zeros((0, min(k, scores.shape[1])), dtype=np.int8), *found])


def hits_at_k(scores: ScoreMatrix, targets: Binary, k: int) -> npt.NDArray[np.int64]:
    """How many of a document's true labels are among its k highest scores, `(n_docs,)`.

    Raises:
        ParameterError: k < 1.
    """
    return top_hits(scores, targets, k).sum(axis=1, dtype=np.int64)


def precision_at_k(scores: ScoreMatrix, targets: Binary, k: int = 5) -> float:
    """Mean over documents of (true labels among the k highest scores) / k, in [0, 1].

    A document without labels counts 0. If there are fewer than k labels at all, the missing places
    count as wrong.

    Raises:
        ParameterError: k < 1.

    >>> precision_at_k(np.array([[0.9, 0.2, 0.5], [0.1, 0.8, 0.3]]), [[1, 0, 1], [1, 0, 1]], k=2)
    0.75
    """
    hits = hits_at_k(scores, targets, k)
    return float(hits.sum()) / (k * max(1, len(hits)))


def ndcg_at_k(scores: ScoreMatrix, targets: Binary, k: int = 5) -> float:
    """Mean over documents of DCG@k / ideal DCG@k, gain 0 or 1, discount 1 / log2(rank + 1).

    In [0, 1]; Järvelin and Kekäläinen (2002), in the form in use today. A document without labels
    counts 0.

    Raises:
        ParameterError: k < 1.
    """
    total = 0.0
    for hit, n_true in _hits(scores, targets, k):
        discount = 1 / np.log2(np.arange(hit.shape[1]) + 2)
        ideal = np.concatenate([[1.0], np.cumsum(discount)])[np.minimum(n_true, hit.shape[1])]
        total += float((hit @ discount / ideal).sum())
    return total / max(1, scores.shape[0])


def mean_average_precision(scores: ScoreMatrix, targets: Binary) -> float:
    """Mean over labels of average precision (the area under precision against recall), in [0, 1].

    AP = sum over distinct scores of (R_n - R_(n-1)) P_n, without interpolation. A label without
    positives has no AP and is left out of the mean; if no label has one, the result is 0.
    """
    scores = check_scores(scores)
    by_label = binary_csr(targets, "targets", scores.shape).tocsc()
    found = []
    for columns, block in column_blocks(scores, np.flatnonzero(np.diff(by_label.indptr))):
        for label, row in zip(columns, block, strict=True):
            holders = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]
            cuts = label_cuts(np.sort(row), np.sort(row[holders]), scores.dtype)
            gained = -np.diff(cuts.tp, append=0)
            found.append(float((gained * cuts.tp / cuts.n_pred).sum() / len(holders)))
    return float(np.mean(found)) if found else 0.0


def coverage_error(scores: ScoreMatrix, targets: Binary) -> float:
    """Mean length of the top of a document's ranking that holds all its true labels.

    In [0, n_labels], lower is better. Labels tied with the lowest true one all count, and a
    document without labels counts 0, as in scikit-learn.
    """
    scores = check_scores(scores)
    truth = binary_csr(targets, "targets", scores.shape)
    total = 0
    for start, block in row_blocks(scores):
        true = truth[start : start + len(block)].toarray() > 0
        lowest = np.where(true, block, np.inf).min(axis=1, initial=np.inf)
        total += int((block >= lowest[:, None]).sum())
    return total / max(1, scores.shape[0])


def top_k(scores: Floats, k: int) -> npt.NDArray[np.intp]:
    """Columns `(n_docs, min(k, n_labels))` of the highest scores, best first; ties by column."""
    k = min(k, scores.shape[1])
    columns = np.nonzero(best_mask(scores, k))[1].reshape(len(scores), k)
    order = np.argsort(-np.take_along_axis(scores, columns, 1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, 1)


def _hits(
    scores: ScoreMatrix, targets: Binary, k: int
) -> Iterator[tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]]:
    """Per block: whether each of the top k is true, `(n_rows, k)`, and true labels, `(n_rows,)`."""
    if k < 1:
        raise ParameterError(f"k must be at least 1, got {k}.")
    scores = check_scores(scores)
    truth = binary_csr(targets, "targets", scores.shape)
    for start, block in row_blocks(scores):
        true = truth[start : start + len(block)].toarray()
        yield np.take_along_axis(true, top_k(block, k), 1), true.sum(axis=1, dtype=np.int64)
