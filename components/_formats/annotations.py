"""Reads the optional file beside the corpus with the judgments of annotators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from longtail.errors import DataError

OPTIONAL = {"annotated_at": pa.timestamp("us")}


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
