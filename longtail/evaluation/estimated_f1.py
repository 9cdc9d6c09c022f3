"""Micro-F1 of documents without labels, estimated from calibrated scores.

If a score is the probability that its label is right, the scores themselves say how many of the
predictions are right, and how many labels there are: E[tp] is the sum of the probabilities of the
predicted labels, E[n_pos] the sum of all of them. Micro-F1 is estimated as
2 E[tp] / (n_pred + E[n_pos]), as NannyML's CBPE does for one label per document (nannyml.com,
"confidence-based performance estimation"); the ratio of expectations is not the expected ratio, but
over the sums of many documents the two differ by less than the estimate's own error.

Scores are made probabilities by isotonic regression on validation documents, over all labels
together (Zadrozny and Elkan 2002). Whatever breaks the calibration breaks the estimate: it assumes
that P(label | score) has not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from longtail.evaluation.metrics import Counts, ratio
from longtail.evaluation.score_blocks import Floats, row_blocks
from longtail.evaluation.sparse_scores import ScoreMatrix

N_BINS = 10_000  # of scores; more would not change the fourth digit of a probability


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing function from scores to probabilities, linear between its knots.

    Attributes:
        scores: `(n_knots,)` in [0, 1], ascending.
        probabilities: `(n_knots,)` in [0, 1].
    """

    scores: Sequence[float]
    probabilities: Sequence[float]

    def __call__(self, scores: Floats) -> Floats:
        """The probability of each score, of the same shape."""
        return np.interp(scores, self.scores, self.probabilities)


def calibrate(scores: ScoreMatrix, targets: sp.csr_matrix) -> Calibration:
    """Fit the calibration to scores and targets, both `(n_docs, n_labels)`.

    A score that was dropped counts as its bound, here and in `expected_counts`.

    The scores must be those of documents that the model was not trained on.
    """
    n_scores, n_right, total = (np.zeros(N_BINS) for _ in range(3))
    for start, block in row_blocks(scores):
        right = targets[start : start + len(block)].toarray().ravel()
        values = np.asarray(block, dtype=np.float64).ravel()
        place = np.minimum((values * N_BINS).astype(np.int64), N_BINS - 1)
        n_scores += np.bincount(place, minlength=N_BINS)
        n_right += np.bincount(place, weights=right, minlength=N_BINS)
        total += np.bincount(place, weights=values, minlength=N_BINS)
    from sklearn.isotonic import IsotonicRegression  # takes a second to load

    seen = n_scores > 0
    model = IsotonicRegression(out_of_bounds="clip")
    model.fit(
        total[seen] / n_scores[seen],
        n_right[seen] / n_scores[seen],
        sample_weight=n_scores[seen],
    )
    return Calibration(model.X_thresholds_.tolist(), model.y_thresholds_.tolist())


def expected_counts(
    scores: ScoreMatrix, predicted: sp.csr_matrix, calibration: Calibration
) -> Counts:
    """Expected counts of each document, each `(n_docs,)`.

    Args:
        scores: `(n_docs, n_labels)`.
        predicted: 0/1 `(n_docs, n_labels)`, the labels that the model predicts.
        calibration: of the model that scored them.
    """
    right, there = (np.zeros(scores.shape[0]) for _ in range(2))
    for start, block in row_blocks(scores):
        rows = slice(start, start + len(block))
        probabilities = calibration(block)
        right[rows] = (probabilities * predicted[rows].toarray()).sum(axis=1)
        there[rows] = probabilities.sum(axis=1)
    return Counts(right, np.diff(predicted.indptr), there)


def estimated_f1(counts: Counts) -> float:
    """Micro-F1 estimated from `expected_counts`.

    >>> estimated_f1(Counts(np.array([0.9]), np.array([1]), np.array([1.0])))
    0.9
    """
    return float(ratio(2 * counts.tp.sum(), counts.n_pred.sum() + counts.n_pos.sum()))
