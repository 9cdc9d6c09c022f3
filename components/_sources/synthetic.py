"""The seeded synthetic corpus; its true labels go to a file of their own, never into the corpus."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components._frame.files import written
from components._sources.rows import Rows
from components._sources.source import Source, option
from longtail.corpora.synthetic import N_DOCS, N_LABELS, synthetic_corpus


def read_synthetic(
    docs: int, labels: int, wrong: float, seed: int, truth: Path | None = None
) -> list[Rows]:
    """The corpus as rows; the true labels (id, labels) are written to `truth` if it is given."""
    records, true_labels = synthetic_corpus(docs, labels, wrong, seed)
    if truth is not None:
        columns = {"id": list(true_labels), "labels": list(true_labels.values())}
        with written(truth) as temporary:
            pq.write_table(pa.table(columns), temporary)
    return [Rows.of_records("synthetic", records)]


WRONG, SEED = 0.05, 0
SYNTHETIC = Source(
    "a seeded corpus of any size",
    read_synthetic,
    (
        option("--docs", help="documents", type=int, default=N_DOCS, metavar="N"),
        option("--labels", help="labels", type=int, default=N_LABELS, metavar="N"),
        option(
            "--wrong", help="share of wrong annotations", type=float, default=WRONG, metavar="SHARE"
        ),
        option("--seed", help="seed", type=int, default=SEED, metavar="S"),
        option("--truth", help="where the true labels go", type=Path, metavar="PARQUET"),
    ),
)


def default_synthetic() -> list[Rows]:
    """The corpus of the default size and seed."""
    return read_synthetic(N_DOCS, N_LABELS, WRONG, SEED)
