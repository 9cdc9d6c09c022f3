"""Counts that everything for the long tail is built from: per label, per pair, per document."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp


def class_frequencies(targets: sp.csr_matrix) -> np.ndarray:
    """Documents of each label, int64 `(n_labels,)`, from 0/1 targets `(n_docs, n_labels)`."""
    return np.bincount(targets.indices, minlength=targets.shape[1]).astype(np.int64)


def cooccurrence(targets: sp.csr_matrix) -> sp.csr_matrix:
    """Documents that carry both labels, int64 `(n_labels, n_labels)`; the diagonal is n_i."""
    wide = targets.astype(np.int64)
    return (wide.T @ wide).tocsr()


def statistics(targets: sp.csr_matrix) -> dict[str, Any]:
    """Documents, labels in use, labels per document and documents per label of one part."""
    per_doc = np.diff(targets.indptr)
    per_label = class_frequencies(targets)
    used = per_label[per_label > 0]
    return {
        "documents": int(targets.shape[0]),
        "labels": int(len(used)),
        "labels_per_document": _spread(per_doc),
        "documents_per_label": _spread(used),
    }


def _spread(counts: np.ndarray) -> dict[str, float]:
    if not len(counts):
        return {"mean": 0.0, "median": 0.0, "min": 0, "max": 0}
    return {
        "mean": round(float(counts.mean()), 4),
        "median": float(np.median(counts)),
        "min": int(counts.min()),
        "max": int(counts.max()),
    }
