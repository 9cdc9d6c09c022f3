"""Score matrices larger than memory: blocks of rows or columns, and exact counts at every cut.

A score matrix may be an array or a read-only memory map. The functions here hold one block at a
time and release the pages of a memory map after each block, so the resident size does not grow to
the size of the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import DataError

BLOCK_BYTES = 128 * 2**20
POSITIVES_AT_ONCE = 50_000
TIE = 1e-6  # scores of two runs of one model may differ by this much

Binary: TypeAlias = npt.ArrayLike | sp.spmatrix | sp.sparray
Floats: TypeAlias = npt.NDArray[np.floating]


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


def check_scores(scores: Floats) -> Floats:
    """`scores` as an array; a memory map is not copied.

    Raises:
        DataError: not a two-dimensional float array.
    """
    scores = scores if isinstance(scores, np.ndarray) else np.asarray(scores)
    if scores.ndim != 2 or scores.dtype.kind != "f":
        raise DataError(
            "scores must be a float array (n_docs, n_labels), "
            f"got {scores.dtype} with {scores.ndim} dimensions."
        )
    return scores


def row_blocks(scores: Floats) -> Iterator[tuple[int, Floats]]:
    """Yield blocks of whole rows: first row, values `(n_rows, n_labels)` in the stored dtype.

    Raises:
        DataError: a score is NaN or infinite.
    """
    n_docs, n_labels = scores.shape
    height = max(1, BLOCK_BYTES // (max(1, n_labels) * 8))
    for start in range(0, n_docs, height):
        block = np.array(scores[start : start + height])
        _refuse_non_finite(block)
        _release(scores)
        yield start, block


def column_blocks(
    scores: Floats, columns: npt.NDArray[np.intp]
) -> Iterator[tuple[npt.NDArray[np.intp], Floats]]:
    """Yield blocks of whole columns: columns, values `(n_columns, n_docs)` in float32 or float64.

    float16 is widened to float32, which keeps every value and the order.

    Raises:
        DataError: a score is NaN or infinite.
    """
    n_docs, n_labels = scores.shape
    dtype = np.result_type(scores.dtype, np.float32)
    width = max(1, BLOCK_BYTES // (max(1, n_docs) * dtype.itemsize))
    height = max(1, BLOCK_BYTES // (max(1, n_labels) * scores.itemsize))
    for start in range(0, len(columns), width):
        chosen = columns[start : start + width]
        adjacent = chosen[-1] - chosen[0] + 1 == len(chosen)
        picked = slice(chosen[0], chosen[-1] + 1) if adjacent else chosen
        block = np.empty((len(chosen), n_docs), dtype=dtype)
        for top in range(0, n_docs, height):  # every column read touches every row's pages
            block[:, top : top + height] = scores[top : top + height, picked].T
            _release(scores)
        _refuse_non_finite(block)
        yield chosen, block


def positive_scores(scores: Floats, targets: sp.csr_matrix) -> Floats:
    """The scores `(n_positives,)` of all (document, label) pairs that are positive in `targets`."""
    rows = np.repeat(np.arange(targets.shape[0]), np.diff(targets.indptr))
    found = np.empty(targets.nnz, dtype=np.result_type(scores.dtype, np.float32))
    for start in range(0, targets.nnz, POSITIVES_AT_ONCE):
        part = slice(start, start + POSITIVES_AT_ONCE)
        found[part] = scores[rows[part], targets.indices[part]]
        _release(scores)
    return found


def pooled_cuts(scores: Floats, targets: sp.csr_matrix) -> Cuts:
    """One cut below each distinct score of a positive, over all documents and labels together.

    No other cut can be the best by F1: lowering a threshold past a score that no positive has
    only adds false positives.

    Raises:
        DataError: there is no positive.
    """
    positives = np.sort(positive_scores(scores, targets))
    if len(positives) == 0:
        raise DataError("targets hold no positive, so there is nothing to tune a threshold on.")
    candidates = np.unique(positives)
    n_pred = np.zeros(len(candidates), dtype=np.int64)
    below = np.full(len(candidates), -np.inf)
    for _, block in column_blocks(scores, np.arange(scores.shape[1])):
        ordered = np.sort(block, axis=None)
        counted, beneath = _count(ordered, candidates)
        n_pred += counted
        np.maximum(below, beneath, out=below)
    tp = len(positives) - np.searchsorted(positives, candidates)
    return Cuts(place(candidates, below, scores.dtype), tp, n_pred)


def label_cuts(values: Floats, positives: Floats, dtype: np.dtype) -> Cuts:
    """Like `pooled_cuts`, for one label in memory.

    Args:
        values: all scores of the label, ascending.
        positives: the scores of its positives, ascending.
        dtype: what the scores are stored in.
    """
    candidates = np.unique(positives)
    n_pred, below = _count(values, candidates)
    tp = len(positives) - np.searchsorted(positives, candidates)
    return Cuts(place(candidates, below, dtype), tp, n_pred)


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
    below = np.where(index > 0, ordered[np.maximum(index - 1, 0)], -np.inf)
    return len(ordered) - index, below.astype(np.float64)


def _refuse_non_finite(block: Floats) -> None:
    if not np.isfinite(block).all():
        kind = "NaN" if np.isnan(block).any() else "infinity"
        raise DataError(f"scores contain {kind}; every score must be a finite number.")


def _release(scores: Floats) -> None:
    """Drop the resident pages of a read-only memory map; the page cache still holds them."""
    if not (isinstance(scores, np.memmap) and scores.mode == "r"):
        return
    owner: object = scores
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
