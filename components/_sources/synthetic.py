"""Makes a synthetic corpus; its true labels go to a separate file, never into the corpus."""

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
    """Make a synthetic corpus.

    Args:
        docs: number of documents.
        labels: number of labels.
        wrong: share of wrong annotations, 0 to 1.
        seed: the same seed gives the same corpus.
        truth: Parquet file for the true labels (id, labels); None writes none.
    """
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
        option("--docs", help="number of documents", type=int, default=N_DOCS, metavar="N"),
        option("--labels", help="number of labels", type=int, default=N_LABELS, metavar="N"),
        option(
            "--wrong", help="share of wrong annotations", type=float, default=WRONG, metavar="SHARE"
        ),
        option("--seed", help="random seed", type=int, default=SEED, metavar="S"),
        option("--truth", help="file for the true labels", type=Path, metavar="PARQUET"),
    ),
)


def default_synthetic() -> list[Rows]:
    """The corpus with the default size and seed."""
    return read_synthetic(N_DOCS, N_LABELS, WRONG, SEED)
