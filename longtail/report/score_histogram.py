"""Scores counted once in fine bins per label group: precision-recall curves and calibration.

The score matrix is read once, in blocks of rows, so that its size does not matter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.evaluation.score_blocks import Floats, row_blocks
from longtail.evaluation.sparse_scores import ScoreMatrix

N_BINS = 1000
MAX_POINTS = 150


class ScoreHistogram(NamedTuple):
    """Per group and bin [k / N_BINS, (k + 1) / N_BINS): arrays (n_groups, N_BINS), float64."""

    total: npt.NDArray[np.float64]
    positives: npt.NDArray[np.float64]
    score_sum: npt.NDArray[np.float64]


def score_histogram(
    scores: ScoreMatrix, targets: sp.csr_matrix, groups: npt.ArrayLike, names: tuple[str, ...]
) -> ScoreHistogram:
    """Count all (document, label) pairs by score and label group.

    Args:
        scores: Float (n_docs, n_labels) in [0, 1]; a dropped one counts as its bound.
        targets: CSR 0/1 (n_docs, n_labels).
        groups: Group of each label, (n_labels,) str.
        names: The groups to count, in the order of the result's rows.

    Raises:
        DataError: Scores are NaN or infinite.
    """
    columns = [np.flatnonzero(np.asarray(groups) == name) for name in names]
    found = ScoreHistogram(*(np.zeros((len(names), N_BINS)) for _ in ScoreHistogram._fields))
    for start, block in row_blocks(scores):
        truth = targets[start : start + len(block)].tocsc()
        for group, chosen in enumerate(columns):
            part = block[:, chosen].astype(np.float32, copy=False)
            own = truth[:, chosen].tocoo()
            bins = np.minimum((part * N_BINS).astype(np.int16), N_BINS - 1).ravel()
            found.total[group] += np.bincount(bins, minlength=N_BINS)
            found.score_sum[group] += np.bincount(bins, part.ravel(), minlength=N_BINS)
            hit = bins.reshape(part.shape)[own.row, own.col]
            found.positives[group] += np.bincount(hit, minlength=N_BINS)
    return found


def precision_recall(total: Floats, positives: Floats) -> dict[str, list[float]]:
    """The curve of one histogram (N_BINS,): `threshold`, `precision`, `recall`, descending.

    At most `MAX_POINTS` points, spread evenly over recall; empty without positives.
    """
    n_pred, tp = np.cumsum(total[::-1]), np.cumsum(positives[::-1])
    if tp[-1] == 0:
        return {"threshold": [], "precision": [], "recall": []}
    thresholds = np.arange(N_BINS)[::-1] / N_BINS
    changed = np.flatnonzero(np.diff(tp, prepend=0) > 0)
    spread = np.linspace(0, tp[-1], MAX_POINTS)
    kept = np.unique(changed[np.minimum(np.searchsorted(tp[changed], spread), len(changed) - 1)])
    return {
        "threshold": [float(t) for t in thresholds[kept]],
        "precision": [round(float(p), 4) for p in tp[kept] / n_pred[kept]],
        "recall": [round(float(r), 4) for r in tp[kept] / tp[-1]],
    }


def calibration(total: Floats, positives: Floats, score_sum: Floats, n_bins: int) -> dict[str, Any]:
    """Expected calibration error and the reliability table of one histogram (N_BINS,).

    ECE = Σ_b n_b / n · |share of positives − mean score| over `n_bins` bins of equal width
    (Naeini et al. 2015); `n_bins` must divide `N_BINS`. Empty bins are left out.
    """
    count, hits, mass = (x.reshape(n_bins, -1).sum(1) for x in (total, positives, score_sum))
    filled = np.flatnonzero(count)
    share, mean = hits[filled] / count[filled], mass[filled] / count[filled]
    ece = float((count[filled] * np.abs(share - mean)).sum() / max(1.0, count.sum()))
    rows = zip(filled, count[filled], mean, share, strict=True)
    return {
        "ece": ece,
        "bins": [
            {
                "low": int(b) / n_bins,
                "high": (int(b) + 1) / n_bins,
                "n": int(n),
                "mean_score": float(m),
                "share_positive": float(s),
            }
            for b, n, m, s in rows
        ],
    }
