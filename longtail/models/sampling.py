"""Which documents the classifiers of a few labels learn from, where there are very many."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def sampled_documents(
    targets: sp.csc_matrix, negatives: int, seed: list[int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """All documents that have one of the labels, and some of the others, which count for all.

    Each of the n others is drawn with probability `negatives` / n and counts n / `negatives`, so
    every sum over documents, such as the objective of an SVM, has the expected value that it would
    have with all of them (Horvitz & Thompson 1952, "A generalization of sampling without
    replacement from a finite universe"). The documents of its neighbors in `targets` are among a
    label's negatives with certainty.

    Args:
        targets: 0/1 `(n_docs, n_labels)` of the labels that learn from the same documents.
        negatives: documents without any of the labels, at most.
        seed: of the draw.

    Returns:
        Rows, ascending, and what each of them counts, `(n_rows,)` float32, at least 1; None if all
        documents are learned from.
    """
    others = np.ones(targets.shape[0], dtype=bool)
    others[targets.indices] = False
    n_others = int(others.sum())
    if n_others <= negatives:
        return None
    left_out = np.random.default_rng(seed).choice(
        np.flatnonzero(others), n_others - negatives, replace=False, shuffle=False
    )
    kept = np.ones(len(others), dtype=bool)
    kept[left_out] = False
    rows = np.flatnonzero(kept)
    counts = np.where(others[rows], n_others / negatives, 1).astype(np.float32)
    return rows, counts
