"""Reads records, and the documents in them, from CSV, JSON Lines, Parquet or plain text."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components._formats.columns import listed
from components._formats.csv_rows import csv_rows, other_separator
from components._formats.json_lines import json_objects
from components._formats.parquet_file import open_parquet
from components._formats.text_file import open_text
from longtail.errors import DataError, ParameterError


@dataclass(frozen=True)
class Reading:
    """A file of records, and how it is written.

    Attributes:
        path: the file; None is standard input.
        encoding: of the file.
        separator: of CSV cells; None is a tab for .tsv and .tab, else a comma.
    """

    path: Path | None
    encoding: str = "utf-8"
    separator: str | None = None

    @property
    def source(self) -> str:
        """The file's name in messages."""
        return str(self.path or "stdin")


# A record with its place, such as "row 3 (line 4)".
Placed = tuple[str, dict[str, Any]]


def _csv(reading: Reading) -> Iterator[Placed]:
    lines = array("q")
    rows = csv_rows(reading.path, reading.separator, reading.encoding, lines)
    header = next(rows)
    for row in rows:
        yield f"row {len(lines)} (line {lines[-1]})", dict(zip(header, row, strict=True))


def _jsonl(reading: Reading) -> Iterator[Placed]:
    for number, record in json_objects(reading.path, reading.encoding):
        yield f"line {number}", record


def _parquet(reading: Reading) -> Iterator[Placed]:
    if reading.path is None:
        raise ParameterError("Parquet cannot be read from stdin; pass the file's path.")
    with open_parquet(reading.path) as file:
        yield from parquet_records(file)


def parquet_records(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[Placed]:
    """The rows of an open file, with some of its columns or all, a thousand in memory at a time."""
    number = 0
    for batch in file.iter_batches(batch_size=1024, columns=columns):
        for record in batch.to_pylist():
            number += 1
            yield f"row {number}", record


def _lines(reading: Reading) -> Iterator[Placed]:
    with open_text(reading.path, reading.encoding) as lines:
        for number, line in enumerate(lines, 1):
            yield f"line {number}", {"text": line.rstrip("\n")}


RECORDS: dict[str, Callable[[Reading], Iterator[Placed]]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "txt": _lines,
}


def read_documents(reading: Reading, kind: str, column: str) -> Iterator[tuple[str | None, str]]:
    """Yield (id, text) of each record, None for an id that is missing or null.

    Args:
        reading: the file and how it is written.
        kind: of the file, a key of `RECORDS`.
        column: of the texts.

    Raises:
        DataError: a record has no text.
    """
    return checked_documents(RECORDS[kind](reading), reading.source, column, csv=kind == "csv")


def checked_documents(
    records: Iterable[Placed], source: str, column: str, *, csv: bool = False
) -> Iterator[tuple[str | None, str]]:
    """Yield (id, text) of each record of `source`, see `read_documents`."""
    for place, record in records:
        if column not in record:
            sign = other_separator(list(record)) if csv else ""
            raise DataError(
                f"{source}: {place}: no column {column!r:.80}; columns found: "
                f"{listed(list(record))}. "
                + (sign[:1].upper() + sign[1:] or "Name the column with --column.")
            )
        if not isinstance(record[column], str):
            raise DataError(
                f"{source}: {place}, column {column!r:.80}: expected a text, "
                f"got {record[column]!r:.80}."
            )
        name = None if record.get("id") is None else str(record["id"])
        for key, value in (("id", name or ""), (column, record[column])):
            if any("\ud800" <= sign <= "\udfff" for sign in value):  # JSON lets them through
                raise DataError(
                    f"{source}: {place}, column {key!r:.80}: half of a character (a lone "
                    "surrogate), which no encoding can write; export the text again."
                )
        yield name, record[column]
