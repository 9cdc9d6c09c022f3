"""Decision thresholds tuned on validation scores: predict a label where `score >= threshold`.

Every objective considers all distinct scores, not a grid. A threshold lies halfway between two
neighboring scores of the validation set, rounded to the dtype that the scores are stored in (see
`evaluation.score_blocks.place`). Of several equally good ones the highest wins, which predicts the
fewest labels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import ParameterError, unknown_name
from longtail.evaluation.score_blocks import (
    Binary,
    Cuts,
    Floats,
    binary_csr,
    check_scores,
    label_cuts,
    label_scores,
    pooled_cuts,
)
from longtail.evaluation.sparse_scores import NOTHING, ScoreMatrix, SparseScores

# This many positives, with scores spread like those of all labels' positives, are added to a
# label's own evidence.
PRIOR_POSITIVES = 2.0
PRIOR_POINTS = 200


def tune(
    scores: ScoreMatrix,
    targets: Binary,
    *,
    objective: str = "global",
    value: float = 0.5,
    min_support: int = 1,
) -> Floats:
    """Choose one threshold per label.

    Args:
        scores: float `(n_docs, n_labels)`, finite; memory maps on disk are read in blocks. Where
            scores were dropped, no tuned threshold is below them.
        targets: 0/1 `(n_docs, n_labels)`, array or scipy sparse matrix.
        objective: a name in `OBJECTIVES`.
            `global` - the exact micro-F1 optimum, one value for all labels;
            `per_label` - tail-safe, see `_per_label`;
            `fixed` - `value` for every label.
        value: the threshold, for `fixed` only.
        min_support: positives that a label needs for a threshold of its own, at least 1; for
            `per_label` only.

    Returns:
        `(n_labels,)` float64, in the unit of `scores`.

    Raises:
        DataError: shapes differ, a score is NaN or infinite, targets are not 0/1 or all zero.
        ParameterError: unknown objective, or an option of the chosen one out of range.

    >>> scores = np.array([[0.9, 0.2], [0.8, 0.6], [0.1, 0.4]])
    >>> tune(scores, [[1, 0], [1, 1], [0, 0]]).tolist()
    [0.5, 0.5]
    """
    if objective not in OBJECTIVES:
        raise unknown_name("threshold objective", objective, OBJECTIVES)
    scores = check_scores(scores)
    truth = binary_csr(targets, "targets", scores.shape)
    return OBJECTIVES[objective](scores, truth, value=value, min_support=min_support)


def curve(scores: ScoreMatrix, targets: Binary, *, max_points: int = 200) -> dict[str, Floats]:
    """Micro precision, recall and F1 at every threshold.

    Args:
        scores: float `(n_docs, n_labels)`.
        targets: 0/1 `(n_docs, n_labels)`.
        max_points: points of the curve at most, evenly spread over the positives; the optimum is
            always among them.

    Returns:
        `threshold` (ascending), `precision`, `recall` and `f1`, each `(n_points,)`.

    Raises:
        DataError: as in `tune`.
    """
    scores = check_scores(scores)
    truth = binary_csr(targets, "targets", scores.shape)
    cuts = _thin(pooled_cuts(scores, truth), truth.nnz, max_points)
    return {
        "threshold": cuts.threshold,
        "precision": cuts.tp / cuts.n_pred,
        "recall": cuts.tp / truth.nnz,
        "f1": _f1(cuts.tp, cuts.n_pred, truth.nnz),
    }


def _f1(tp: npt.NDArray, n_pred: npt.NDArray, n_pos: float) -> Floats:
    return 2 * tp / (n_pred + n_pos)


def _last_best(quality: Floats) -> int:
    return len(quality) - 1 - int(np.argmax(quality[::-1]))


def _thin(cuts: Cuts, n_pos: int, max_points: int) -> Cuts:
    """Keep at most `max_points` of the cuts, always with the best by F1."""
    spread = np.linspace(0, len(cuts.threshold) - 1, max_points - 1).astype(int)
    kept = np.union1d(spread, _last_best(_f1(cuts.tp, cuts.n_pred, n_pos)))
    return Cuts(cuts.threshold[kept], cuts.tp[kept], cuts.n_pred[kept])


def _global(scores: ScoreMatrix, targets: sp.csr_matrix, **_: object) -> Floats:
    n_labels = scores.shape[1]
    cuts = pooled_cuts(scores, targets)
    return np.full(n_labels, cuts.threshold[_last_best(_f1(cuts.tp, cuts.n_pred, targets.nnz))])


def _fixed(scores: ScoreMatrix, targets: sp.csr_matrix, *, value: float, **_: object) -> Floats:
    if not np.isfinite(value):
        raise ParameterError(f"value must be a finite threshold, got {value}.")
    return np.full(scores.shape[1], float(value))


def _per_label(
    scores: ScoreMatrix, targets: sp.csr_matrix, *, min_support: int, **_: object
) -> Floats:
    """Go from frequent to rare labels; each maximizes running micro-F1 + running macro-F1.

    Running micro-F1 is that of the labels done so far; running macro-F1 is the sum of their F1
    divided by the number of all labels, so labels still to come count 0.

    Choosing the best F1 for each label alone (SCut; Yang 2001, "A study of thresholding
    strategies for text categorization") overfits if a label has only a handful of positives. There
    are two guards. The running micro-F1 makes a rare label pay for every false positive, because
    the head labels are already in the sum. And `PRIOR_POSITIVES` positives, with their share of
    false positives, are added to each label's counts from the pooled curve of all labels, so a
    label with little evidence stays near the pooled optimum and a label with much evidence ignores
    it. A label with fewer than `min_support` positives gets the global threshold.
    """
    if min_support < 1:
        raise ParameterError(f"min_support must be at least 1, got {min_support}.")
    n_labels = scores.shape[1]
    pooled = pooled_cuts(scores, targets)
    best = _last_best(_f1(pooled.tp, pooled.n_pred, targets.nnz))
    prior = _thin(pooled, targets.nnz, PRIOR_POINTS)
    support = np.bincount(targets.indices, minlength=n_labels)
    own = _own_cuts(scores, targets, np.flatnonzero(support >= min_support), prior.threshold)
    order = sorted(own, key=lambda label: (-support[label], label))
    thresholds = np.full(n_labels, pooled.threshold[best])
    tp, n_pred, n_pos, f1_sum = 0, 0, 0.0, 0.0
    for label in order:
        cuts = own[label]
        share = PRIOR_POSITIVES / targets.nnz
        at = np.minimum(np.searchsorted(prior.threshold, cuts.threshold), len(prior.tp) - 1)
        tp_joined = cuts.tp + share * prior.tp[at]
        pred_joined = cuts.n_pred + share * prior.n_pred[at]
        positives = support[label] + PRIOR_POSITIVES
        micro = _f1(tp + tp_joined, n_pred + pred_joined, n_pos + positives)
        f1 = _f1(tp_joined, pred_joined, positives)
        chosen = _last_best(micro + (f1_sum + f1) / n_labels)
        thresholds[label] = cuts.threshold[chosen]
        tp, n_pred = tp + cuts.tp[chosen], n_pred + cuts.n_pred[chosen]
        n_pos, f1_sum = n_pos + support[label], f1_sum + f1[chosen]
    return thresholds


def _own_cuts(
    scores: ScoreMatrix,
    targets: sp.csr_matrix,
    labels: npt.NDArray[np.intp],
    shared: Floats,
) -> dict[int, Cuts]:
    """Per label: the counts at its own best cuts and at the `shared` thresholds."""
    limits = scores.label_limits if isinstance(scores, SparseScores) else None
    found = {}
    for label, values, positives in label_scores(scores, targets, labels):
        limit = NOTHING if limits is None else float(limits[label])
        at = np.union1d(label_cuts(values, positives, scores.dtype, limit).threshold, shared)
        found[label] = Cuts(
            at,
            len(positives) - np.searchsorted(positives, at),
            len(values) - np.searchsorted(values, at),
        )
    return found


OBJECTIVES: dict[str, Callable[..., Floats]] = {
    "global": _global,
    "per_label": _per_label,
    "fixed": _fixed,
}
