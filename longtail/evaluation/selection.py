"""How candidates (losses, weights, C of the SVM) are compared: held out, thresholds tuned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import scipy.sparse as sp

from longtail import thresholds
from longtail.evaluation import metrics
from longtail.evaluation.sparse_scores import ScoreMatrix

OBJECTIVES = ("micro_f1", "macro_f1", "mean_f1")


def validation_f1(
    scores: ScoreMatrix, targets: sp.csr_matrix, tuning: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Micro-F1, macro-F1 and their mean at the thresholds tuned on the same scores.

    By default that is the exact optimum of micro-F1, one value for all labels, so no candidate
    gains from a grid.

    Args:
        scores: σ(z), float `(n_docs, n_labels)`.
        targets: 0/1 `(n_docs, n_labels)`.
        tuning: options of `longtail.thresholds.tune`, such as `{"objective": "per_label"}`.
    """
    limits = thresholds.tune(scores, targets, **(tuning or {}))
    return f1(metrics.apply_thresholds(scores, limits), targets)


def f1(predicted: sp.csr_matrix, targets: sp.csr_matrix) -> dict[str, float]:
    """Micro-F1, macro-F1 and their mean of 0/1 predictions `(n_docs, n_labels)`."""
    micro = metrics.compute("micro_f1", predicted, targets)
    macro = metrics.compute("macro_f1", predicted, targets)
    return {"micro_f1": micro, "macro_f1": macro, "mean_f1": (micro + macro) / 2}
