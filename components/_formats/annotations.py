"""Files of several annotators: their judgments, and what the labels they agree on count.

The judgments are an optional file beside the corpus; `validate` writes the weights of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from components._frame.files import written
from longtail.errors import DataError

OPTIONAL = {"annotated_at": pa.timestamp("us")}
WEIGHTS = {"id": pa.string(), "label": pa.string(), "weight": pa.float64()}


def read_annotations(path: Path) -> dict[str, list[Any]] | None:
    """The columns id, annotator, labels of `annotations.parquet`, and annotated_at if it has that.

    Only annotated_at may have nulls. None if there is no file.
    """
    if not path.exists():
        return None
    wanted = {"id": pa.string(), "annotator": pa.string(), "labels": pa.list_(pa.string())}
    try:
        table = pq.read_table(path)
        missing = set(wanted) - set(table.column_names)
        if missing:
            raise DataError(
                f"{path}: column(s) {', '.join(sorted(missing))} missing; "
                f"expected {', '.join(wanted)}, got {', '.join(table.column_names)}."
            )
        optional = {name: kind for name, kind in OPTIONAL.items() if name in table.column_names}
        typed = (wanted | optional).items()
        # Finer times than microseconds are cut, as the corpus's are.
        columns = {
            name: table.column(name).cast(kind, safe=not pa.types.is_timestamp(kind))
            for name, kind in typed
        }
        for column in columns.values():
            column.validate(full=True)  # other tools write strings that are no UTF-8
        lists = {name: column.to_pylist() for name, column in columns.items()}
    except (pa.ArrowException, OSError, OverflowError) as error:  # a year beyond 9999
        raise DataError(
            f"{path} is not a readable file of judgments ({error}); expected id (string), "
            "annotator (string), labels (list of strings), and optionally annotated_at "
            "(timestamp). Write it again or remove it."
        ) from None
    for name, column in columns.items():
        if column.null_count and name in wanted:
            row = column.is_null().to_pylist().index(True) + 1
            raise DataError(f"{path}: row {row}, column {name!r} is null; fill or remove the row.")
    return lists


def write_label_weights(path: Path, cells: Sequence[tuple[str, str, float]]) -> None:
    """Write what labels of documents count in training: id, label, and a weight in (0, 1).

    Every other document and label counts 1; without any cell the table is empty.
    """
    rows = [dict(zip(WEIGHTS, cell, strict=True)) for cell in cells]
    table = pa.Table.from_pylist(rows, pa.schema(WEIGHTS))
    with written(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_label_weights(path: Path) -> pd.DataFrame:
    """What `write_label_weights` wrote: id, label, weight.

    Raises:
        DataError: it is another file.
    """
    try:
        # A file, with all columns: a folder is read as its files, a missing column as nulls.
        table = pq.ParquetFile(path).read()
        table.validate(full=True)  # strings that are no UTF-8
        got = [f"{field.name} ({field.type})" for field in table.schema]
        problem = "" if table.schema.equals(pa.schema(WEIGHTS)) else f"columns {', '.join(got)}"
        cells = table.to_pandas()
        problem = problem or _wrong_cell(cells)
    except (pa.ArrowException, OSError) as error:
        problem = " ".join(str(error).split())
    if problem:
        raise DataError(
            f"{path} is no table of label weights ({problem}); expected id, label, and a weight "
            "above 0 and below 1 (as float32), once per document and label. Run `dvc repro "
            "validate`."
        )
    return cells


def _wrong_cell(cells: pd.DataFrame) -> str:
    """The first row that is no weight of a label; empty if all are."""
    doubt = (1 - cells["weight"]).astype(np.float32)  # as `doubt_of` has it: 1 would count nothing
    sound = doubt.between(0, 1, "neither") & cells.notna().all(axis=1)
    wrong = np.flatnonzero(~sound | cells.duplicated(["id", "label"]))[:1]
    return ", ".join(f"row {k + 1}: {list(map(str, cells.iloc[k]))}" for k in wrong)


def doubt_of(cells: pd.DataFrame, ids: Sequence[str], labels: Sequence[str]) -> sp.csr_matrix:
    """1 − weight of these documents and labels, CSR float32 `(n_docs, n_labels)`.

    Cells of other documents and labels are left out.
    """
    row = pd.Index(ids).get_indexer(pd.Index(cells["id"]))
    column = pd.Index(labels).get_indexer(pd.Index(cells["label"]))
    known = (row >= 0) & (column >= 0)
    doubt = (1 - cells["weight"].to_numpy()[known]).astype(np.float32)
    return sp.csr_matrix((doubt, (row[known], column[known])), shape=(len(ids), len(labels)))
