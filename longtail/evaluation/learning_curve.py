"""Learning curves: F1 by the number of documents learned from, and what more of them would bring.

A power law F(n) = a − b n^−c is fitted to the points by least squares: a in [0, 1], b of either
sign, c on a grid. Errors of classifiers follow it over orders of magnitude (Cortes et al. 1994,
"Learning Curves: Asymptotic Values and Rate of Convergence"; Hestness et al. 2017, "Deep Learning
Scaling is Predictable, Empirically"), but not every curve does: with hardly a document per label it
first bends upwards, and documents of another time bend it anywhere. So the law is tried first on
what is known: fitted without the last point, it must predict that one.

Intervals are percentiles of a bootstrap over groups of held-out documents, in which all points are
drawn together. They say how far the held-out documents could mislead, not what other training
documents of the same number would have given.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.evaluation.label_masks import LabelMasks, checked_masks
from longtail.evaluation.metrics import Counts, averaged, set_metric
from longtail.evaluation.score_blocks import Floats
from longtail.evaluation.sign_flips import paired_differences

METRICS = ("micro_f1", "macro_f1")
EXPONENTS = np.geomspace(0.02, 1, 120)  # 1: errors fall as 1 / n, the fastest that theory has
LEAST_POINTS = 4  # for a law with three parameters
LEAST_POSITIVES = 30
BLOCK = 100  # draws at a time
FEW, BENT, SCARCE = "few points", "no power law", "few positives"
UNFOUND = "nothing found"


def learning_curve(
    n_learned: Sequence[int],
    predicted: Sequence[sp.csr_matrix],
    targets: sp.csr_matrix,
    *,
    n_now: int,
    n_more: int = 500,
    label_masks: LabelMasks | None = None,
    groups: Sequence[Hashable] | None = None,
    n_draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[Any, dict[str, Any]]:
    """F1 at every point, what the documents of the last step brought, and what more would bring.

    Args:
        n_learned: `(n_points,)` documents that each model learned from, ascending; two or more.
        predicted: of each model, 0/1 `(n_docs, n_labels)` of documents held out from all of them.
        targets: 0/1 `(n_docs, n_labels)` of these.
        n_now: documents that the served model learns from; the law is extrapolated from there.
        n_more: documents to come.
        label_masks: slice to `(n_labels,)` bool; None means one slice, `all`.
        groups: `(n_docs,)` keys; documents with the same key are drawn together.
        n_draws: bootstrap draws.
        seed: of the draws.
        level: coverage of the intervals, in (0, 1).

    Returns:
        Slice to its `n_labels`, `support`, and metric (of METRICS) to `values` (one per point),
        `last` (difference of the last two points, low, high), `next` (expected difference by
        `n_more` documents, low, high; None if that is not known), and `unknown` (why not: FEW,
        BENT, SCARCE or UNFOUND; else None).
    """
    masks = checked_masks(label_masks, targets.shape[1])
    n = np.array(n_learned, float)
    values, drawn = _draws(
        predicted, targets, np.array(list(masks.values())), groups, n_draws, seed
    )
    *_, before, last = predicted
    steps = paired_differences(
        last, before, targets, METRICS, label_masks=masks, groups=groups, level=level
    )
    found: dict[Any, dict[str, Any]] = {}
    for i, (name, mask) in enumerate(masks.items()):
        support = int(targets[:, mask].nnz)
        found[name] = {"n_labels": int(mask.sum()), "support": support}
        for j, metric in enumerate(METRICS):
            cell, curve = steps[name][metric], values[:, i, j, None]
            unknown = doubt(n, drawn[:, i, j], level) if curve.any() else UNFOUND
            unknown = SCARCE if support < LEAST_POSITIVES else unknown
            ahead = (_gains(n, f, n_now, n_more) for f in (curve, drawn[:, i, j]))
            found[name][metric] = {
                "values": curve[:, 0].tolist(),
                "last": [cell["difference"], cell["low"], cell["high"]],
                "next": None if unknown else [float(next(ahead)[0]), *_bounds(next(ahead), level)],
                "unknown": unknown,
            }
    return found


def doubt(n: Floats, drawn: Floats, level: float) -> str | None:
    """Why a power law says nothing about more documents: FEW, BENT, or None.

    Args:
        n: `(n_points,)` documents learned from.
        drawn: `(n_points, n_draws)` F1 in draws of the held-out documents.
        level: coverage, in (0, 1), of the interval of what the law without the last point predicts
            for it, less what was measured. It must hold 0.
    """
    if len(n) < LEAST_POINTS:
        return FEW
    low, high = _bounds(power_law(n[:-1], drawn[:-1], n[-1:])[0] - drawn[-1], level)
    return None if low <= 0 <= high else BENT


def power_law(n: Floats, values: Floats, at: Floats) -> Floats:
    """Fit F(n) = a − b n^−c to each column, and give its values elsewhere.

    Args:
        n: `(n_points,)` > 0, three or more.
        values: `(n_points, n_draws)` in [0, 1].
        at: `(n_at,)` > 0.

    Returns:
        `(n_at, n_draws)`.

    >>> n = np.array([100.0, 200, 400, 800])
    >>> power_law(n, (0.9 - 4 * n**-0.5)[:, None], np.array([1600.0])).round(3).tolist()
    [[0.8]]
    """
    best, found = np.full(values.shape[1], np.inf), np.zeros((len(at), values.shape[1]))
    mean = values.mean(axis=0)
    for exponent in EXPONENTS:
        x, ahead = (n / n[-1]) ** -exponent, (at / n[-1]) ** -exponent
        slope = (x - x.mean()) @ (values - mean) / np.square(x - x.mean()).sum()
        a = np.clip(mean - slope * x.mean(), 0, 1)
        slope = x @ (values - a) / np.square(x).sum()  # the same, but where `a` was clipped
        error = np.square(values - a - x[:, None] * slope).sum(axis=0)
        better = error < best
        best[better] = error[better]
        found[:, better] = (a + ahead[:, None] * slope)[:, better]
    return found


def _gains(n: Floats, values: Floats, n_now: int, n_more: int) -> Floats:
    now, then = power_law(n, values, np.array([n_now, n_now + n_more], float))
    return then - now


def _bounds(values: Floats, level: float) -> list[float]:
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()


def _draws(
    predicted: Sequence[sp.csr_matrix],
    targets: sp.csr_matrix,
    masks: npt.NDArray[np.bool_],
    groups: Sequence[Hashable] | None,
    n_draws: int,
    seed: int,
) -> tuple[Floats, Floats]:
    """F1 `(n_points, n_slices, n_metrics)` as measured, and with a last axis `n_draws` as drawn.

    Draws are moved by what they are off on average, as in `intervals`.
    """
    keys = range(targets.shape[0]) if groups is None else groups
    code: dict[Hashable, int] = {}
    rows = [code.setdefault(key, len(code)) for key in keys]
    shape = (len(code), len(rows))
    member = sp.csr_matrix((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape)
    by_label = [
        [(member @ m.astype(float)).T.tocsr() for m in (p.multiply(targets), p, targets)]
        for p in predicted
    ]

    def measured(weights: Floats) -> Floats:
        """`(n_points, n_slices, n_metrics, width)` for group weights `(n_groups, width)`."""
        found = []
        for matrices in by_label:
            labels = Counts(*(matrix @ weights for matrix in matrices))
            each = [averaged(set_metric(name), labels, labels, masks) for name in METRICS]
            found.append(np.stack(each, axis=1))
        return np.array(found)

    values = measured(np.ones((len(code), 1)))
    drawn = np.concatenate([measured(w) for w in _weights(len(code), n_draws, seed)], axis=3)
    return values[..., 0], drawn - drawn.mean(axis=3, keepdims=True) + values


def _weights(n_groups: int, n_draws: int, seed: int) -> Iterator[Floats]:
    """How often each group is drawn, `(n_groups, width)` in every block of draws."""
    rng = np.random.default_rng(seed)
    for start in range(0, n_draws, BLOCK):
        drawn = [rng.integers(n_groups, size=n_groups) for _ in range(min(BLOCK, n_draws - start))]
        yield np.array([np.bincount(d, minlength=n_groups) for d in drawn], float).T.copy()
