"""Writes and reads the points of the learning curve: what each predicted for held-out documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from components._formats.parquet_file import parquet_errors
from components._frame.files import written
from longtail.label_matrix import decode, encode

COLUMNS = {
    "n_learned": pa.int64(),
    "newest": pa.timestamp("us"),
    "id": pa.string(),
    "labels": pa.list_(pa.string()),
}


@dataclass(frozen=True)
class CurvePoint:
    """A model that learned from some of the documents.

    Attributes:
        n_learned: documents.
        newest: the date of the newest of them, datetime64[us]; NaT where none has a date.
        predicted: 0/1 CSR `(n_docs, n_labels)` of the held-out documents.
    """

    n_learned: int
    newest: np.datetime64
    predicted: sp.csr_matrix


def write_curve(
    path: Path, ids: Sequence[str], labels: Sequence[str], points: Sequence[CurvePoint]
) -> None:
    """Write one row per point and held-out document; without points, an empty table."""
    rows = len(ids)
    columns = {
        "n_learned": [point.n_learned for point in points for _ in range(rows)],
        "newest": [point.newest.item() for point in points for _ in range(rows)],
        "id": [name for _ in points for name in ids],
        "labels": [own for point in points for own in decode(point.predicted, labels)],
    }
    table = pa.table(columns, pa.schema(COLUMNS))
    with written(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_curve(path: Path, labels: Sequence[str]) -> tuple[list[str], list[CurvePoint]]:
    """The ids of the held-out documents, and the points, ascending in `n_learned`.

    Args:
        path: what `baseline` wrote.
        labels: of the columns of `predicted`.

    Raises:
        DataError: the file is not one that `baseline` wrote, or of other labels.
    """
    with parquet_errors(str(path)):
        table = pq.read_table(path, schema=pa.schema(COLUMNS)).to_pydict()
    learned = np.array(table["n_learned"], np.int64)
    points, ids = [], []
    for size in np.unique(learned):
        rows = np.flatnonzero(learned == size)
        ids = [table["id"][row] for row in rows]
        predicted = encode([table["labels"][row] for row in rows], labels)
        newest = np.datetime64(table["newest"][rows[0]] or "NaT", "us")
        points.append(CurvePoint(int(size), newest, predicted))
    return ids, points
