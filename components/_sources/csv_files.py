"""Reads CSV and TSV with a label column."""

from __future__ import annotations

import dataclasses
from array import array
from pathlib import Path
from typing import Any

from components._formats.csv_rows import csv_rows, one_character
from components._formats.queue_file import SUSPECTED, Doubtful, columns_of
from components._sources.rows import FileFormat, Rows, named, typed
from components._sources.source import (
    column_option,
    encoding_option,
    file_source,
    option,
    separator_option,
)
from longtail.errors import DataError
from longtail.spreadsheet import original

OTHER_SEPARATORS = (";", "|", "\t", "/")


def read_csv(path: Path, file_format: FileFormat) -> Rows:
    """Read a table with a label column, split at `label_separator` (by default a comma)."""
    given = file_format.label_separator
    separator = one_character("--label-separator", "," if given is None else given)
    file_format = dataclasses.replace(file_format, label_separator=separator)
    rows = _unguarded(named(table(path, file_format), file_format))
    if given is None:
        _check_separator(rows, separator)
    return typed(rows, file_format)


def _unguarded(rows: Rows) -> Rows:
    """The cells that `longtail review` guarded against spreadsheets, as they were."""
    reviewed = rows.columns.get(SUSPECTED)
    if reviewed is None:
        return rows
    columns = {
        name: [
            original(cell) if asked else cell for cell, asked in zip(cells, reviewed, strict=True)
        ]
        if name in columns_of(Doubtful)
        else cells
        for name, cells in rows.columns.items()
    }
    return dataclasses.replace(rows, columns=columns)


def _check_separator(rows: Rows, separator: str) -> None:
    """Labels joined by another sign than the comma would become one label per combination."""
    cells = set(rows.columns["labels"]) - {""}
    if not cells or any(separator in cell for cell in cells):
        return
    for other in OTHER_SEPARATORS:
        joined = {cell for cell in cells if other in cell}
        labels = {label.strip() for cell in cells for label in cell.split(other)}
        if 2 * len(joined) > len(cells) > len(labels):
            raise DataError(
                f"{rows.source}, column 'labels': no cell holds a {separator!r}, but "
                f"{len(joined):,} of {len(cells):,} different cells hold a {other!r}, such as "
                f"{min(joined)!r:.60}. Pass --label-separator {other!r} if it separates labels, "
                f"or --label-separator {separator!r} if each cell is one label."
            )


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
    option(
        "--label-separator", help="separator of labels in a cell (default: a comma)", metavar="CHAR"
    ),
    separator_option(),
    encoding_option(),
)
