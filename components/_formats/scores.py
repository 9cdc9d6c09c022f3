"""Reads and writes a folder of scores, one row per document and one column per label.

Dense scores are in one array, sparse ones (`longtail.evaluation.sparse_scores`) in five.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import scipy.sparse as sp

from components._frame.files import written
from longtail.errors import DataError
from longtail.evaluation.sparse_scores import ScoreMatrix, SparseScores, taken

# float16 has 2 MB less per 2,524 × 393 scores, and no number between 0.9995 and 1: what is nearly
# certain would be certain, and thresholds and blends could not tell it from the rest.
DTYPES = (np.float32, np.float64)
DENSE = "scores.npy"
SPARSE = {field.name: f"{field.name}.npy" for field in fields(SparseScores)}


@dataclass(frozen=True)
class Scores:
    """Scores of documents, with their true labels.

    Attributes:
        ids: of the documents, the rows.
        labels: the columns.
        scores: σ(z) in [0, 1], float32 or float64 `(n_docs, n_labels)`, dense or sparse;
            memory-mapped after reading.
        targets: true labels, 0/1 CSR `(n_docs, n_labels)`.
    """

    ids: list[str]
    labels: list[str]
    scores: ScoreMatrix
    targets: sp.csr_matrix


def write_scores(path: Path, scores: Scores) -> None:
    """Write the folder `path`: arrays, `targets.npz`, `index.json`; refuses float16."""
    if scores.scores.dtype not in DTYPES:
        raise TypeError(f"scores must be float32 or float64, got {scores.scores.dtype}.")
    with written(path) as folder:
        folder.mkdir()
        for name, array in _arrays(scores.scores).items():
            np.save(folder / name, array, allow_pickle=False)
        sp.save_npz(folder / "targets.npz", scores.targets.astype(np.int8))
        index = {"ids": scores.ids, "labels": scores.labels}
        (folder / "index.json").write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")


def _arrays(scores: ScoreMatrix) -> dict[str, np.ndarray]:
    if isinstance(scores, SparseScores):
        return {file: getattr(scores, name) for name, file in SPARSE.items()}
    return {DENSE: scores}


def read_scores(path: Path) -> Scores:
    """Read a folder made by `write_scores`; DataError if a file is missing, damaged or wrong."""
    try:
        index = json.loads((path / "index.json").read_text(encoding="utf-8"))
        scores = _read(path)
        targets = sp.load_npz(path / "targets.npz").tocsr()
        shape = (len(index["ids"]), len(index["labels"]))
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise DataError(
            f"{path} is not a complete folder of scores ({error}); remove it and run `dvc repro`."
        ) from None
    if scores.shape != shape or targets.shape != shape:
        raise DataError(
            f"{path}: scores {scores.shape} and targets {targets.shape} do not match the index "
            f"{shape}; remove the folder and run `dvc repro`."
        )
    if scores.dtype not in DTYPES:
        raise DataError(
            f"{path}: scores are {scores.dtype}; expected float32 or float64 (in float16, 0.9999 "
            "is 1). Write them again; `dvc repro` does so for the stages of this pipeline."
        )
    return Scores(index["ids"], index["labels"], scores, targets)


def _read(path: Path) -> ScoreMatrix:
    """The scores; ValueError if the arrays of sparse ones do not fit each other."""
    if not (path / SPARSE["values"]).exists():
        return _mapped(path / DENSE)
    found = SparseScores(**{name: _mapped(path / file) for name, file in SPARSE.items()})
    starts, columns = found.starts, found.columns
    if not (
        all(array.ndim == 1 for array in (found.values, columns, starts))
        and len(starts) == found.shape[0] + 1
        and starts[0] == 0
        and (np.diff(starts) >= 0).all()
        and starts[-1] == len(columns) == len(found.values)
        and (not len(columns) or 0 <= columns.min() <= columns.max() < found.shape[1])
    ):
        raise ValueError("its arrays do not fit each other")
    return found


def _mapped(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def scores_of(path: Path, ids: list[str], labels: list[str]) -> ScoreMatrix:
    """The scores `(n_docs, n_labels)` of these documents in a folder that may have more of them.

    Raises:
        DataError: as `read_scores`, or a document is missing, or the labels are others.
    """
    found = read_scores(path)
    if (found.ids, found.labels) == (ids, labels):
        return found.scores
    at = {name: row for row, name in enumerate(found.ids)}
    missing = [name for name in ids if name not in at]
    if missing or found.labels != labels:
        what = f"has no scores of {missing[0]!r}" if missing else "has other labels"
        raise DataError(f"{path} {what}, so it is not of the same run; run `dvc repro`.")
    return taken(found.scores, np.array([at[name] for name in ids], dtype=np.int64))


def said_dropped(scores: ScoreMatrix, thresholds: np.ndarray) -> str:
    """What a stage's line says of dropped scores; empty where all are kept.

    Args:
        scores: `(n_docs, n_labels)`.
        thresholds: `(n_labels,)`.
    """
    if not isinstance(scores, SparseScores):
        return ""
    n_reached = scores.reached(thresholds)
    if not n_reached:
        return "; no dropped score is as high as a threshold"
    return (
        f"; dropped scores may reach the thresholds of {n_reached:,} labels, and count "
        "as false positives there: raise scores.best_labels"
    )
