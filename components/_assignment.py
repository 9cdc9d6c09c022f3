"""Joins the corpus with its train/val/test assignment; what is not assigned exactly is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import scipy.sparse as sp

from components._corpus import read_corpus
from longtail import label_matrix
from longtail.errors import DataError


@dataclass(frozen=True)
class Part:
    """The documents of one part, in corpus order; targets `(n_docs, n_labels)` 0/1 CSR."""

    ids: list[str]
    texts: list[str]
    targets: sp.csr_matrix


def read_assignment(path: Path) -> pd.Series:
    """The part (`train`, `val`, `test`) of each document, indexed by id."""
    return pd.read_parquet(path).set_index("id")["split"]


def read_parts(corpus: Path, assignment: Path) -> tuple[list[str], dict[str, Part]]:
    """The label names in column order, and the documents of each part.

    Raises DataError where the corpus and the assignment do not name the same documents.
    """
    frame = read_corpus(corpus)
    assigned = read_assignment(assignment)
    strangers = set(frame["id"]) ^ set(assigned.index)
    if strangers:
        raise DataError(
            f"{assignment} and {corpus} differ in {len(strangers)} document(s), such as "
            f"{min(strangers)!r}; run `dvc repro split`, which assigns every document."
        )
    labels = label_matrix.vocabulary(frame["labels"])
    part_of = frame["id"].map(assigned)
    return labels, {part: _part(frame[part_of == part], labels) for part in _PARTS}


_PARTS = ("train", "val", "test")


def _part(frame: pd.DataFrame, labels: list[str]) -> Part:
    targets = label_matrix.encode(frame["labels"].tolist(), labels)
    return Part(frame["id"].tolist(), frame["text"].tolist(), targets)
