"""Checks the names of a file's columns, and writes lists of labels into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from longtail.errors import DataError

MOST_COLUMNS = 20_000
SHOWN = 50  # names in a message


def checked_columns(source: str, names: Sequence[str]) -> None:
    """Check that each column has a name of its own, and that there are not too many.

    Raises:
        DataError: they have not, or there are.
    """
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"{source} has {len(names):,} columns, expected at most {MOST_COLUMNS:,}. If they are "
            "labels, write each document's own as a list, in a column `labels`; else drop some."
        )
    for i, name in enumerate(names, start=1):
        if not name.strip():
            raise DataError(f"{source}: column {i} has no name; give it one or drop it.")
    name, times = Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        raise DataError(f"{source}: column {name!r:.80} appears twice; rename or drop one.")


def listed(names: Sequence[object]) -> str:
    """The names for a message, the first ones if there are many."""
    shown = ", ".join(f"{name!r:.80}" for name in names[:SHOWN])
    return shown + (f", … ({len(names):,} in all)" if len(names) > SHOWN else "")


def comma_joined(labels: Sequence[str]) -> str:
    """The labels in one CSV cell, separated by commas, as `ingest csv` reads them.

    Raises:
        DataError: a label has a comma.
    """
    for label in labels:
        if "," in label:
            raise DataError(
                f"The label {label!r} has a comma, which separates labels in CSV; write JSON "
                "Lines, with an --output that ends in .jsonl."
            )
    return ",".join(labels)
