"""Mixes the scores of the model with those of the linear baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, logit

from longtail.evaluation.selection import validation_f1

WEIGHTS = tuple(np.linspace(0, 0.9, 19).round(2).tolist())


def blend(model: np.ndarray, baseline: np.ndarray, weight: float) -> np.ndarray:
    """Mix two matrices of scores: σ((1 − weight) · logit(model) + weight · logit(baseline)).

    Logits are mixed rather than scores, because a margin and a logit both live on the real line
    while their σ have very different spreads.

    Args:
        model: σ(z) `(n_docs, n_labels)`.
        baseline: σ(margin) `(n_docs, n_labels)`.
        weight: the baseline's, in [0, 1).

    Returns:
        `(n_docs, n_labels)` float32; `model` itself if the weight is 0.

    >>> blend(np.array([[0.5]]), np.array([[0.9]]), 0.5).round(2).tolist()
    [[0.75]]
    """
    if weight == 0:
        return np.asarray(model)
    return _mix(_logit(model), _logit(baseline), weight)


def _mix(z: np.ndarray, margin: np.ndarray, weight: float) -> np.ndarray:
    return expit((1 - weight) * z + weight * margin).astype(np.float32)


def _logit(scores: np.ndarray) -> np.ndarray:
    """Logits of scores; those that are 0 or 1 in their dtype count as half its last step away.

    float32 cannot tell 1 - 1e-7 from 1, float16 not even 0.9998: taken for certainties, its ones
    would win every blend.
    """
    least = max(1e-7, float(np.finfo(scores.dtype).epsneg) / 2)
    wide = scores.astype(np.result_type(scores.dtype, np.float32), copy=False)
    return logit(np.clip(wide, least, 1 - least))


def best_weight(
    model: np.ndarray,
    baseline: np.ndarray,
    targets: sp.csr_matrix,
    *,
    objective: str = "mean_f1",
    tuning: Mapping[str, Any] | None = None,
) -> float:
    """The baseline's weight among `WEIGHTS` with the best value on val.

    Args:
        model: σ(z) `(n_docs, n_labels)` of val.
        baseline: σ(margin) `(n_docs, n_labels)` of val.
        targets: 0/1 `(n_docs, n_labels)`.
        objective: `micro_f1`, `macro_f1` or `mean_f1`; of equally good weights the smallest wins.
        tuning: of the thresholds, see `longtail.evaluation.selection.validation_f1`.
    """
    z, margin = _logit(model), _logit(baseline)  # once for all weights
    gains = [
        validation_f1(_mix(z, margin, weight) if weight else model, targets, tuning)[objective]
        for weight in WEIGHTS
    ]
    return WEIGHTS[int(np.argmax(gains))]
