"""CSV and TSV: one column of labels, or one 0/1 column per label; read row by row."""

from __future__ import annotations

import csv
import dataclasses
from array import array
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from components._sources.form import (
    MAX_TEXT,
    READERS,
    Form,
    Rows,
    checked_file,
    codec,
    named,
    one_character,
    typed,
)
from longtail.errors import DataError


def read_csv(path: Path, form: Form) -> Rows:
    """A table with a column of labels, separated by `form.label_separator` (default a comma)."""
    given = "," if form.label_separator is None else form.label_separator
    separator = one_character("--label-separator", given)
    form = dataclasses.replace(form, label_separator=separator)
    return typed(named(table(path, form), form), form)


def table(path: Path, form: Form) -> Rows:
    """Every column of a CSV file as strings, under the file's own names."""
    lines = array("q")
    records = _records(path, form, lines)
    header = next(records)
    columns: list[list[Any]] = [[] for _ in header]
    for record in records:
        for column, cell in zip(columns, record, strict=True):
            column.append(cell)
    return Rows(str(path), dict(zip(header, columns, strict=True)), lines)


def read_onehot(path: Path, form: Form) -> Rows:
    """A table with one 0/1 column per label beside id, text and the contract's other columns.

    Only the names of the labels at 1 are kept of each row, so 40,000 rows of 1,500 labels cost
    little more memory than their texts. Other columns are named by `form.metadata_columns`.
    """
    lines = array("q")
    records = _records(path, form, lines)
    header = next(records)
    about, at = _kinds_of_column(path, header, form)
    columns: dict[str, list[Any]] = {header[i]: [] for i in about}
    label_lists: list[list[str]] = []
    label_of = [header[i] for i in at]
    label_cells = itemgetter(*at, at[0])  # the repeated one makes it a tuple for a single label
    for record in records:
        for i in about:
            columns[header[i]].append(record[i])
        ones = _ones(label_cells(record)[:-1])
        if ones is None:
            _refuse_cell(f"{path}: row {len(lines)} (line {lines[-1]})", record, header, at)
        label_lists.append([label_of[i] for i in ones or ()])
    rows = Rows(str(path), {**columns, "labels": label_lists}, lines)
    return typed(named(rows, form, ("id", "text")), form)


def _kinds_of_column(path: Path, header: list[str], form: Form) -> tuple[list[int], list[int]]:
    """Positions of the columns about the document, and of those that are labels."""
    named(Rows(str(path), {name: [] for name in header}), form, ("id", "text"))
    names = {form.id_column, form.text_column, *READERS, *form.metadata_columns}
    missing = [name for name in form.metadata_columns if name not in header]
    at = [i for i, name in enumerate(header) if name not in names]
    if missing or not at:
        what = f"no column {missing[0]!r} (--metadata-columns)" if missing else "no label column"
        raise DataError(f"{path}: {what}; columns found: {', '.join(map(repr, header[:50]))}.")
    return [i for i, name in enumerate(header) if name in names], at


def _ones(cells: tuple[str, ...]) -> list[int] | None:
    """Positions of the cells at 1; None if a cell is neither 0 nor 1 (also written 0.0, 1.0)."""
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


def _refuse_cell(where: str, record: list[str], header: list[str], at: Sequence[int]) -> None:
    wrong = next(i for i in at if _ones((record[i],)) is None)
    raise DataError(
        f"{where}, column {header[wrong]!r}: expected 0 or 1, got {record[wrong]!r:.60}. If this "
        "is no label column, name it with --metadata-columns."
    )


def _records(path: Path, form: Form, lines: array[int]) -> Iterator[list[str]]:
    """The header, then the rows; the line where each row starts is appended to `lines`."""
    usual = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    given = usual if form.separator is None else form.separator
    separator = one_character("--separator", given)
    encoding = codec(form.encoding)
    csv.field_size_limit(MAX_TEXT)
    try:
        with open(checked_file(path), encoding=encoding, newline="") as file:
            reader = csv.reader(file, delimiter=separator, strict=True)
            yield from _checked_records(path, reader, lines)
    except UnicodeError:
        raise wrong_encoding(path, form.encoding) from None


def _checked_records(path: Path, reader: Any, lines: array[int]) -> Iterator[list[str]]:
    header: list[str] | None = None
    start = 1
    try:
        for record in reader:
            if header is None and record:
                header = _checked_header(path, record)
                yield header
            elif record and header is not None:
                lines.append(start)
                if len(record) != len(header):
                    raise DataError(
                        f"{path}: row {len(lines)} (line {start}) has {len(record)} cells, expected"
                        f" {len(header)} as in the header; quote texts that hold the separator."
                    )
                yield record
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}: row {len(lines) + 1} (line {start}) is not CSV: {error}. Look for a stray "
            'quote there; a quote within a quoted text is written twice ("").'
        ) from None
    if header is None:
        raise DataError(f"{path} holds only blank lines, expected a header and rows.")


def _checked_header(path: Path, header: list[str]) -> list[str]:
    for i, name in enumerate(header):
        if not name.strip():
            raise DataError(f"{path}: column {i + 1} has no name; drop it or name it in line 1.")
        if name in header[:i]:
            raise DataError(f"{path}: column {name!r} stands twice in the header; rename one.")
    return header


def wrong_encoding(path: Path, encoding: str) -> DataError:
    """The fault of a file that is not in `encoding`: the first byte that cannot be read."""
    with open(path, "rb") as file:
        before = 0
        for number, line in enumerate(file, start=1):
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return DataError(f"{path} is UTF-16, not {encoding}; give --encoding utf-16.")
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                byte = before + error.start
                return DataError(
                    f"{path}: line {number}, byte {byte:,} of the file (0x{line[error.start]:02x}) "
                    f"is not {encoding}; name the file's encoding, for example --encoding latin-1 "
                    "or --encoding cp1252."
                )
            before += len(line)
    return DataError(f"{path} is not {encoding}; name the file's encoding with --encoding.")
