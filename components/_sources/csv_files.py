"""Reads CSV and TSV with a label column."""

from __future__ import annotations

import dataclasses
from array import array
from pathlib import Path
from typing import Any

from components._formats.csv_rows import csv_rows, one_character
from components._sources.rows import FileFormat, Rows, named, typed
from components._sources.source import (
    column_option,
    encoding_option,
    file_source,
    option,
    separator_option,
)


def read_csv(path: Path, file_format: FileFormat) -> Rows:
    """Read a table with a label column, split at `label_separator` (by default a comma)."""
    given = "," if file_format.label_separator is None else file_format.label_separator
    separator = one_character("--label-separator", given)
    file_format = dataclasses.replace(file_format, label_separator=separator)
    return typed(named(table(path, file_format), file_format), file_format)


def table(path: Path, file_format: FileFormat) -> Rows:
    """All columns of a CSV file as strings, under their own names."""
    lines = array("q")
    rows = csv_rows(path, file_format.separator, file_format.encoding, lines)
    header = next(rows)
    columns: list[list[Any]] = [[] for _ in header]
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            column.append(cell)
    return Rows(str(path), dict(zip(header, columns, strict=True)), lines)


CSV = file_source(
    "CSV or TSV with a label column",
    read_csv,
    column_option("id"),
    column_option("text"),
    column_option("labels"),
    option("--label-separator", help="separator of labels in a cell", default=",", metavar="CHAR"),
    separator_option(),
    encoding_option(),
)
