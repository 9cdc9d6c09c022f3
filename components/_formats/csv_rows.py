"""Reads a CSV or TSV file row by row; errors name the row and line."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components._formats.columns import checked_columns
from components._formats.text_file import open_text
from components._frame.suffixes import TABS
from longtail.errors import DataError, ParameterError

MAX_CELL = 50_000_000  # characters; a longer cell is more likely a stray quote than a text
SIGNS = {"\t": "tab"}  # separators as they are written on the command line


def csv_rows(
    path: Path | None, separator: str | None, encoding: str, lines: array[int] | None = None
) -> Iterator[list[str]]:
    """Yield the header, then the rows.

    Args:
        path: the file; None reads standard input.
        separator: of cells; None is a tab for .tsv and .tab, else a comma.
        encoding: of the file.
        lines: receives the line on which each row starts.

    Raises:
        DataError: the file is not valid CSV, or a row has more or fewer cells than the header.
    """
    usual = "\t" if path and path.suffix.lower() in TABS else ","
    delimiter = one_character("--separator", usual if separator is None else separator)
    csv.field_size_limit(MAX_CELL)
    with open_text(path, encoding, newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        yield from _checked(str(path or "stdin"), reader, array("q") if lines is None else lines)


def _checked(source: str, reader: Any, lines: array[int]) -> Iterator[list[str]]:
    header: list[str] | None = None
    start = 1
    try:
        for row in reader:
            if header is None and row:
                header = row
                checked_columns(source, header)
                yield header
            elif row and header is not None:
                lines.append(start)
                if len(row) != len(header):
                    raise DataError(
                        f"{source}: row {len(lines)} (line {start}) has {len(row)} cells, expected"
                        f" {len(header)} as in the header; "
                        + (other_separator(header) or "quote texts that contain the separator.")
                    )
                yield row
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{source}: row {len(lines) + 1} (line {start}) is not valid CSV: {error}. Look for a "
            'stray quote there; a quote inside a quoted text is written twice ("").'
        ) from None
    if header is None:
        raise DataError(f"{source} has only blank lines, expected a header and rows.")


def other_separator(header: Sequence[str]) -> str:
    """A sentence on the separator that the header seems to have instead; empty if none."""
    number = {sign: sum(cell.count(sign) for cell in header) for sign in (",", ";", "\t", "|")}
    sign = max(number, key=number.__getitem__)
    if number[sign] < len(header):
        return ""
    return (
        f"the cells seem to be separated by {sign!r}: pass --separator {SIGNS.get(sign, sign)!r}."
    )


def one_character(flag: str, value: str) -> str:
    r"""Check that a separator is one character; a tab may be written `\t` or `tab`."""
    value = "\t" if value in ("\\t", "tab") else value
    if len(value) != 1 or value in '"\r\n':
        raise ParameterError(f"{flag} must be one character other than a quote, got {value!r}.")
    return value
