"""Which scores of a document are kept, where there are very many labels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import ParameterError
from longtail.evaluation.score_blocks import Floats, block_height, refuse_non_finite
from longtail.evaluation.sparse_scores import NOTHING, ScoreMatrix, SparseScores, stacked


@dataclass(frozen=True)
class Keep:
    """What is kept: everything of a corpus with at most `best_labels` labels.

    With more labels, a document keeps its `best_labels` highest scores that are at least `floor`,
    of equal ones the lower columns, and those of its true labels, whatever they are.

    Attributes:
        best_labels: per document.
        floor: in [0, 1].
    """

    best_labels: int
    floor: float

    def is_all(self, n_labels: int) -> bool:
        """Whether every score is kept."""
        return n_labels <= self.best_labels

    def scored(self, score: Callable[[slice], Floats], targets: sp.csr_matrix) -> ScoreMatrix:
        """Score documents in blocks, and keep what is to be kept of each.

        Args:
            score: the scores `(n_rows, n_labels)` of some rows, in [0, 1].
            targets: 0/1 `(n_docs, n_labels)`.

        Returns:
            What `score` returns for all rows, if there are no more than `best_labels` labels.

        Raises:
            ParameterError: as in `check`.
            DataError: a score is NaN or infinite.
        """
        n_docs, n_labels = targets.shape
        if self.is_all(n_labels):
            return score(slice(0, n_docs))
        self.check(targets)
        height = block_height(n_labels)
        # A block even without documents, which tells the dtype.
        blocks = [slice(start, start + height) for start in range(0, max(n_docs, 1), height)]
        return stacked([self._kept(score(rows), targets[rows]) for rows in blocks])

    def check(self, targets: sp.csr_matrix) -> None:
        """Make sure that all true labels of these documents can be kept.

        Args:
            targets: 0/1 `(n_docs, n_labels)`.

        Raises:
            ParameterError: a document has more than `best_labels` of them.
        """
        most = int(np.diff(targets.indptr).max(initial=0))
        if most > self.best_labels:
            raise ParameterError(
                f"best_labels is {self.best_labels}, but a document has {most} true labels: no "
                f"threshold could find them all. Set it to {most} or more, better ten times that."
            )

    def _kept(self, scores: Floats, targets: sp.csr_matrix) -> SparseScores:
        refuse_non_finite(scores)
        kept = best_mask(scores, self.best_labels) & (scores >= self.floor)
        kept |= targets.toarray() > 0
        rows, columns = np.nonzero(kept)
        values = scores[kept]
        dropped = np.where(kept, NOTHING, scores).astype(scores.dtype, copy=False)
        return SparseScores(
            values,
            columns.astype(np.int32),
            np.searchsorted(rows, np.arange(len(scores) + 1)).astype(np.int64),
            dropped.max(axis=1, initial=NOTHING),
            dropped.max(axis=0, initial=NOTHING),
        )


EVERYTHING = Keep(sys.maxsize, 0.0)


def best_mask(scores: Floats, k: int) -> npt.NDArray[np.bool_]:
    """Whether a score is among the k highest of its document; of equal ones the lower columns."""
    n_labels = scores.shape[1]
    if k >= n_labels:
        return np.ones(scores.shape, dtype=bool)
    kth = np.partition(scores, n_labels - k, axis=1)[:, -k][:, None]
    above, tied = scores > kth, scores == kth
    room = k - above.sum(axis=1, keepdims=True)
    return above | (tied & (np.cumsum(tied, axis=1, dtype=np.int32) <= room))
