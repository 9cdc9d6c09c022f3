"""Turns rows as read from a file into typed columns; errors name the value at fault."""

from __future__ import annotations

import ast
import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from components._formats.columns import listed
from components._formats.corpus import SPLITS
from components._formats.csv_rows import MAX_CELL, other_separator
from longtail.annotation.review import Review
from longtail.errors import DataError, ParameterError


@dataclass(frozen=True)
class FileFormat:
    """How files name and write the contract's columns; the same for all files of one call."""

    id_column: str = "id"
    text_column: str = "text"
    labels_column: str = "labels"
    label_separator: str | None = None
    separator: str | None = None
    encoding: str = "utf-8"
    metadata_columns: tuple[str, ...] = ()
    empty_labels: bool = False


@dataclass(frozen=True)
class Rows:
    """The rows of one source.

    Attributes:
        source: the file or the name of the source.
        columns: of equal length.
        lines: the line on which each row starts; None if the source has no lines.
        judgments: columns id, annotator, labels and annotated_at, if the source has several
            annotators per document.
        reviews: what the annotators said about suspected labels.
    """

    source: str
    columns: dict[str, list[Any]]
    lines: Sequence[int] | None = None
    judgments: dict[str, list[Any]] | None = None
    reviews: Sequence[Review] = ()

    @classmethod
    def of_records(cls, source: str, records: Sequence[dict[str, Any]]) -> Rows:
        """Rows from records with the same keys, with their `source` as a column."""
        columns = {name: [record[name] for record in records] for name in records[0]}
        return cls(source, {**columns, "source": [source] * len(records)})

    def __len__(self) -> int:
        return len(self.columns["id"]) if "id" in self.columns else 0

    def where(self, i: int) -> str:
        """The place of row i (from 0) for messages: counted from 1, and with its line if known."""
        line = "" if self.lines is None else f" (line {self.lines[i]})"
        return f"{self.source}: row {i + 1}{line}"


MOST_NESTED = 30  # Arrow writes deeper values, but cannot read them
# Columns that the project makes itself.
RESERVED = {
    "length": "the report's slices by length of text",
    "reasons": "the reasons in the quarantine",
}


class _Fault(Exception):  # noqa: N818 - always caught here
    """What is wrong with a value; the caller adds where it is."""


def named(
    rows: Rows, file_format: FileFormat, wanted: Sequence[str] = ("id", "text", "labels")
) -> Rows:
    """Rename the columns of a file to those of the contract."""
    given = {name: getattr(file_format, f"{name}_column") for name in wanted}
    for name, column in given.items():
        if column not in rows.columns:
            sign = other_separator(list(rows.columns)) if rows.lines is not None else ""
            raise DataError(
                f"{rows.source}: no column {column!r:.80} for the {name}; columns found: "
                f"{listed(list(rows.columns))}. "
                + (sign[:1].upper() + sign[1:] or f"Name it with --{name}-column.")
            )
        for other in given:
            if other != name and given[other] == column:
                raise ParameterError(
                    f"--{name}-column and --{other}-column both name {column!r:.80}; each needs a "
                    "column of its own."
                )
    contract = {column: name for name, column in given.items()}
    for name, column in given.items():
        if name in rows.columns and name not in contract:
            raise DataError(
                f"{rows.source}: --{name}-column names {column!r:.80}, but there is also a column "
                f"{name!r:.80}; rename or drop one of them."
            )
    columns = {contract.get(name, name): values for name, values in rows.columns.items()}
    return Rows(rows.source, columns, rows.lines)


def typed(rows: Rows, file_format: FileFormat) -> Rows:
    """Check and convert rows with ids that are unique; DataError at the first bad value."""
    rows = converted(rows, file_format)
    first: dict[str, int] = {}
    for i, identity in enumerate(rows.columns["id"]):
        if first.setdefault(identity, i) != i:
            raise DataError(
                f"{rows.where(i)}, column 'id': {identity!r:.80} also appears in row "
                f"{first[identity] + 1}; ids must be unique."
            )
    return rows


def converted(rows: Rows, file_format: FileFormat) -> Rows:
    """Check and convert all columns of the contract; DataError at the first bad value."""
    columns = {}
    readers: dict[str, Callable[[Any], Any]] = {
        **READERS,
        "labels": lambda value: _labels(value, file_format.label_separator),
    }
    for name, values in rows.columns.items():
        try:
            _string(name)
        except _Fault as fault:
            raise DataError(f"{rows.source}: the name of column {name!r:.80} {fault}") from None
        if name in RESERVED:
            raise DataError(
                f"{rows.source}: column {name!r} has the name of {RESERVED[name]}, which one of "
                "the two would replace; rename or drop it."
            )
        if name in readers:
            columns[name] = _column(rows, name, values, readers[name])
        else:
            columns[name] = one_type(rows.source, name, values)
    return Rows(rows.source, columns, rows.lines)


def _column(rows: Rows, name: str, values: list[Any], read: Callable[[Any], Any]) -> list[Any]:
    found = []
    for i, value in enumerate(values):
        try:
            found.append(read(value))
        except _Fault as fault:
            raise DataError(f"{rows.where(i)}, column {name!r:.80}: {fault}") from None
    return found


def one_type(source: str, name: str, values: list[Any]) -> list[Any]:
    """Check a column outside the contract: any type that Arrow knows, but only one."""
    try:
        depth = _depth(pa.array(values).type)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise DataError(
            f"{source}, column {name!r:.80}: its values cannot be kept ({error}); convert or drop "
            "it."
        ) from None
    if depth > MOST_NESTED:
        raise DataError(
            f"{source}, column {name!r:.80}: a value is nested {depth} deep, expected at most "
            f"{MOST_NESTED}; drop the column, or turn it into text."
        )
    return values


def _depth(kind: pa.DataType) -> int:
    """How many lists and objects are inside each other; without recursion, which has a limit."""
    depth, level = 0, [kind]
    while level:
        if any(pa.types.is_struct(t) and not t.num_fields for t in level):
            raise pa.ArrowInvalid("objects without a field, which Parquet cannot hold")
        level = [t.field(i).type for t in level for i in range(t.num_fields)]
        depth += bool(level)
    return depth


def _string(value: Any) -> str:
    if not isinstance(value, str):
        kind = "null" if value is None else f"{type(value).__name__} {value!r:.60}"
        raise _Fault(f"expected a string, got {kind}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Fault("contains a lone surrogate, which UTF-8 cannot encode; remove it.") from None
    return value


def _id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or not _string(value).strip():
        raise _Fault("the id is missing; every document needs one.")
    return value


def _text(value: Any) -> str:
    if len(_string(value)) > MAX_CELL:
        raise _Fault(
            f"the text has {len(value):,} characters, expected at most {MAX_CELL:,}; shorten it, "
            "or look for a stray quote before it."
        )
    return value


def _labels(value: Any, separator: str | None) -> list[str]:
    if isinstance(value, str) and separator is not None:
        if (listed := _listed(value)) is not None:
            return listed
        return [label.strip() for label in _string(value).split(separator)] if value else []
    if not isinstance(value, list):
        hint = " If it is one string, pass --label-separator." if isinstance(value, str) else ""
        got = "null" if value is None else f"{type(value).__name__} {value!r:.60}"
        raise _Fault(f"expected a list of strings, got {got}.{hint}")
    return [_string(label) for label in value]


def _listed(cell: str) -> list[str] | None:
    """The labels of a list written as text, such as `['a', 'b']` of pandas or `["a"]` of JSON."""
    if not re.match(r"\s*\[\s*(['\"].*)?\]\s*$", cell, re.DOTALL):
        return None
    try:
        found = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    # Python joins strings that only a blank separates, as NumPy prints them.
    if not isinstance(found, list) or re.search(r"['\"]\s+['\"]", cell):
        raise _Fault(
            f"{cell!r:.60} looks like a list written as text, but is none that can be read; "
            'expected labels with a separator between them, or a list such as ["a", "b"].'
        )
    return [_string(label).strip() for label in found]


def _optional(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return _id(value) if isinstance(value, int) else _string(value)


def _split(value: Any) -> str | None:
    if value not in (None, "", *SPLITS):
        raise _Fault(f"expected {', '.join(SPLITS)} or nothing, got {value!r:.60}.")
    return value or None


def _timestamp(value: Any) -> dt.datetime | None:
    """A time without time zone; one with a zone is converted to UTC."""
    if value is None or value == "":
        return None
    if hasattr(value, "to_pydatetime"):  # of pandas, cut to microseconds as in the contract
        value = value.to_pydatetime(warn=False)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    try:
        moment = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Fault(f"expected a date such as 2026-01-31T08:00, got {value!r:.60}.") from None
    try:
        return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:  # its zone moves it out of the years 1 to 9999
        raise _Fault(f"expected a date of the years 1 to 9999 in UTC, got {value!r:.60}.") from None


READERS: dict[str, Callable[[Any], Any]] = {
    "id": _id,
    "text": _text,
    "group": _optional,
    "annotator": _optional,
    "annotated_at": _timestamp,
    "split": _split,
    "source": _optional,
}
