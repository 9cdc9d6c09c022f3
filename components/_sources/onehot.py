"""Reads CSV and TSV with one 0/1 column per label."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from components._formats.csv_rows import csv_rows
from components._sources.rows import READERS, FileFormat, Rows, named, typed
from components._sources.source import (
    column_option,
    encoding_option,
    file_source,
    option,
    separator_option,
)
from longtail.errors import DataError

WANTED = ("id", "text")


def read_onehot(path: Path, file_format: FileFormat) -> Rows:
    """Read a table with one 0/1 column per label next to the columns of the contract.

    Only the names of the labels set to 1 are kept, so 40,000 rows with 1,500 labels take little
    more memory than their texts. Columns that are not labels are named in `metadata_columns`.
    """
    lines = array("q")
    rows = csv_rows(path, file_format.separator, file_format.encoding, lines)
    header = next(rows)
    about, at = _kinds_of_column(path, header, file_format)
    columns: dict[str, list[Any]] = {header[i]: [] for i in about}
    label_lists: list[list[str]] = []
    label_of = [header[i] for i in at]
    label_cells = itemgetter(*at, at[0])  # at least two, so always a tuple
    for row in rows:
        for i in about:
            columns[header[i]].append(row[i])
        ones = _ones(label_cells(row)[:-1])
        if ones is None:
            _refuse_cell(f"{path}: row {len(lines)} (line {lines[-1]})", row, header, at)
        label_lists.append([label_of[i] for i in ones or ()])
    certain = {file_format.id_column, file_format.text_column, *file_format.metadata_columns}
    for name in sorted(set(columns) - certain):  # `group`, `source`, …: by their names only
        if columns[name] and set(columns[name]) <= {"0", "1"}:
            raise DataError(
                f"{path}: column {name!r} holds only 0 and 1 like a label, but is a column about "
                "the document. Rename it if it is a label; else name it with --metadata-columns."
            )
    found = Rows(str(path), {**columns, "labels": label_lists}, lines)
    return typed(named(found, file_format, WANTED), file_format)


def _kinds_of_column(
    path: Path, header: list[str], file_format: FileFormat
) -> tuple[list[int], list[int]]:
    """Positions of the columns about the document, and of the label columns."""
    named(Rows(str(path), {name: [] for name in header}), file_format, WANTED)
    metadata = file_format.metadata_columns
    names = {file_format.id_column, file_format.text_column, *READERS, *metadata}
    missing = [name for name in metadata if name not in header]
    at = [i for i, name in enumerate(header) if name not in names]
    if missing or not at:
        what = f"no column {missing[0]!r} (--metadata-columns)" if missing else "no label column"
        raise DataError(f"{path}: {what}; columns found: {', '.join(map(repr, header[:50]))}.")
    return [i for i, name in enumerate(header) if name in names], at


def _ones(cells: tuple[str, ...]) -> list[int] | None:
    """Positions of the cells that are 1 (or 1.0); None if a cell is neither 1 nor 0 (or 0.0)."""
    n_ones = cells.count("1")
    if n_ones + cells.count("0") < len(cells):
        whole = [cell.strip().removesuffix(".0") for cell in cells]
        if not set(whole) <= {"0", "1"}:
            return None
        return [i for i, cell in enumerate(whole) if cell == "1"]
    found, start = [], 0
    for _ in range(n_ones):  # index() searches in C; most cells are 0
        found.append(cells.index("1", start))
        start = found[-1] + 1
    return found


def _refuse_cell(where: str, row: list[str], header: list[str], at: Sequence[int]) -> None:
    wrong = next(i for i in at if _ones((row[i],)) is None)
    raise DataError(
        f"{where}, column {header[wrong]!r:.80}: expected 0 or 1, got {row[wrong]!r:.60}. If this "
        "is not a label column, name it with --metadata-columns."
    )


def _names(context: object, parameter: object, value: str | None) -> tuple[str, ...]:
    return tuple(value.split(",")) if value else ()


ONEHOT = file_source(
    "CSV or TSV with one 0/1 column per label",
    read_onehot,
    column_option("id"),
    column_option("text"),
    option(
        "--metadata-columns", help="columns that are not labels, comma-separated",
        metavar="NAMES", callback=_names,
    ),
    separator_option(),
    encoding_option(),
)  # fmt: skip
