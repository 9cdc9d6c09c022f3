"""Paired sign-flip test of two models: how far chance alone would drive their scores apart.

If two models are equally good, it makes no difference which of them gave which of the two answers
to a document. A draw therefore swaps the two models' predictions for each group of documents with
probability 1/2 and computes the difference again; many draws give its distribution under equality
(Fisher 1935; for F1, "approximate randomization", Noreen 1989 and Yeh 2000). The test needs no
assumption about how a metric varies, so it is right for a macro mean over labels with one positive,
where a bootstrap is not: a draw of a bootstrap often misses such a label altogether.

Groups of documents (versions or copies of one text) are swapped as a whole. The swaps of a group
depend only on its key, the number of draws and `SEED`. The same group is swapped alike in every
comparison, so the differences of many nights have a joint distribution (`longtail.gate.budget`).

The interval of a difference inverts the test: the null distribution is moved to the estimate.
That a difference other than 0 has the same distribution is an assumption. It is a mild one, since
models are compared that differ on a small part of the documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import DataError, ParameterError
from longtail.evaluation.label_masks import LabelMasks, checked_masks
from longtail.evaluation.metrics import (
    Counts,
    SetMetric,
    compute,
    counts,
    pair,
    set_metric,
)
from longtail.evaluation.score_blocks import Binary, Floats

N_DRAWS = 9_999  # so that (N_DRAWS + 1) · level is whole for every level in tenths of a permille
SEED = 0
DECIMALS = 12  # of differences: rounding errors must not tell apart what is equal
BLOCK_BYTES = 64 * 2**20


def paired_differences(
    predicted_a: Binary,
    predicted_b: Binary,
    targets: Binary,
    metric_names: Sequence[str],
    *,
    label_masks: LabelMasks | None = None,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
    n_draws: int | None = None,
) -> dict[Any, dict[str, dict[str, float]]]:
    """Difference a − b of two models with its interval, for every metric on every slice of labels.

    Args:
        predicted_a: 0/1 `(n_docs, n_labels)`.
        predicted_b: 0/1 `(n_docs, n_labels)`.
        targets: 0/1 `(n_docs, n_labels)`.
        metric_names: names in `longtail.evaluation.metrics.SET_METRICS`.
        label_masks: slice to `(n_labels,)` bool; None means one slice, `all`.
        groups: `(n_docs,)` keys; documents with the same key are swapped together. None means that
            every document is a group of its own.
        level: coverage of the interval, in (0, 1).
        n_draws: draws, at least 2 / (1 - level) - 1; None means `N_DRAWS`.

    Returns:
        `{slice: {metric: {"a": …, "b": …, "difference": …, "low": …, "high": …}}}`.

    Raises:
        DataError: shapes differ, values other than 0/1, or no documents.
        ParameterError: unknown metric, a mask that does not fit, or level out of range.
    """
    nulls = null_differences(
        predicted_a, predicted_b, targets, metric_names,
        label_masks=label_masks, groups=groups, n_draws=n_draws,
    )  # fmt: skip
    found: dict[Any, dict[str, dict[str, float]]] = {}
    for name, by_metric in nulls.items():
        found[name] = {}
        for metric, null in by_metric.items():
            reach = critical_value(null.differences, (1 - level) / 2)
            found[name][metric] = {
                "a": null.a,
                "b": null.b,
                "difference": null.difference,
                "low": null.difference - reach,
                "high": null.difference + reach,
            }
    return found


def critical_value(null: Floats, level: float) -> float:
    """The least difference beyond which a share of at most `level` of equal models lies.

    A difference above it has a p-value (1 + draws at least as large) / (1 + draws) of at most
    `level`, which makes the test exact with any number of draws (Phipson & Smyth 2010).

    Args:
        null: `(n_draws,)` differences under equality.
        level: of the one-sided test, in (0, 1).

    Raises:
        ParameterError: the level is out of range, or too small for the number of draws.

    >>> critical_value(np.arange(1.0, 100.0), 0.05)
    95.0
    """
    if not 0 < level < 1:
        raise ParameterError(f"The level of a test must be between 0 and 1, got {level}.")
    rank = int(level * (len(null) + 1) + 1e-9)
    if rank < 1:
        raise ParameterError(f"{len(null)} draws are too few for a test at level {level:g}.")
    return float(np.partition(null, len(null) - rank)[len(null) - rank])


class Null(NamedTuple):
    """Two models' values of a metric, and what chance alone would make of their difference."""

    a: float
    b: float
    differences: Floats  # (n_draws,) float64

    @property
    def difference(self) -> float:
        """What model a is ahead of model b."""
        return round(self.a - self.b, DECIMALS)


def null_differences(
    predicted_a: Binary,
    predicted_b: Binary,
    targets: Binary,
    metric_names: Sequence[str],
    *,
    label_masks: LabelMasks | None = None,
    groups: Sequence[Hashable] | None = None,
    n_draws: int | None = None,
) -> dict[Any, dict[str, Null]]:
    """Both models' metrics, and the difference a − b in every draw; see `paired_differences`."""
    found_a, truth = pair(predicted_a, targets)
    found_b, _ = pair(predicted_b, targets)
    if truth.shape[0] == 0:
        raise DataError("targets hold no document, so there is nothing to compare.")
    keys = _checked_keys(groups, truth.shape[0])
    masks = checked_masks(label_masks, truth.shape[1])
    metrics = {name: set_metric(name) for name in metric_names}
    n_draws = N_DRAWS if n_draws is None else n_draws
    swaps = _Swaps(found_a, found_b, truth, keys, np.array(list(masks.values())))
    blocks = _signs(swaps.keys, n_draws, truth.shape)
    nulls = np.concatenate([swaps.differences(signs, metrics) for signs in blocks], axis=2)
    nulls = nulls.round(DECIMALS)
    return {
        name: {
            metric: Null(*_values(metric, found_a, found_b, truth, mask), nulls[i, j])
            for j, metric in enumerate(metrics)
        }
        for i, (name, mask) in enumerate(masks.items())
    }


def _values(
    metric: str, found_a: sp.csr_matrix, found_b: sp.csr_matrix, truth: sp.csr_matrix, mask: Any
) -> tuple[float, float]:
    a, b = (compute(metric, found[:, mask], truth[:, mask]) for found in (found_a, found_b))
    return a, b


def _checked_keys(groups: Sequence[Hashable] | None, n_docs: int) -> npt.NDArray[np.str_]:
    keys = range(n_docs) if groups is None else groups
    if len(keys) != n_docs:
        raise DataError(f"groups has {len(keys)} keys, expected {n_docs} (one per document).")
    return np.array([str(key) for key in keys])


class _Swaps:
    """The differences of two models by group, prepared for computing every metric of many draws.

    A sign of +1 leaves a group as it is, −1 swaps it. Side a then has the mean of both models plus
    half of the signed sum of the differences, and side b the mean minus that.
    """

    def __init__(
        self,
        found_a: sp.csr_matrix,
        found_b: sp.csr_matrix,
        truth: sp.csr_matrix,
        keys: npt.NDArray[np.str_],
        masks: npt.NDArray[np.bool_],
    ) -> None:
        self.sides, self.truth, self.masks = (found_a, found_b), truth, masks
        unlike = np.flatnonzero(np.diff((found_a != found_b).tocsr().indptr))
        names, group = np.unique(keys[unlike], return_inverse=True)
        self.keys: list[str] = names.tolist()
        self.member = sp.csr_matrix(  # (n_groups, n_docs)
            (np.ones(len(unlike)), (group, unlike)), shape=(len(names), len(keys))
        )
        of_a, of_b = (counts(found, truth, axis=0) for found in self.sides)
        mean = Counts((of_a.tp + of_b.tp) / 2, (of_a.n_pred + of_b.n_pred) / 2, of_a.n_pos)
        tp = self._by_group(found_a.multiply(truth), found_b.multiply(truth))
        pred = self._by_group(found_a, found_b)
        # Labels that both models predict alike cancel in a macro difference.
        unlike_labels = np.flatnonzero(np.diff(pred.indptr))
        self.tp, self.pred = tp[unlike_labels], pred[unlike_labels]
        self.mean = Counts(*(part[unlike_labels, None].astype(float) for part in mean))
        self.pooled = Counts(*((masks @ part)[:, None] for part in mean))
        self.selector = masks[:, unlike_labels].astype(np.float64)  # (n_slices, n_unlike)
        self.sizes = np.maximum(masks.sum(axis=1), 1.0)[:, None]

    def _by_group(self, of_a: sp.spmatrix, of_b: sp.spmatrix) -> sp.csr_matrix:
        """Half of the differences per label and group, `(n_labels, n_groups)`."""
        difference = of_a.astype(np.float64) - of_b.astype(np.float64)
        made = (self.member @ difference).T.tocsr() / 2
        made.eliminate_zeros()
        return made

    def differences(self, signs: Floats, metrics: Mapping[str, SetMetric]) -> Floats:
        """`(n_slices, n_metrics, n_draws)` for signs `(n_groups, n_draws)`."""
        moved = Counts(self.tp @ signs, self.pred @ signs, np.zeros(1))
        results = [
            self._of_documents(metric, signs)
            if metric.average == "samples"
            else self._of_labels(metric, moved)
            for metric in metrics.values()
        ]
        return np.stack(results, axis=1)

    def _of_labels(self, metric: SetMetric, moved: Counts) -> Floats:
        """A micro, macro or mean metric of the sides whose label counts moved up and down."""
        parts = []
        if metric.average in ("micro", "mean"):
            by_slice = (self.selector @ moved.tp, self.selector @ moved.n_pred)
            up, down = (
                Counts(self.pooled.tp + s * by_slice[0], self.pooled.n_pred + s * by_slice[1],
                       self.pooled.n_pos)
                for s in (1, -1)
            )  # fmt: skip
            parts.append(metric.of(up) - metric.of(down))
        if metric.average in ("macro", "mean"):
            up, down = (
                Counts(self.mean.tp + s * moved.tp, self.mean.n_pred + s * moved.n_pred,
                       self.mean.n_pos)
                for s in (1, -1)
            )  # fmt: skip
            parts.append(self.selector @ (metric.of(up) - metric.of(down)) / self.sizes)
        return np.mean(parts, axis=0) * self.sizes**metric.power

    def _of_documents(self, metric: SetMetric, signs: Floats) -> Floats:
        """A mean over documents is linear: the signed sum of the differences per group."""
        by_group = []
        for mask in self.masks:
            truth = self.truth[:, mask]
            of_a, of_b = (metric.of(counts(f[:, mask], truth, axis=1)) for f in self.sides)
            scale = float(max(1, mask.sum())) ** metric.power / len(of_a)
            by_group.append(self.member @ (of_a - of_b) * scale)
        return np.array(by_group) @ signs


def _signs(keys: Sequence[str], n_draws: int, shape: tuple[int, int]) -> Iterator[Floats]:
    """The signs of every group in every draw, in blocks `(n_groups, width)` float64 of ±1."""
    n_bytes = -(-n_draws // 8)
    bits = np.array([_random_bytes(key, n_bytes) for key in keys], np.uint8)
    bits = bits.reshape(len(keys), n_bytes)
    width = max(1, BLOCK_BYTES // (64 * max(shape[1], len(keys), 1)))  # in bytes of eight draws
    for start in range(0, n_bytes, width):
        block = np.unpackbits(bits[:, start : start + width], axis=1)
        yield block[:, : n_draws - 8 * start].astype(np.float64) * 2 - 1


def _random_bytes(key: str, n_bytes: int) -> npt.NDArray[np.uint8]:
    digest = hashlib.blake2b(f"{SEED}:{key}".encode(), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest)))
    return generator.integers(256, size=n_bytes, dtype=np.uint8)
