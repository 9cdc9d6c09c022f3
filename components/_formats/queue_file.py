"""Writes a queue of documents for people: Parquet, JSON Lines or CSV, by the file's extension."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components._formats.columns import comma_joined
from components._frame.files import written
from components._frame.suffixes import SUFFIXES, TABS
from longtail.errors import unknown_name
from longtail.spreadsheet import harmless

# What a queue's folder holds, and the file that says that nobody works on it any more.
QUEUE, SHEET, DONE = "queue.jsonl", "queue.csv", "done"


@dataclass(frozen=True)
class Queued:
    """A document of the queue.

    Attributes:
        id: as in the pool, or made from the text.
        text: of the document.
        labels: that the model predicts, the best first: a suggestion, no annotation.
        scores: of these labels.
        drawn: `random`, or the strategy that chose the document.
        reasons: why it was chosen, in words, the weightiest first.
    """

    id: str
    text: str
    labels: list[str]
    scores: list[float]
    drawn: str
    reasons: list[str]


@dataclass(frozen=True)
class Doubtful:
    """A labeled document to review.

    Attributes:
        id: as in the corpus.
        text: of the document.
        labels: as the model expects them: a suggestion.
        current: labels that the document has.
        suspected: the questions in JSON, for `ingest` to take back.
        reasons: the questions in words.
    """

    id: str
    text: str
    labels: list[str]
    current: list[str]
    suspected: str
    reasons: list[str]


Task = Queued | Doubtful
SUSPECTED = "suspected"
TYPES = {
    "id": pa.string(),
    "text": pa.string(),
    "labels": pa.list_(pa.string()),
    "current": pa.list_(pa.string()),
    "scores": pa.list_(pa.float64()),
    "drawn": pa.string(),
    SUSPECTED: pa.string(),
    "reasons": pa.list_(pa.string()),
}


def columns_of(kind: type[Task]) -> list[str]:
    """Names of the columns, in order."""
    return [field.name for field in fields(kind)]


def writer_of(path: Path) -> Callable[[Sequence[Task], Path], None]:
    """What writes the format of this extension.

    Raises:
        ParameterError: it has none, or another one.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise unknown_name("extension of --output", path.suffix, SUFFIXES)
    return WRITERS[kind]


def write_queue(queue: Sequence[Task], path: Path) -> None:
    """Write the queue in the format of the extension, whole or not at all.

    Args:
        queue: documents of one kind, at least one.
        path: of the file.

    Raises:
        DataError: CSV, and a label has a comma; or `path` cannot be replaced.
        ParameterError: unknown extension.
    """
    write = writer_of(path)
    with written(path) as temporary:
        write(queue, temporary)


def _parquet(queue: Sequence[Task], path: Path) -> None:
    rows = [asdict(row) for row in queue]
    schema = pa.schema([(name, TYPES[name]) for name in columns_of(type(queue[0]))])
    pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")


def _jsonl(queue: Sequence[Task], path: Path) -> None:
    with path.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in queue)


def _csv(queue: Sequence[Task], path: Path) -> None:
    """Labels and scores separated by commas, as in the file of `predict`; reasons by semicolons."""
    dialect = "excel-tab" if path.suffix.lower() in TABS else "excel"
    with path.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, dialect, lineterminator="\n")
        names = columns_of(type(queue[0]))
        table.writerow(names)
        for row in queue:
            cells = [JOINED.get(name, str)(getattr(row, name)) for name in names]
            table.writerow(map(harmless, cells))


JOINED: dict[str, Callable[[Sequence[Any]], str]] = {
    "labels": comma_joined,
    "current": comma_joined,
    "scores": lambda scores: ",".join(map(str, scores)),
    "reasons": "; ".join,
}
WRITERS = {"parquet": _parquet, "jsonl": _jsonl, "csv": _csv}
