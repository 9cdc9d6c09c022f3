"""The seeded synthetic corpus; its true labels go to a file of their own, never into the corpus."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components._frame.files import written
from components._sources.form import Rows
from longtail.corpora.synthetic import synthetic_corpus


def read_synthetic(n_docs: int, n_labels: int, wrong: float, seed: int, truth: Path | None) -> Rows:
    """The corpus as rows; the true labels (id, labels) are written to `truth` if it is given."""
    records, true_labels = synthetic_corpus(n_docs, n_labels, wrong, seed)
    if truth is not None:
        columns = {"id": list(true_labels), "labels": list(true_labels.values())}
        with written(truth) as temporary:
            pq.write_table(pa.table(columns), temporary)
    return Rows.of_records("synthetic", records)
