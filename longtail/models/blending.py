"""Mixes the scores of the model with those of the linear baseline."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, logit

from longtail.evaluation.selection import validation_f1

WEIGHTS = tuple(np.linspace(0, 0.9, 19).round(2).tolist())


def blend(model: np.ndarray, baseline: np.ndarray, weight: float) -> np.ndarray:
    """σ((1 − weight) · logit(model) + weight · logit(baseline)), float32 `(n_docs, n_labels)`.

    Both are scores σ(z); logits are mixed, since a margin and a logit both live on the real line
    while their σ have very different spreads. `weight` in [0, 1) is the baseline's.
    """
    if weight == 0:
        return np.asarray(model)
    # Scores at exactly 0 or 1 have no finite logit; float32 cannot tell them from these bounds.
    z, margin = (logit(np.clip(x, 1e-7, 1 - 1e-7)) for x in (model, baseline))
    return expit((1 - weight) * z + weight * margin).astype(np.float32)


def best_weight(
    model: np.ndarray, baseline: np.ndarray, targets: sp.csr_matrix, *, objective: str = "mean_f1"
) -> float:
    """The baseline's weight with the best val `objective`; the smallest of equally good ones."""
    gains = [validation_f1(blend(model, baseline, w), targets)[objective] for w in WEIGHTS]
    return WEIGHTS[int(np.argmax(gains))]
