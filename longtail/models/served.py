"""Tunes what is served on held-out documents: the weight of the blend, then the thresholds.

`train` compares losses by it and `thresholds` writes it down, so what is chosen is what is served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from longtail import thresholds
from longtail.evaluation.metrics import apply_thresholds
from longtail.evaluation.selection import f1
from longtail.evaluation.sparse_scores import ScoreMatrix
from longtail.models.blending import best_weight, blend


@dataclass(frozen=True)
class Rule:
    """How scores become labels.

    Attributes:
        objective: of the thresholds, a name in `longtail.thresholds.OBJECTIVES`.
        value: the threshold of `fixed`.
        min_support: positives that a label needs for a threshold of its own, for `per_label`.
        blend: whether the baseline's scores are mixed in.
    """

    objective: str
    value: float
    min_support: int
    blend: bool

    @property
    def tuning(self) -> dict[str, Any]:
        """The options of `longtail.thresholds.tune`."""
        return {
            "objective": self.objective,
            "value": self.value,
            "min_support": self.min_support,
        }


@dataclass(frozen=True)
class Tuned:
    """One model as it would be served.

    Attributes:
        blend_weight: the baseline's, in [0, 1); 0 without a blend.
        thresholds: `(n_labels,)` float64, of the blended scores.
        val: held out: `micro_f1`, `macro_f1` and `mean_f1` of the blended scores at the thresholds.
    """

    blend_weight: float
    thresholds: np.ndarray
    val: dict[str, float]


def tune_served(
    model: ScoreMatrix,
    baseline: ScoreMatrix,
    targets: sp.csr_matrix,
    rule: Rule,
    *,
    objective: str = "mean_f1",
) -> Tuned:
    """Tune weight and thresholds of one model, as `rule` says, and measure the result.

    The weight is the one with the best `objective` at the thresholds that the rule gives its blend.

    Args:
        model: σ(z) `(n_docs, n_labels)` of held-out documents.
        baseline: σ(margin) `(n_docs, n_labels)` of the same.
        targets: 0/1 `(n_docs, n_labels)`.
        rule: how scores become labels.
        objective: `micro_f1`, `macro_f1` or `mean_f1`, which decides on the weight.

    Raises:
        DataError: as in `longtail.thresholds.tune`.
    """
    weight = 0.0
    if rule.blend:
        weight = best_weight(model, baseline, targets, objective=objective, tuning=rule.tuning)
    scores = blend(model, baseline, weight)
    limits = thresholds.tune(scores, targets, **rule.tuning)
    return Tuned(weight, limits, f1(apply_thresholds(scores, limits), targets))
