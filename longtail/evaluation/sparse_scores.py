"""The scores that are kept where there are too many labels for a dense matrix.

A document keeps its best labels and its true ones (`longtail.evaluation.keeping`). Of a dropped
cell only a bound is known: the lower of the highest score dropped of its document and of its label.

- Whatever reads dropped cells (predictions, ranks, average precision, calibration) takes the bound
  for the score. All dropped labels are wrong ones, so no metric flatters the model.
- While a threshold is above its label's limit, the predictions are those of all scores. That is so
  for tuned thresholds on the documents that they were tuned on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from longtail.errors import DataError

Floats: TypeAlias = npt.NDArray[np.floating]
CELLS_AT_ONCE = 4_000_000
NOTHING = -np.inf  # the limit where no score is dropped


@dataclass(frozen=True)
class SparseScores:
    """Scores `(n_docs, n_labels)` without the dropped ones; arrays may be memory maps.

    Attributes:
        values: `(n_kept,)` float32 or float64, document after document.
        columns: `(n_kept,)` int32 label of each, ascending within a document.
        starts: `(n_docs + 1,)` int64: where each document's cells begin, and the end of the last.
        doc_limits: `(n_docs,)` upper bound of the scores dropped of each document; `NOTHING` if all
            are kept.
        label_limits: `(n_labels,)` the same of each label.
    """

    values: Floats
    columns: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    doc_limits: Floats
    label_limits: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """`(n_docs, n_labels)`."""
        return len(self.doc_limits), len(self.label_limits)

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.values.dtype

    @property
    def limit(self) -> float:
        """Upper bound of all dropped scores."""
        return float(np.max(self.label_limits, initial=NOTHING))

    def part(self, start: int, stop: int) -> SparseScores:
        """The documents from `start` to before `stop`, not copied."""
        cells = slice(self.starts[start], self.starts[stop])
        return replace(
            self,
            values=self.values[cells],
            columns=self.columns[cells],
            starts=self.starts[start : stop + 1] - self.starts[start],
            doc_limits=self.doc_limits[start:stop],
        )

    def parts(self) -> Iterator[tuple[int, SparseScores]]:
        """All documents in parts of `CELLS_AT_ONCE` kept cells: the first document, the part."""
        start, n_docs = 0, self.shape[0]
        while True:  # one part even without documents
            most = self.starts[start] + CELLS_AT_ONCE
            stop = max(start + 1, int(np.searchsorted(self.starts, most, side="right")) - 1)
            stop = min(stop, n_docs)
            yield start, self.part(start, stop)
            start = stop
            if start >= n_docs:
                return

    def cells(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Document and label `(n_kept,)` of each kept cell."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.starts)), self.columns

    def bounds(self, rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer]) -> Floats:
        """The upper bounds of these cells, if they are dropped."""
        return np.minimum(self.doc_limits[rows], self.label_limits[columns])

    def at(self, rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer]) -> Floats:
        """The scores of these cells; of a dropped one its bound."""
        found = self.bounds(rows, columns)
        # In CSR order, so that a part is looked at once.
        order = np.lexsort((columns, rows))
        # SciPy's row numbers are int32, and row × n_labels may be beyond it.
        rows, columns = np.asarray(rows, dtype=np.int64)[order], np.asarray(columns)[order]
        for start, part in self.parts():
            mine = slice(*np.searchsorted(rows, [start, start + part.shape[0]]))
            own, labels = part.cells()
            keys = own * self.shape[1] + labels
            wanted = (rows[mine] - start) * self.shape[1] + columns[mine]
            place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
            if len(keys):
                hit = keys[place] == wanted
                found[order[mine][hit]] = part.values[place[hit]]
        return found

    def dense(self, dropped: float | None = None) -> Floats:
        """All cells `(n_docs, n_labels)`, for a few documents.

        Args:
            dropped: what stands for a dropped score; None takes its bound.
        """
        if dropped is None:
            found = np.minimum(self.doc_limits[:, None], self.label_limits[None, :])
            found = np.where(np.isneginf(found), 0, found).astype(self.dtype)
        else:
            found = np.full(self.shape, dropped, dtype=self.dtype)
        found[self.cells()] = self.values
        return found

    def reached(self, thresholds: npt.ArrayLike) -> int:
        """How many labels have dropped scores that may reach their threshold `(n_labels,)`."""
        return int((self.label_limits >= np.asarray(thresholds)).sum())


ScoreMatrix: TypeAlias = Floats | SparseScores


def stacked(parts: Sequence[ScoreMatrix]) -> ScoreMatrix:
    """The documents of all parts, one after another; all parts are dense, or none."""
    sparse = [part for part in parts if isinstance(part, SparseScores)]
    if not sparse:
        return np.concatenate([part for part in parts if isinstance(part, np.ndarray)])
    assert len(sparse) == len(parts), "dense and sparse scores cannot be stacked"
    ends = np.cumsum([0, *(len(part.values) for part in sparse)])
    starts = [part.starts[1:] + end for part, end in zip(sparse, ends, strict=False)]
    return SparseScores(
        np.concatenate([part.values for part in sparse]),
        np.concatenate([part.columns for part in sparse]),
        np.concatenate([np.zeros(1, dtype=np.int64), *starts]),
        np.concatenate([part.doc_limits for part in sparse]),
        np.max([part.label_limits for part in sparse], axis=0),
    )


def taken(scores: ScoreMatrix, rows: npt.NDArray[np.integer]) -> ScoreMatrix:
    """These documents, in this order."""
    if not isinstance(scores, SparseScores):
        return np.asarray(scores)[rows]
    lengths = np.diff(scores.starts)[rows]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    cells = np.repeat(scores.starts[:-1][rows] - starts[:-1], lengths) + np.arange(starts[-1])
    return replace(
        scores,
        values=scores.values[cells],
        columns=scores.columns[cells],
        starts=starts,
        doc_limits=scores.doc_limits[rows],
    )


def top_scores(scores: ScoreMatrix) -> Floats:
    """The highest score of each document `(n_docs,)`, dropped or not."""
    if not isinstance(scores, SparseScores):
        return scores.max(axis=1)
    found = np.array(scores.doc_limits)
    filled = np.flatnonzero(np.diff(scores.starts))
    if len(filled):
        best = np.maximum.reduceat(scores.values, scores.starts[:-1][filled])
        found[filled] = np.maximum(found[filled], best)
    return found


def united(one: SparseScores, other: SparseScores) -> tuple[SparseScores, Floats]:
    """The cells that either has, with the scores `(n_cells,)` of both; a dropped one is its bound.

    Returns:
        `one` with those cells, and the scores of `other` in them.
    """
    if one.shape != other.shape:
        raise DataError(f"scores have shapes {one.shape} and {other.shape}, expected the same.")
    found: list[tuple[Floats, ...]] = []
    lengths = np.zeros(one.shape[0] + 1, dtype=np.int64)
    for start, mine in one.parts():
        stop = start + mine.shape[0]
        theirs, n_labels = other.part(start, stop), one.shape[1]
        keys = [rows * n_labels + columns for rows, columns in (mine.cells(), theirs.cells())]
        every = np.union1d(*keys)
        rows, columns = np.divmod(every, n_labels)
        sides = []
        for side, own in zip((mine, theirs), keys, strict=True):
            scores = side.bounds(rows, columns)
            scores[np.searchsorted(every, own)] = side.values
            sides.append(scores)
        lengths[start + 1 : stop + 1] = np.bincount(rows, minlength=stop - start)
        found.append((columns.astype(np.int32), *sides))
    columns, values, others = (np.concatenate(part) for part in zip(*found, strict=True))
    return replace(one, values=values, columns=columns, starts=np.cumsum(lengths)), others
