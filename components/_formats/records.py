"""Reads records from CSV, JSON Lines, Parquet or plain text, each with its place in the file."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components._formats.csv_rows import csv_rows
from components._formats.json_lines import json_objects
from components._formats.parquet_file import open_parquet
from components._formats.text_file import open_text
from longtail.errors import ParameterError


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
    number = 0
    with open_parquet(reading.path) as file:
        for batch in file.iter_batches(batch_size=1024):
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
