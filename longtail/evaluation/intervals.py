"""Bootstrap intervals over documents for the set metrics, many label slices at once.

Efron's percentile bootstrap. A draw takes n_docs documents with replacement, which amounts to a
weight per document. The counts of all labels in a block of draws are then one product of a sparse
count matrix with the weights, and every slice and metric is computed from the same counts. Draw
number i of a seed is the same whatever the metrics, slices or block size.

Deviation: a label whose few positives were all missed by a draw says nothing about the model, yet
it would count 0 in that draw's macro mean and pull the interval below the estimate (a label with
one document is missed by 37% of the draws). Leaving such labels out would pull the interval up,
since rare labels score low. So a label that a draw did not see keeps its full-sample value in that
draw. The same holds for `labels_with_f1`, which is n_labels times a macro mean of 0 and 1. The
remaining bias (a draw without the one correctly predicted document sets the label's F1 to 0, and no
draw compensates for it) is removed: `intervals` shifts the percentiles by estimate − mean of the
draws. Otherwise a macro mean over many rare labels could lie outside its own interval. In the
difference of two models the bias cancels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import DataError, ParameterError
from longtail.evaluation.metrics import Counts, counts, pair, set_metric
from longtail.evaluation.score_blocks import Binary, Floats

DRAW_BYTES = 32 * 2**20
LabelMasks = Mapping[Any, npt.ArrayLike]  # any hashable key


def intervals(
    predicted: Binary,
    targets: Binary,
    metric_names: Sequence[str],
    *,
    label_masks: LabelMasks | None = None,
    n_draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[Any, dict[str, dict[str, float]]]:
    """Estimate and interval of every metric on every slice of labels.

    Args:
        predicted: 0/1 `(n_docs, n_labels)`.
        targets: 0/1 `(n_docs, n_labels)`.
        metric_names: names in `longtail.evaluation.metrics.SET_METRICS`.
        label_masks: slice to `(n_labels,)` bool; None means one slice, `all`.
        n_draws: bootstrap draws, at least 1.
        seed: of the draws.
        level: coverage of the interval, in (0, 1).

    Returns:
        `{slice: {metric: {"estimate": …, "low": …, "high": …}}}`.

    Raises:
        DataError: shapes differ, values other than 0/1, or no documents.
        ParameterError: unknown metric, a mask that does not fit, n_draws or level out of range.
    """
    found, truth = pair(predicted, targets)
    sample = _Sample(found, truth, metric_names, _masks(label_masks, truth.shape[1]))
    values = np.concatenate(
        [sample.values(weights) for weights in _weights(truth.shape, n_draws, seed)], axis=2
    )
    estimate = sample.values(np.ones((truth.shape[0], 1)))[:, :, 0]
    bias = values.mean(axis=2) - estimate
    low, high = (np.clip(bound - bias, 0, sample.largest) for bound in _bounds(values, level))
    return sample.table({"estimate": estimate, "low": low, "high": high})


def paired_differences(
    predicted_a: Binary,
    predicted_b: Binary,
    targets: Binary,
    metric_names: Sequence[str],
    *,
    label_masks: LabelMasks | None = None,
    n_draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[Any, dict[str, dict[str, float]]]:
    """Difference a − b of two models with its interval, for every metric on every slice of labels.

    Both models are scored on the same draws of documents, so whatever makes a draw hard for both
    cancels out. The other arguments and the errors are those of `intervals`.

    Args:
        predicted_a: 0/1 `(n_docs, n_labels)`.
        predicted_b: 0/1 `(n_docs, n_labels)`.
        targets: 0/1 `(n_docs, n_labels)`.
        metric_names: see `intervals`.
        label_masks: see `intervals`.
        n_draws: see `intervals`.
        seed: see `intervals`.
        level: see `intervals`.

    Returns:
        `{slice: {metric: {"a": …, "b": …, "difference": …, "low": …, "high": …}}}`.
    """
    found_a, truth = pair(predicted_a, targets)
    found_b, _ = pair(predicted_b, targets)
    masks = _masks(label_masks, truth.shape[1])
    one = _Sample(found_a, truth, metric_names, masks)
    other = _Sample(found_b, truth, metric_names, masks)
    values = np.concatenate(
        [one.values(w) - other.values(w) for w in _weights(truth.shape, n_draws, seed)], axis=2
    )
    low, high = _bounds(values, level)
    full = np.ones((truth.shape[0], 1))
    a, b = one.values(full)[:, :, 0], other.values(full)[:, :, 0]
    return one.table({"a": a, "b": b, "difference": a - b, "low": low, "high": high})


class _Sample:
    """One model's predictions, prepared for computing every metric of many draws."""

    def __init__(
        self,
        predicted: sp.csr_matrix,
        targets: sp.csr_matrix,
        metric_names: Sequence[str],
        masks: dict[Any, npt.NDArray[np.bool_]],
    ) -> None:
        self.metrics = {name: set_metric(name) for name in metric_names}
        self.masks = masks
        self.selector = np.array(list(masks.values()), dtype=np.float64)  # (n_slices, n_labels)
        self.sizes = self.selector.sum(axis=1)[:, None]
        powers = [max(0, metric.power) for metric in self.metrics.values()]
        self.largest = np.maximum(self.sizes, 1) ** np.array(powers)  # (n_slices, n_metrics)
        both = predicted.multiply(targets)
        self.by_label = [m.T.tocsr().astype(np.float64) for m in (both, predicted, targets)]
        whole = Counts(*(np.asarray(m.sum(axis=1)) for m in self.by_label))
        self.whole = {name: metric.of(whole) for name, metric in self.metrics.items()}
        self.by_document = {
            name: np.array(
                [
                    metric.of(counts(predicted[:, mask], targets[:, mask], axis=1))
                    for mask in masks.values()
                ]
            )
            for name, metric in self.metrics.items()
            if metric.average == "samples"
        }

    def values(self, weights: Floats) -> Floats:
        """Metrics `(n_slices, n_metrics, n_draws)` for document weights `(n_docs, n_draws)`."""
        labels = Counts(*(matrix @ weights for matrix in self.by_label))
        pooled = Counts(*(self.selector @ part for part in labels))
        scale = np.maximum(self.sizes, 1.0)
        results = []
        for name, metric in self.metrics.items():
            if metric.average == "micro":
                result = metric.of(pooled)
            elif metric.average == "macro":
                seen = np.where(labels.n_pos > 0, metric.of(labels), self.whole[name])
                result = self.selector @ seen / scale
            else:
                result = self.by_document[name] @ weights / len(weights)
            results.append(result * scale**metric.power)
        return np.stack(results, axis=1)

    def table(self, columns: dict[str, Floats]) -> dict[Any, dict[str, dict[str, float]]]:
        """Columns `(n_slices, n_metrics)` by name as nested dicts."""
        return {
            name: {
                metric: {key: float(column[i, j]) for key, column in columns.items()}
                for j, metric in enumerate(self.metrics)
            }
            for i, name in enumerate(self.masks)
        }


def _masks(masks: LabelMasks | None, n_labels: int) -> dict[Any, npt.NDArray[np.bool_]]:
    if masks is None:
        return {"all": np.ones(n_labels, dtype=bool)}
    checked = {name: np.asarray(mask) for name, mask in masks.items()}
    for name, mask in checked.items():
        if mask.shape != (n_labels,) or mask.dtype != bool:
            raise ParameterError(
                f"label mask {name!r} must be bool ({n_labels},), got {mask.dtype} {mask.shape}."
            )
    return checked


def _weights(shape: tuple[int, int], n_draws: int, seed: int) -> Iterator[Floats]:
    """How often each document is in each draw, in blocks `(n_docs, width)` float64."""
    n_docs, n_labels = shape
    if n_draws < 1:
        raise ParameterError(f"n_draws must be at least 1, got {n_draws}.")
    if n_docs == 0:
        raise DataError("targets hold no document, so there is nothing to draw from.")
    rng = np.random.default_rng(seed)
    width = max(1, DRAW_BYTES // (8 * max(n_docs, n_labels)))
    for start in range(0, n_draws, width):
        rows = [
            np.bincount(rng.integers(n_docs, size=n_docs), minlength=n_docs)
            for _ in range(min(width, n_draws - start))
        ]
        yield np.ascontiguousarray(np.array(rows, dtype=np.float64).T)


def _bounds(values: Floats, level: float) -> tuple[Floats, Floats]:
    if not 0 < level < 1:
        raise ParameterError(f"level must be between 0 and 1, got {level}.")
    outside = (1 - level) / 2
    low, high = np.quantile(values, [outside, 1 - outside], axis=2)
    return low, high
