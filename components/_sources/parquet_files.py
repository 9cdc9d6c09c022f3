"""Reads Parquet with one row per document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from components._formats.parquet_file import open_parquet
from components._sources.rows import FileFormat, Rows, named, typed
from components._sources.source import column_option, file_source, option
from longtail.errors import DataError


def read_parquet(path: Path, file_format: FileFormat) -> Rows:
    """Read the rows of a Parquet file; DataError if it is truncated or not Parquet."""
    with open_parquet(path) as file:
        table = file.read()
    columns = {name: _values(path, name, table.column(name)) for name in table.column_names}
    return typed(named(Rows(str(path), columns), file_format), file_format)


def _values(path: Path, name: str, column: pa.ChunkedArray) -> list[Any]:
    """The column in Python's types, which have no year 10,000 and no invalid UTF-8."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, KeyError, pa.ArrowException) as error:
        raise DataError(
            f"{path}, column {name!r} ({column.type}): a value cannot be read ({error}); convert "
            "the column or drop it."
        ) from None


PARQUET = file_source(
    "Parquet with labels as a list of strings",
    read_parquet,
    column_option("id"),
    column_option("text"),
    column_option("labels"),
    option("--label-separator", help="separator of labels given as one string", metavar="CHAR"),
)
