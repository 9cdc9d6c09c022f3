"""Score matrices larger than memory: blocks of rows or columns, and exact counts at every cut.

A score matrix may be an array, a read-only memory map, or `SparseScores`. The functions here hold
one block at a time and release the pages of a memory map after each block, so the resident size
does not grow to the size of the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import DataError
from longtail.evaluation.sparse_scores import NOTHING, Floats, ScoreMatrix, SparseScores

BLOCK_BYTES = 128 * 2**20
POSITIVES_AT_ONCE = 50_000
TIE = 1e-6  # scores of two runs of one model may differ by this much

Binary: TypeAlias = npt.ArrayLike | sp.spmatrix | sp.sparray


class Cuts(NamedTuple):
    """Ways to cut a set of scores in two, ascending: predict where `score >= threshold`."""

    threshold: Floats  # (n_cuts,) float64
    tp: npt.NDArray[np.int64]  # (n_cuts,) positives at or above the threshold
    n_pred: npt.NDArray[np.int64]  # (n_cuts,) scores at or above the threshold


def binary_csr(matrix: Binary, name: str, shape: tuple[int, int] | None = None) -> sp.csr_matrix:
    """`matrix` `(n_docs, n_labels)` as a canonical CSR matrix of int8 ones.

    Args:
        matrix: an array or sparse matrix.
        name: what error messages call it.
        shape: the expected shape; None allows any.

    Raises:
        DataError: not two-dimensional, values other than 0 and 1, or another shape.
    """
    if not sp.issparse(matrix) and np.ndim(matrix) != 2:
        raise DataError(f"{name} must be (n_docs, n_labels), got {np.ndim(matrix)} dimensions.")
    csr = sp.csr_matrix(matrix, copy=True)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    if csr.nnz and not (csr.data == 1).all():
        wrong = csr.data[csr.data != 1][0]
        raise DataError(f"{name} must hold only 0 and 1, got {wrong}.")
    if shape is not None and csr.shape != shape:
        raise DataError(f"{name} has shape {csr.shape}, expected {shape} (n_docs, n_labels).")
    return csr.astype(np.int8)


def check_scores(scores: ScoreMatrix) -> ScoreMatrix:
    """`scores` as an array; sparse ones and a memory map are not copied.

    Raises:
        DataError: not a two-dimensional float array.
    """
    if isinstance(scores, SparseScores):
        return scores
    scores = scores if isinstance(scores, np.ndarray) else np.asarray(scores)
    if scores.ndim != 2 or scores.dtype.kind != "f":
        raise DataError(
            "scores must be a float array (n_docs, n_labels), "
            f"got {scores.dtype} with {scores.ndim} dimensions."
        )
    return scores


def block_height(n_labels: int) -> int:
    """Documents of a block of rows."""
    return max(1, BLOCK_BYTES // (max(1, n_labels) * 8))


def row_blocks(scores: ScoreMatrix) -> Iterator[tuple[int, Floats]]:
    """Yield blocks of whole rows: first row, values `(n_rows, n_labels)` in the stored dtype.

    A score dropped from `SparseScores` is its bound.

    Raises:
        DataError: a score is NaN or infinite.
    """
    for start, part in parts_of(scores, block_height(scores.shape[1])):
        block = part.dense() if isinstance(part, SparseScores) else np.array(part)
        refuse_non_finite(block)
        release(scores)
        yield start, block


def parts_of(scores: ScoreMatrix, height: int) -> Iterator[tuple[int, ScoreMatrix]]:
    """At most `height` documents at a time, not copied: the first of them, and their scores."""
    for start in range(0, scores.shape[0], height):
        stop = min(start + height, scores.shape[0])
        part = scores.part(start, stop) if isinstance(scores, SparseScores) else scores[start:stop]
        yield start, part


def kept_parts(scores: SparseScores) -> Iterator[tuple[int, SparseScores]]:
    """Yield the kept scores in parts: first row, its documents.

    Raises:
        DataError: a score is NaN or infinite.
    """
    for start, part in scores.parts():
        refuse_non_finite(part.values)
        yield start, part
        release(scores)


def column_blocks(
    scores: ScoreMatrix, columns: npt.NDArray[np.intp]
) -> Iterator[tuple[npt.NDArray[np.intp], Floats]]:
    """Yield blocks of whole columns: columns, values `(n_columns, n_docs)` in float32 or float64.

    float16 is widened to float32, which keeps every value and the order. A score dropped from
    `SparseScores` is its bound.

    Raises:
        DataError: a score is NaN or infinite.
    """
    n_docs, n_labels = scores.shape
    dtype = np.result_type(scores.dtype, np.float32)
    width = max(1, BLOCK_BYTES // (max(1, n_docs) * dtype.itemsize))
    height = max(1, BLOCK_BYTES // (max(1, n_labels) * scores.dtype.itemsize))
    for start in range(0, len(columns), width):
        chosen = columns[start : start + width]
        adjacent = chosen[-1] - chosen[0] + 1 == len(chosen)
        picked = slice(chosen[0], chosen[-1] + 1) if adjacent else chosen
        block = np.empty((len(chosen), n_docs), dtype=dtype)
        for top, part in parts_of(scores, height):  # every column read touches every row's pages
            rows = part.dense() if isinstance(part, SparseScores) else part
            block[:, top : top + height] = rows[:, picked].T
            release(scores)
        refuse_non_finite(block)
        yield chosen, block


def positive_scores(scores: ScoreMatrix, targets: sp.csr_matrix) -> Floats:
    """The scores `(n_positives,)` of all (document, label) pairs that are positive in `targets`."""
    rows = np.repeat(np.arange(targets.shape[0]), np.diff(targets.indptr))
    if isinstance(scores, SparseScores):
        return scores.at(rows, targets.indices)
    found = np.empty(targets.nnz, dtype=np.result_type(scores.dtype, np.float32))
    for start in range(0, targets.nnz, POSITIVES_AT_ONCE):
        part = slice(start, start + POSITIVES_AT_ONCE)
        found[part] = scores[rows[part], targets.indices[part]]
        release(scores)
    return found


def pooled_cuts(scores: ScoreMatrix, targets: sp.csr_matrix) -> Cuts:
    """One cut below each distinct score of a positive, over all documents and labels together.

    No other cut can be the best by F1: lowering a threshold past a score that no positive has
    only adds false positives. Where scores were dropped, no cut is below any of them.

    Raises:
        DataError: there is no positive.
    """
    positives = np.sort(positive_scores(scores, targets))
    if len(positives) == 0:
        raise DataError("targets hold no positive, so there is nothing to tune a threshold on.")
    limit = scores.limit if isinstance(scores, SparseScores) else NOTHING
    candidates = _candidates(positives, limit, scores.dtype)
    n_pred = np.zeros(len(candidates), dtype=np.int64)
    below = np.full(len(candidates), limit, dtype=np.float64)
    for values in _values(scores):
        counted, beneath = _count(np.sort(values), candidates)
        n_pred += counted
        np.maximum(below, beneath, out=below)
    tp = len(positives) - np.searchsorted(positives, candidates)
    return Cuts(place(candidates, below, scores.dtype), tp, n_pred)


def _values(scores: ScoreMatrix) -> Iterator[Floats]:
    """All scores that are not dropped, in flat blocks."""
    if isinstance(scores, SparseScores):
        yield from (part.values for _, part in kept_parts(scores))
    else:
        yield from (block.ravel() for _, block in column_blocks(scores, np.arange(scores.shape[1])))


def _candidates(positives: Floats, limit: float, dtype: np.dtype) -> Floats:
    """The distinct scores of positives above the limit; if there is none, the next number."""
    found = np.unique(positives)
    found = found[found > limit]
    if len(found):
        return found
    return np.nextafter(np.array([limit], dtype=dtype), np.array(np.inf, dtype=dtype))


def label_scores(
    scores: ScoreMatrix, targets: sp.csr_matrix, labels: npt.NDArray[np.intp]
) -> Iterator[tuple[int, Floats, Floats]]:
    """Yield for each of these labels its column, all its scores and those of its positives.

    Labels and scores are ascending; dropped scores are left out.

    Raises:
        DataError: a score is NaN or infinite.
    """
    by_label = targets.tocsc()
    if isinstance(scores, SparseScores):
        found = positive_scores(scores, targets)
        of_positives = sp.csr_matrix(
            (found, targets.indices, targets.indptr), targets.shape
        ).tocsc()
        for label, values in _kept_columns(scores, labels):
            own = slice(*by_label.indptr[label : label + 2])
            yield label, values, np.sort(of_positives.data[own])
        return
    for columns, block in column_blocks(scores, labels):
        for label, row in zip(columns.tolist(), block, strict=True):
            holders = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]
            yield label, np.sort(row), np.sort(row[holders])


def _kept_columns(
    scores: SparseScores, labels: npt.NDArray[np.intp]
) -> Iterator[tuple[int, Floats]]:
    """Each label and its kept scores, ascending; as many labels at a time as fit a block."""
    counts = np.zeros(scores.shape[1], dtype=np.int64)
    for _, part in kept_parts(scores):
        counts += np.bincount(part.columns, minlength=len(counts))
    most = BLOCK_BYTES // (2 * np.dtype(np.float64).itemsize)
    batches = (np.cumsum(counts[labels]) - 1) // max(1, most)
    for batch in np.unique(batches):
        some = labels[batches == batch]
        wanted = np.zeros(len(counts), dtype=bool)
        wanted[some] = True
        found = [(p.columns[m], p.values[m]) for _, p in kept_parts(scores)
                 for m in [wanted[p.columns]]]  # fmt: skip
        columns, values = (np.concatenate(side) for side in zip(*found, strict=True))
        values = values[np.lexsort((values, columns))]
        ends = np.cumsum(counts[some])
        for label, start, end in zip(some.tolist(), ends - counts[some], ends, strict=True):
            yield label, values[start:end]


def label_cuts(values: Floats, positives: Floats, dtype: np.dtype, limit: float = NOTHING) -> Cuts:
    """Like `pooled_cuts`, for one label in memory.

    Args:
        values: all scores of the label that were not dropped, ascending.
        positives: the scores of its positives, ascending.
        dtype: what the scores are stored in.
        limit: upper bound of its dropped scores.
    """
    candidates = _candidates(positives, limit, dtype)
    n_pred, below = _count(values, candidates)
    tp = len(positives) - np.searchsorted(positives, candidates)
    return Cuts(place(candidates, np.maximum(below, limit), dtype), tp, n_pred)


def place(candidates: Floats, below: Floats, dtype: np.dtype) -> Floats:
    """Place a threshold between each candidate score and the next lower one.

    It is the midpoint, rounded to the stored dtype: a score has to move by half the gap before its
    prediction changes, and comparing in `dtype` or in any wider one gives the same answer. If no
    number of that dtype lies between the two, it is the score itself. The threshold below the
    lowest score of all is `TIE` below it.

    Args:
        candidates: `(n_cuts,)` scores that the thresholds are to include.
        below: `(n_cuts,)` float64 next lower scores, -inf if there is none.
        dtype: what the scores are stored in.

    Returns:
        `(n_cuts,)` float64.
    """
    upper = candidates.astype(np.float64)
    lower = np.where(np.isneginf(below), upper - 2 * TIE, below)
    middle = (lower + (upper - lower) / 2).astype(dtype).astype(np.float64)
    return np.where((middle > lower) & (middle <= upper), middle, upper)


def _count(
    ordered: Floats, candidates: Floats
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For each candidate: how many of the ascending scores are at or above it; the next below."""
    index = np.searchsorted(ordered, candidates)
    if not len(ordered):
        return index, np.full(len(candidates), NOTHING)
    below = np.where(index > 0, ordered[np.maximum(index - 1, 0)], NOTHING)
    return len(ordered) - index, below.astype(np.float64)


def refuse_non_finite(block: Floats) -> None:
    """Raise DataError if a score is NaN or infinite."""
    if not np.isfinite(block).all():
        kind = "NaN" if np.isnan(block).any() else "infinity"
        raise DataError(f"scores contain {kind}; every score must be a finite number.")


def release(scores: ScoreMatrix) -> None:
    """Drop the resident pages of a read-only memory map; the page cache still holds them."""
    if isinstance(scores, SparseScores):
        _release_pages(scores.values)
        _release_pages(scores.columns)
    else:
        _release_pages(scores)


def _release_pages(array: npt.NDArray) -> None:
    if not (isinstance(array, np.memmap) and array.mode == "r"):
        return
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
