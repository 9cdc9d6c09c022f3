"""Mixes the scores of the model with those of the linear baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, logit

from longtail.errors import DataError
from longtail.evaluation.selection import validation_f1
from longtail.evaluation.sparse_scores import NOTHING, Floats, ScoreMatrix, SparseScores, united

WEIGHTS = tuple(np.linspace(0, 0.9, 19).round(2).tolist())


@overload
def blend(model: np.ndarray, baseline: np.ndarray, weight: float) -> np.ndarray: ...
@overload
def blend(model: ScoreMatrix, baseline: ScoreMatrix, weight: float) -> ScoreMatrix: ...
def blend(model: ScoreMatrix, baseline: ScoreMatrix, weight: float) -> ScoreMatrix:
    """Mix two matrices of scores: σ((1 − weight) · logit(model) + weight · logit(baseline)).

    Logits are mixed rather than scores, because a margin and a logit both live on the real line
    while their σ have very different spreads.

    Where scores were dropped, the mix has the cells that either has, and a score that one of them
    dropped counts as its bound. True labels have both, so a blend flatters nobody: a wrong
    label's score may be too high, never too low.

    Args:
        model: σ(z) `(n_docs, n_labels)`.
        baseline: σ(margin) `(n_docs, n_labels)`, dense or sparse as `model` is.
        weight: the baseline's, in [0, 1).

    Returns:
        `(n_docs, n_labels)` float32; `model` itself if the weight is 0.

    Raises:
        DataError: one of them is dense and the other is not.

    >>> blend(np.array([[0.5]]), np.array([[0.9]]), 0.5).round(2).tolist()
    [[0.75]]
    """
    if weight == 0:
        return model if isinstance(model, SparseScores) else np.asarray(model)
    return _Pair.of(model, baseline).mixed(weight)


@dataclass(frozen=True)
class _Pair:
    """The logits of two models, cell by cell; `shape` has the cells of a mix, None if dense."""

    z: Floats
    margin: Floats
    shape: SparseScores | None
    limits: tuple[tuple[Floats, Floats], ...]

    @classmethod
    def of(cls, model: ScoreMatrix, baseline: ScoreMatrix) -> _Pair:
        if isinstance(model, np.ndarray) and isinstance(baseline, np.ndarray):
            return cls(_logit(model), _logit(baseline), None, ())
        if not (isinstance(model, SparseScores) and isinstance(baseline, SparseScores)):
            raise DataError(
                "Of the scores of model and baseline only one is sparse; make both anew with the "
                "same parameters."
            )
        joined, other = united(model, baseline)
        limits = (
            (model.doc_limits, baseline.doc_limits),
            (model.label_limits, baseline.label_limits),
        )
        return cls(_logit(joined.values), _logit(other), joined, limits)

    def mixed(self, weight: float) -> ScoreMatrix:
        values = _mix(self.z, self.margin, weight)
        if self.shape is None:
            return values
        doc_limits, label_limits = (_mixed_limits(*pair, weight) for pair in self.limits)
        return replace(self.shape, values=values, doc_limits=doc_limits, label_limits=label_limits)


def _mixed_limits(one: Floats, other: Floats, weight: float) -> Floats:
    """Bounds of what both dropped; nothing is, where one has dropped nothing."""
    mixed = _mix(_logit(one), _logit(other), weight)
    return np.where(np.isneginf(one) | np.isneginf(other), NOTHING, mixed).astype(np.float32)


def _mix(z: Floats, margin: Floats, weight: float) -> Floats:
    return expit((1 - weight) * z + weight * margin).astype(np.float32)


def _logit(scores: Floats) -> Floats:
    """Logits of scores; those that are 0 or 1 in their dtype count as half its last step away.

    float32 cannot tell 1 - 1e-7 from 1, float16 not even 0.9998: taken for certainties, its ones
    would win every blend.
    """
    least = max(1e-7, float(np.finfo(scores.dtype).epsneg) / 2)
    wide = scores.astype(np.result_type(scores.dtype, np.float32), copy=False)
    return logit(np.clip(wide, least, 1 - least))


def best_weight(
    model: ScoreMatrix,
    baseline: ScoreMatrix,
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

    Raises:
        DataError: as in `blend`.
    """
    both = _Pair.of(model, baseline)  # once for all weights
    gains = [
        validation_f1(both.mixed(weight) if weight else model, targets, tuning)[objective]
        for weight in WEIGHTS
    ]
    return WEIGHTS[int(np.argmax(gains))]
