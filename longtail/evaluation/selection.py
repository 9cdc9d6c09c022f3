"""How candidates (epochs, losses, C of the SVM) are compared: on val, at their best threshold."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from longtail import thresholds
from longtail.evaluation import metrics

OBJECTIVES = ("micro_f1", "macro_f1", "mean_f1")


def validation_f1(scores: np.ndarray, targets: sp.csr_matrix) -> dict[str, float]:
    """Micro-F1, macro-F1 and their mean at the threshold with the best micro-F1.

    The threshold is the exact optimum, one for all labels, so no candidate gains from a grid.

    Args:
        scores: σ(z), float `(n_docs, n_labels)`.
        targets: 0/1 `(n_docs, n_labels)`.
    """
    predicted = metrics.apply_thresholds(scores, thresholds.tune(scores, targets))
    micro = metrics.compute("micro_f1", predicted, targets)
    macro = metrics.compute("macro_f1", predicted, targets)
    return {"micro_f1": micro, "macro_f1": macro, "mean_f1": (micro + macro) / 2}
