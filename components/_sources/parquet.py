"""Parquet: one row per document, `labels` a list of strings."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components._sources.form import Form, Rows, checked_file, named, typed
from longtail.errors import DataError


def read_parquet(path: Path, form: Form) -> Rows:
    """The rows of one Parquet file. Raises DataError if it is truncated or no Parquet."""
    try:
        table = pq.ParquetFile(checked_file(path)).read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is not a readable Parquet file ({error}); it may be truncated, copy it again."
        ) from None
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: column {twice[0]!r} stands twice; rename one.")
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return typed(named(Rows(str(path), columns), form), form)
