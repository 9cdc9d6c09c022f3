"""Label counts and what follows from them: groups HEAD, MEDIUM, TAIL, and a suggested μ."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import DataError, ParameterError

FREQUENCY_GROUPS = ("HEAD", "MEDIUM", "TAIL")


def class_frequencies(targets: sp.csr_matrix) -> np.ndarray:
    """Documents per label, `(n_labels,)` int64, of 0/1 targets `(n_docs, n_labels)`."""
    return np.bincount(targets.indices, minlength=targets.shape[1]).astype(np.int64)


def cooccurrence(targets: sp.csr_matrix) -> sp.csr_matrix:
    """Documents that carry both labels, `(n_labels, n_labels)` int64; the diagonal is n_i."""
    wide = targets.astype(np.int64)
    return (wide.T @ wide).tocsr()


def statistics(targets: sp.csr_matrix) -> dict[str, Any]:
    """Counts of one part: documents, labels in use, labels per document, documents per label."""
    per_doc = np.diff(targets.indptr)
    per_label = class_frequencies(targets)
    used = per_label[per_label > 0]
    return {
        "documents": int(targets.shape[0]),
        "labels": int(len(used)),
        "labels_per_document": _spread(per_doc),
        "documents_per_label": _spread(used),
    }


def frequency_groups(
    class_freq: npt.ArrayLike, *, head: int = 35, tail: int = 8
) -> npt.NDArray[np.str_]:
    """Sort labels into HEAD, MEDIUM and TAIL by their number of train documents.

    Args:
        class_freq: `(n_labels,)` positives of each label in train.
        head: a label with at least this many is in HEAD.
        tail: a label with at most this many is in TAIL; must be less than `head`.

    Returns:
        The group of each label, `(n_labels,)` str.

    Raises:
        ParameterError: head <= tail.

    >>> frequency_groups([120, 20, 3], head=35, tail=8).tolist()
    ['HEAD', 'MEDIUM', 'TAIL']
    """
    freq = np.asarray(class_freq)
    if head <= tail:
        raise ParameterError(f"head must be greater than tail, got head={head}, tail={tail}.")
    return np.where(freq >= head, "HEAD", np.where(freq <= tail, "TAIL", "MEDIUM"))


def frequency_cutoffs(
    class_freq: npt.ArrayLike, quantiles: tuple[float, float] = (1 / 3, 2 / 3)
) -> tuple[int, int]:
    """The cutoffs (head, tail) for `frequency_groups` at two quantiles of the label frequencies.

    Args:
        class_freq: `(n_labels,)` positives of each label in train.
        quantiles: (lower, upper), 0 <= lower < upper <= 1. About `lower` of the labels become TAIL
            and about 1 - `upper` become HEAD; labels of the same frequency stay together.

    Raises:
        ParameterError: quantiles out of range or order.
        DataError: there is no label.
    """
    lower, upper = quantiles
    if not 0 <= lower < upper <= 1:
        raise ParameterError(f"quantiles must satisfy 0 <= lower < upper <= 1, got {quantiles}.")
    freq = np.asarray(class_freq)
    if freq.size == 0:
        raise DataError("class_freq is empty: there is no label to take quantiles of.")
    tail, head = (int(np.quantile(freq, q, method="inverted_cdf")) for q in (lower, upper))
    return max(head, tail + 1), tail


def suggest_mu(targets: sp.csr_matrix, class_freq: np.ndarray) -> float:
    """Suggest μ for `r_fl`, `db_0fl` and `db`: halfway between mean and median of r over all pairs.

    A pair is a document and one of its labels, and r = (1/n_i) / Σ_{j: y_j=1} 1/n_j (see
    `losses.weights.Rebalanced`). A document with one label has r = 1, and the mean over pairs is
    n_labeled_docs / n_pairs.

    Args:
        targets: CSR `(n_docs, n_labels)`; stored entries other than 0 are positives.
        class_freq: `(n_labels,)` positives of each label in train.

    Returns:
        A float in (0, 1].

    Raises:
        DataError: the shapes differ, no pair is positive, or a positive's label has frequency 0.

    >>> targets = sp.csr_matrix([[1, 0], [1, 1], [1, 0]])
    >>> round(suggest_mu(targets, class_frequencies(targets)), 3)
    0.812
    """
    positives = sp.csr_matrix(targets, dtype=bool, copy=True)
    positives.sum_duplicates()
    positives.eliminate_zeros()
    n = np.asarray(class_freq, dtype=np.float64)
    if n.shape != (positives.shape[1],):
        raise DataError(f"class_freq must have shape ({positives.shape[1]},), got {n.shape}.")
    if not positives.nnz:
        raise DataError("targets has no positive pair, so μ cannot be suggested.")
    counts = n[positives.indices]
    if not (counts > 0).all():
        label = positives.indices[~(counts > 0)][0]
        raise DataError(
            f"class_freq[{label}] is {n[label]}, but the label occurs in targets: "
            "give the counts of the same training part."
        )
    inverse = np.divide(1.0, n, out=np.zeros_like(n), where=n > 0)
    r = 1 / counts / np.repeat(positives @ inverse, np.diff(positives.indptr))
    return float((r.mean() + np.median(r)) / 2)


def _spread(counts: np.ndarray) -> dict[str, float]:
    if not len(counts):
        return {"mean": 0.0, "median": 0.0, "min": 0, "max": 0}
    return {
        "mean": round(float(counts.mean()), 4),
        "median": float(np.median(counts)),
        "min": int(counts.min()),
        "max": int(counts.max()),
    }
