"""Writes and reads the list of suspected labels, a table for people and spreadsheets."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components._frame.files import written
from longtail.errors import DataError
from longtail.spreadsheet import harmless, original

COLUMNS = ["rank", "kind", "id", "label", "score", "text"]


@dataclass(frozen=True)
class Named:
    """A suspected label of a document, with the beginning of its text."""

    kind: str
    id: str
    label: str
    score: float
    text: str


def write_suspects(found: Iterable[Named], path: Path) -> None:
    """Write them in this order, ranked within their kind."""
    seen: Counter[str] = Counter()
    with written(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for s in found:
            seen[s.kind] += 1
            cells = harmless(s.id), harmless(s.label), f"{s.score:.4f}", harmless(s.text)
            table.writerow([seen[s.kind], s.kind, *cells])


def read_suspects(path: Path) -> list[Named]:
    """Read what `write_suspects` wrote; none from an empty file.

    Raises:
        DataError: the file is missing, or is none of suspects.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; run the stage `validate`, or `dvc repro`.")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Named(
                    row["kind"],
                    original(row["id"]),
                    original(row["label"]),
                    float(row["score"]),
                    original(row["text"]),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(
            f"{path} is not a list of suspects ({type(error).__name__}: {error}); expected the "
            f"columns {', '.join(COLUMNS)}. Run the stage `validate` again."
        ) from None
