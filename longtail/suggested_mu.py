"""The rule of thumb for μ of the rebalanced losses; kept apart from them, as it needs no torch."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from longtail.errors import DataError


def suggest_mu(targets: sparse.csr_matrix, class_freq: np.ndarray) -> float:
    """μ for `r_fl`, `db_0fl` and `db`: the mean of mean and median of r over the positive pairs.

    r = (1/n_i) / Σ_{j: y_j=1} 1/n_j (see `losses.weights.Rebalanced`), so documents with one label
    have r = 1, and the mean over pairs is n_labelled_docs / n_pairs.

    targets: CSR (n_docs, n_labels), stored entries other than 0 are positives; class_freq
    (n_labels,): positives of each label in train. Returns a float in (0, 1]. DataError where the
    shapes do not fit, no pair is positive, or a positive's label has frequency 0.
    """
    positives = sparse.csr_matrix(targets, dtype=bool, copy=True)
    positives.sum_duplicates()
    positives.eliminate_zeros()
    n = np.asarray(class_freq, dtype=np.float64)
    if n.shape != (positives.shape[1],):
        raise DataError(f"class_freq must have shape ({positives.shape[1]},), got {n.shape}.")
    if not positives.nnz:
        raise DataError("targets has no positive pair, so μ cannot be suggested: set it by hand.")
    counts = n[positives.indices]
    if not (counts > 0).all():
        label = positives.indices[~(counts > 0)][0]
        raise DataError(f"class_freq[{label}] is {n[label]}, but the label occurs in targets: "
                        "give the counts of the same training part.")
    inverse = np.divide(1.0, n, out=np.zeros_like(n), where=n > 0)
    r = 1 / counts / np.repeat(positives @ inverse, np.diff(positives.indptr))
    return float((r.mean() + np.median(r)) / 2)
