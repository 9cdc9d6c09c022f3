"""Reads Parquet with one row per document."""

from __future__ import annotations

from pathlib import Path

from components._formats.parquet_file import open_parquet
from components._sources.rows import FileFormat, Rows, named, typed
from components._sources.source import column_option, file_source, option


def read_parquet(path: Path, file_format: FileFormat) -> Rows:
    """Read the rows of a Parquet file; DataError if it is truncated or not Parquet."""
    with open_parquet(path) as file:
        table = file.read()
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return typed(named(Rows(str(path), columns), file_format), file_format)


PARQUET = file_source(
    "Parquet with labels as a list of strings",
    read_parquet,
    column_option("id"),
    column_option("text"),
    column_option("labels"),
    option("--label-separator", help="separator of labels given as one string", metavar="CHAR"),
)
