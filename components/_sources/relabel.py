"""Applies the history of labels: to all that is ingested, and on request to what was before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components._formats.annotations import read_annotations
from components._formats.columns import listed
from components._frame.files import written
from components._sources.rows import Rows
from longtail.validation.label_history import Fates, current

REVIEW = "`longtail labels review` lists them for annotators"


@dataclass(frozen=True)
class Relabeling:
    """What is done about old labels.

    Attributes:
        fates: what labels have become that are gone.
        migrate: whether documents and judgments that were ingested before are changed, too.
    """

    fates: Fates
    migrate: bool = False

    def incoming(self, rows: Rows) -> Rows:
        """The rows with current labels; says which old ones they had."""
        old = uses(rows.columns.get("labels", ()), self.fates)
        if not old:
            return rows
        print(f"{rows.source}: {told(old, self.fates)}.")
        return replace(
            rows,
            columns=self._current(rows.columns),
            judgments=rows.judgments and self._current(rows.judgments),
        )

    def _current(self, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {**columns, "labels": [current(labels, self.fates) for labels in columns["labels"]]}

    def existing(self, columns: dict[str, list[Any]]) -> int:
        """Migrate the corpus, in place; the number of documents that changed."""
        old = columns["labels"]
        if self.migrate:
            columns["labels"] = self._current(columns)["labels"]
        return sum(a != b for a, b in zip(old, columns["labels"], strict=True))

    def judgments(self, path: Path) -> None:
        """Migrate the file of judgments, if there is one; says how many changed."""
        found = read_annotations(path) if self.migrate else None
        if found is None:
            return
        labels = self._current(found)["labels"]
        n_changed = sum(a != b for a, b in zip(found["labels"], labels, strict=True))
        if not n_changed:
            return
        table = pq.read_table(path)
        at = table.column_names.index("labels")
        changed = pa.array(labels, pa.list_(pa.string()))
        with written(path) as temporary:
            table = table.set_column(at, "labels", changed)
            pq.write_table(table, temporary, compression="zstd")
        print(f"{path}: {n_changed:,} judgments have current labels now.")


def uses(lists: Iterable[Sequence[str]], fates: Fates) -> Counter[str]:
    """How many documents use each label that is gone."""
    return Counter(label for labels in lists for label in set(labels) if label in fates)


def told(old: Counter[str], fates: Fates) -> str:
    """The uses of old labels in a sentence."""
    replaced, split = (
        [label for label in sorted(old) if fates[label].review == review]
        for review in (False, True)
    )
    parts = []
    if replaced:
        n_pairs = sum(old[label] for label in replaced)
        parts.append(f"old labels replaced or dropped ({n_pairs:,} times): {listed(replaced)}")
    if split:
        n_pairs = sum(old[label] for label in split)
        parts.append(f"labels that were split ({n_pairs:,} times): {listed(split)}; {REVIEW}")
    return "; ".join(parts)
