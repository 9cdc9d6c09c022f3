"""Metrics of multi-label classification on sparse predictions, and thresholds applied.

Set metrics compare `predicted` with `targets`, both 0/1 `(n_docs, n_labels)`, arrays or scipy
sparse matrices; ranking metrics (`ranking`) compare `scores` with `targets`. Each returns one
float. A ratio whose denominator is 0 counts as 0.

Macro-F1 here is the mean over labels of each label's F1, not the F1 of macro precision and macro
recall. A label with neither targets nor predictions counts as 0, as in the published tables on
Reuters-21578 and in scikit-learn with `zero_division=0`; `absent="skip"` leaves it out.

Wrong shapes, values other than 0/1 and scores with NaN raise DataError.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import ParameterError, unknown_name
from longtail.evaluation.ranking import (
    coverage_error,
    mean_average_precision,
    ndcg_at_k,
    precision_at_k,
)
from longtail.evaluation.score_blocks import (
    Binary,
    Floats,
    ScoreMatrix,
    binary_csr,
    check_scores,
    kept_parts,
    row_blocks,
)
from longtail.evaluation.sparse_scores import SparseScores


class Counts(NamedTuple):
    """True positives, predictions and targets of each unit (label or document), last axis."""

    tp: npt.NDArray
    n_pred: npt.NDArray
    n_pos: npt.NDArray


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    """Divide elementwise in float64; the result is 0 where `below` is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    return np.divide(top, bottom, out=np.zeros(bottom.shape), where=bottom > 0)


def _f1(counts: Counts) -> Floats:
    return ratio(2 * counts.tp, counts.n_pred + counts.n_pos)


def _precision(counts: Counts) -> Floats:
    return ratio(counts.tp, counts.n_pred)


def _recall(counts: Counts) -> Floats:
    return ratio(counts.tp, counts.n_pos)


def _hit(counts: Counts) -> Floats:
    return np.asarray(counts.tp > 0, float)


def _errors(counts: Counts) -> Floats:
    return np.asarray(counts.n_pred + counts.n_pos - 2 * counts.tp, float)


class SetMetric(NamedTuple):
    """A set metric taken apart, so that the bootstrap can compute it for many samples at once.

    Attributes:
        average: "micro" (of the sums over labels), "macro" (mean over labels), "mean" (of those
            two) or "samples" (mean over documents).
        of: the metric of counts.
        power: the result is multiplied by n_labels ** power.
    """

    average: str
    of: Callable[[Counts], Floats]
    power: int = 0


SET_METRICS: dict[str, SetMetric] = {
    "micro_f1": SetMetric("micro", _f1),
    "micro_precision": SetMetric("micro", _precision),
    "micro_recall": SetMetric("micro", _recall),
    "macro_f1": SetMetric("macro", _f1),
    "mean_f1": SetMetric("mean", _f1),
    "macro_precision": SetMetric("macro", _precision),
    "macro_recall": SetMetric("macro", _recall),
    "samples_f1": SetMetric("samples", _f1),
    "samples_precision": SetMetric("samples", _precision),
    "samples_recall": SetMetric("samples", _recall),
    "hamming_loss": SetMetric("samples", _errors, power=-1),
    "labels_with_f1": SetMetric("macro", _hit, power=1),
}


def set_metric(name: str) -> SetMetric:
    """The set metric `name`.

    Raises:
        ParameterError: the name is unknown; the message lists the valid ones.
    """
    if name not in SET_METRICS:
        raise unknown_name("set metric", name, SET_METRICS)
    return SET_METRICS[name]


def pair(predicted: Binary, targets: Binary) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Both as CSR matrices.

    Raises:
        DataError: shapes differ, or values other than 0/1.
    """
    truth = binary_csr(targets, "targets")
    return binary_csr(predicted, "predicted", truth.shape), truth


def counts(predicted: sp.csr_matrix, targets: sp.csr_matrix, axis: int) -> Counts:
    """Counts per label (axis 0), each `(n_labels,)`, or per document (axis 1), each `(n_docs,)`."""
    both = predicted.multiply(targets)
    return Counts(*(np.asarray(m.sum(axis=axis)).ravel() for m in (both, predicted, targets)))


def averaged(
    metric: SetMetric, pooled: Counts, per_label: Counts, masks: npt.NDArray[np.bool_]
) -> Floats:
    """A micro, macro or mean metric of many samples and slices at once.

    Args:
        metric: any but a metric of documents.
        pooled: counts that a micro metric sums, each broadcastable to `(n_labels, n_samples)`.
        per_label: counts that a macro metric takes the mean over, likewise.
        masks: `(n_slices, n_labels)` bool, the labels of each slice.

    Returns:
        `(n_slices, n_samples)`.
    """
    selector = masks.astype(np.float64)
    sizes = np.maximum(selector.sum(axis=1), 1.0)[:, None]
    results = []
    if metric.average in ("micro", "mean"):
        results.append(metric.of(Counts(*(selector @ part for part in pooled))))
    if metric.average in ("macro", "mean"):
        results.append(selector @ metric.of(per_label) / sizes)
    return np.mean(results, axis=0) * sizes**metric.power


def compute(name: str, predicted: Binary, targets: Binary, *, absent: str = "zero") -> float:
    """Compute one set metric.

    Args:
        name: a key of `SET_METRICS`.
        predicted: 0/1 `(n_docs, n_labels)`.
        targets: 0/1 `(n_docs, n_labels)`.
        absent: whether a label with neither targets nor predictions counts 0 in a macro mean
            ("zero") or is left out of it ("skip").

    Raises:
        ParameterError: unknown name or value of `absent`.
        DataError: shapes differ, or values other than 0/1.

    >>> compute("micro_f1", [[1, 0], [1, 1]], [[1, 0], [0, 1]])
    0.8
    >>> compute("hamming_loss", [[1, 0], [1, 1]], [[1, 0], [0, 1]])
    0.25
    """
    metric = set_metric(name)
    if absent not in ("zero", "skip"):
        raise unknown_name("value of absent", absent, ("zero", "skip"))
    found, truth = pair(predicted, targets)
    if metric.average == "mean":
        sides = (compute(f"{side}_f1", found, truth, absent=absent) for side in ("micro", "macro"))
        return sum(sides) / 2
    units = counts(found, truth, axis=int(metric.average == "samples"))
    if metric.average == "micro":
        return float(metric.of(Counts(*(part.sum() for part in units))))
    n_units = len(units.tp)
    if metric.average == "macro" and metric.power == 0 and absent == "skip":
        n_units = int(np.count_nonzero(units.n_pred + units.n_pos))
    scale = float(max(1, truth.shape[1])) ** metric.power
    return float(ratio(metric.of(units).sum() * scale, n_units))


micro_f1 = partial(compute, "micro_f1")
micro_precision = partial(compute, "micro_precision")
micro_recall = partial(compute, "micro_recall")
macro_f1 = partial(compute, "macro_f1")
mean_f1 = partial(compute, "mean_f1")
macro_precision = partial(compute, "macro_precision")
macro_recall = partial(compute, "macro_recall")
samples_f1 = partial(compute, "samples_f1")
samples_precision = partial(compute, "samples_precision")
samples_recall = partial(compute, "samples_recall")
hamming_loss = partial(compute, "hamming_loss")
labels_with_f1 = partial(compute, "labels_with_f1")

RANKING_METRICS: dict[str, Callable[[ScoreMatrix, Binary], float]] = {
    "precision_at_1": partial(precision_at_k, k=1),
    "precision_at_3": partial(precision_at_k, k=3),
    "precision_at_5": partial(precision_at_k, k=5),
    "ndcg_at_3": partial(ndcg_at_k, k=3),
    "ndcg_at_5": partial(ndcg_at_k, k=5),
    "mean_average_precision": mean_average_precision,
    "coverage_error": coverage_error,
}

# Those of SET_METRICS are called with (predicted, targets), the others with (scores, targets).
METRICS: dict[str, Callable[..., float]] = {
    **{name: partial(compute, name) for name in SET_METRICS},
    **RANKING_METRICS,
}


def per_label(predicted: Binary, targets: Binary) -> dict[str, npt.NDArray]:
    """Counts and metrics of each label, from 0/1 `(n_docs, n_labels)`.

    Returns:
        `(n_labels,)` int64 `support`, `tp`, `fp`, `fn`, and float `precision`, `recall`, `f1`.
    """
    labels = counts(*pair(predicted, targets), axis=0)
    return {
        "support": labels.n_pos,
        "tp": labels.tp,
        "fp": labels.n_pred - labels.tp,
        "fn": labels.n_pos - labels.tp,
        "precision": _precision(labels),
        "recall": _recall(labels),
        "f1": _f1(labels),
    }


def apply_thresholds(scores: ScoreMatrix, thresholds: npt.ArrayLike) -> sp.csr_matrix:
    """Predict the labels with `scores >= thresholds`; a dropped score counts as its bound.

    Dropped labels are wrong ones, so the predictions flatter no model. They are those of all scores
    where no bound reaches its threshold.

    Args:
        scores: float `(n_docs, n_labels)`, finite; a memory map is read in blocks of rows.
        thresholds: `(n_labels,)` float, or one number for all labels.

    Returns:
        0/1 CSR `(n_docs, n_labels)` int8.

    Raises:
        DataError: a score is NaN or infinite.
        ParameterError: thresholds do not match the labels or contain NaN.
    """
    scores = check_scores(scores)
    limits = np.asarray(thresholds, dtype=np.float64)
    if limits.shape not in ((), (scores.shape[1],)):
        raise ParameterError(
            f"thresholds have shape {limits.shape}, expected ({scores.shape[1]},) or one number."
        )
    if np.isnan(limits).any():
        raise ParameterError("thresholds contain NaN; every threshold must be a number.")
    if isinstance(scores, SparseScores):
        own = np.broadcast_to(limits, scores.shape[1:])
        blocks = [_predicted(part, own) for _, part in kept_parts(scores)]
    else:
        blocks = [sp.csr_matrix(block >= limits, dtype=np.int8) for _, block in row_blocks(scores)]
    if not blocks:
        return sp.csr_matrix(scores.shape, dtype=np.int8)
    return sp.vstack(blocks, format="csr")


def _predicted(scores: SparseScores, limits: Floats) -> sp.csr_matrix:
    hit = scores.values >= limits[scores.columns]
    n_hits = np.concatenate([[0], np.cumsum(hit)])
    ones = np.ones(n_hits[-1], dtype=np.int8)
    found = sp.csr_matrix((ones, scores.columns[hit], n_hits[scores.starts]), scores.shape)
    reached = np.flatnonzero(scores.label_limits >= limits)  # of tuning documents none
    return found if not len(reached) else found + _reaching(scores, limits, reached)


def _reaching(scores: SparseScores, limits: Floats, labels: npt.NDArray[np.intp]) -> sp.csr_matrix:
    """The dropped scores of these labels whose bounds reach their thresholds, as predictions."""
    ones = np.ones(len(scores.columns), dtype=np.int8)
    kept = sp.csr_matrix((ones, scores.columns, scores.starts), scores.shape).tocsc()
    rows = []
    for label in labels.tolist():
        reaching = scores.doc_limits.astype(np.float64) >= limits[label]
        reaching[kept.indices[kept.indptr[label] : kept.indptr[label + 1]]] = False
        rows.append(np.flatnonzero(reaching))
    columns = np.repeat(labels, [len(own) for own in rows])
    hits = np.ones(len(columns), dtype=np.int8)
    return sp.csr_matrix((hits, (np.concatenate(rows), columns)), scores.shape)
