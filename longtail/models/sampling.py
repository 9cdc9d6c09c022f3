"""Learning from some of the negatives, where there are very many, as if from all of them.

Every sum over documents (the objective of an SVM), or over labels (the loss of a batch), has the
expected value that it would have with all of them: what is drawn counts for what is not (Horvitz &
Thompson 1952, "A generalization of sampling without replacement from a finite universe").
"""

from __future__ import annotations

import numpy as np


def sampled(
    kept: np.ndarray, others: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """All that are to be kept, and some of the others: each of n counts n / `others`.

    Args:
        kept: `(n,)` bool.
        others: how many are drawn, at least 1, without replacement.
        rng: draws.

    Returns:
        Positions, ascending, and what each of them counts, float32, at least 1; None if there are
        no more others than that, so that nothing is left out.
    """
    rest = np.flatnonzero(~kept)
    if len(rest) <= others:
        return None
    drawn = kept.copy()
    drawn[rng.choice(rest, others, replace=False, shuffle=False)] = True
    positions = np.flatnonzero(drawn)
    counts = np.where(kept[positions], 1, len(rest) / others).astype(np.float32)
    return positions, counts
