"""Bootstrap intervals over documents for the set metrics, many label slices at once.

An interval answers: what would this model score on other test sets of the same size, drawn from the
same source? Its truth is the mean of the metric over such test sets. (A macro mean over rare labels
depends on the size: a label without a positive counts 0. So the truth is not the value on an
infinite test set, and a test set of another size has another one.)

Efron's percentile bootstrap over groups of documents. A draw takes n_groups groups with
replacement, which amounts to a weight per group. The counts of all labels in a block of draws are
then one product of a sparse count matrix with the weights, and every slice and metric is computed
from the same counts. Draw number i of a seed is the same whatever the metrics, slices or block
size.

Deviation: a label with few positives is drawn from smoothed rates (`rare_labels`), since one
document is too coarse a sample to draw from.

Percentiles are shifted by estimate - mean of the draws, which removes the bias of a draw against
its sample. `benchmarks/intervals.py` measures the coverage.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import DataError, ParameterError
from longtail.evaluation.label_masks import LabelMasks, checked_masks
from longtail.evaluation.metrics import Counts, averaged, counts, pair, ratio, set_metric
from longtail.evaluation.rare_labels import RareLabels
from longtail.evaluation.score_blocks import Binary, Floats

DRAW_BYTES = 32 * 2**20


def intervals(
    predicted: Binary,
    targets: Binary,
    metric_names: Sequence[str],
    *,
    label_masks: LabelMasks | None = None,
    groups: Sequence[Hashable] | None = None,
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
        groups: `(n_docs,)` keys; documents with the same key are drawn together. None means that
            every document is a group of its own.
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
    if not 0 < level < 1:
        raise ParameterError(f"level must be between 0 and 1, got {level}.")
    if n_draws < 1:
        raise ParameterError(f"n_draws must be at least 1, got {n_draws}.")
    if truth.shape[0] == 0:
        raise DataError("targets hold no document, so there is nothing to draw from.")
    masks = checked_masks(label_masks, truth.shape[1])
    sample = _Sample(found, truth, metric_names, np.array(list(masks.values())), groups)
    values = np.concatenate(list(sample.draws(n_draws, seed)), axis=2)
    estimate = sample.estimate()
    shifted = values - values.mean(axis=2, keepdims=True) + estimate[:, :, None]
    outside = (1 - level) / 2
    low, high = np.clip(np.quantile(shifted, [outside, 1 - outside], axis=2), 0, sample.largest)
    columns = {"estimate": estimate, "low": low, "high": high}
    return {
        name: {
            metric: {key: float(column[i, j]) for key, column in columns.items()}
            for j, metric in enumerate(sample.metrics)
        }
        for i, name in enumerate(masks)
    }


class _Sample:
    """One model's predictions, prepared for computing every metric of many draws."""

    def __init__(
        self,
        predicted: sp.csr_matrix,
        targets: sp.csr_matrix,
        metric_names: Sequence[str],
        masks: npt.NDArray[np.bool_],
        groups: Sequence[Hashable] | None,
    ) -> None:
        self.metrics = {name: set_metric(name) for name in metric_names}
        self.masks, self.n_labels = masks, targets.shape[1]
        sizes = np.maximum(masks.sum(axis=1), 1)[:, None]
        powers = np.array([max(0, metric.power) for metric in self.metrics.values()])
        self.largest = sizes**powers  # (n_slices, n_metrics)
        member = _membership(groups, targets.shape[0])
        self.docs = np.asarray(member.sum(axis=1)).ravel()  # (n_groups,)
        both = predicted.multiply(targets)
        self.by_label = [
            (member @ m.astype(np.float64)).T.tocsr() for m in (both, predicted, targets)
        ]
        self.by_document = {
            name: np.array(
                [
                    member
                    @ metric.of(counts(predicted[:, mask], targets[:, mask], axis=1))
                    * float(max(1, mask.sum())) ** metric.power
                    for mask in masks
                ]
            )
            for name, metric in self.metrics.items()
            if metric.average == "samples"
        }
        per_label = Counts(*(np.asarray(m.sum(axis=1)).ravel() for m in self.by_label))
        self.rare = RareLabels(per_label, units=np.diff(self.by_label[2].indptr))

    def estimate(self) -> Floats:
        """Metrics `(n_slices, n_metrics)` of the sample itself."""
        whole = np.ones((len(self.docs), 1))
        labels = Counts(*(matrix @ whole for matrix in self.by_label))
        return self._values(whole, labels, labels)[:, :, 0]

    def draws(self, n_draws: int, seed: int) -> Iterator[Floats]:
        """Metrics of all draws, in blocks `(n_slices, n_metrics, width)`."""
        rng = np.random.default_rng(seed)
        n_groups = len(self.docs)
        smoothed = self.rare.sampler(seed)
        width = max(1, DRAW_BYTES // (8 * max(n_groups, self.n_labels)))
        for start in range(0, n_draws, width):
            rows = [
                np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
                for _ in range(min(width, n_draws - start))
            ]
            weights = np.ascontiguousarray(np.array(rows, dtype=np.float64).T)
            labels = Counts(*(matrix @ weights for matrix in self.by_label))
            yield self._values(weights, labels, smoothed(labels))

    def _values(self, weights: Floats, labels: Counts, smoothed: Counts) -> Floats:
        """Metrics `(n_slices, n_metrics, n_draws)` for group weights `(n_groups, n_draws)`."""
        n_docs = self.docs @ weights
        results = [
            ratio(self.by_document[name] @ weights, n_docs)
            if metric.average == "samples"
            else averaged(metric, labels, smoothed, self.masks)
            for name, metric in self.metrics.items()
        ]
        return np.stack(results, axis=1)


def _membership(groups: Sequence[Hashable] | None, n_docs: int) -> sp.csr_matrix:
    """Which documents a group has, 0/1 `(n_groups, n_docs)`, groups in order of first document."""
    keys = range(n_docs) if groups is None else groups
    if len(keys) != n_docs:
        raise DataError(f"groups has {len(keys)} keys, expected {n_docs} (one per document).")
    code: dict[Hashable, int] = {}
    rows = [code.setdefault(key, len(code)) for key in keys]
    return sp.csr_matrix((np.ones(n_docs), (rows, np.arange(n_docs))), (len(code), n_docs))
