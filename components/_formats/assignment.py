"""Joins the corpus with its train/val/test assignment; both must name the same documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from components._formats.corpus import SPLITS, read_corpus
from longtail import label_matrix
from longtail.errors import DataError


@dataclass(frozen=True)
class Part:
    """The documents of one part, in corpus order; targets `(n_docs, n_labels)` 0/1 CSR."""

    ids: list[str]
    texts: list[str]
    targets: sp.csr_matrix


def read_assignment(path: Path) -> pd.Series:
    """The part (`train`, `val`, `test`) of each document, indexed by id.

    Raises:
        DataError: `path` is not a file that `split` wrote.
    """
    try:
        columns = pq.read_table(path, columns=["id", "split"]).to_pydict()
        problem = _problem(columns["id"], columns["split"])
    except (pa.ArrowException, OSError, KeyError) as error:
        problem = " ".join(str(error).split())
    if problem:
        raise DataError(
            f"{path} is not a readable split assignment ({problem}); expected the columns id and "
            "split as `split` writes them. Run `dvc repro split`."
        )
    return pd.Series(columns["split"], index=columns["id"], name="split")


def read_groups(path: Path) -> pd.Series:
    """The group of each document, indexed by id: what the split kept together."""
    table = pq.read_table(path, columns=["id", "group"]).to_pydict()
    return pd.Series(table["group"], index=table["id"], name="group")


def _problem(ids: list[str], splits: list[str]) -> str:
    if unexpected := set(splits) - set(SPLITS):
        return f"split {next(iter(unexpected))!r}"
    if len(set(ids)) < len(ids):
        return "an id appears twice"
    return ""


def read_parts(corpus: Path, assignment: Path) -> tuple[list[str], dict[str, Part]]:
    """The label names in column order, and the documents of each part.

    Raises:
        DataError: the corpus and the assignment do not name the same documents.
    """
    frame = read_corpus(corpus)
    assigned = read_assignment(assignment)
    unexpected = set(frame["id"]) ^ set(assigned.index)
    if unexpected:
        raise DataError(
            f"{assignment} and {corpus} differ in {len(unexpected)} document(s), such as "
            f"{min(unexpected)!r}; run `dvc repro split`, which assigns every document."
        )
    labels = label_matrix.vocabulary(frame["labels"])
    part_of = frame["id"].map(assigned)
    return labels, {part: _part(frame[part_of == part], labels) for part in SPLITS}


def _part(frame: pd.DataFrame, labels: list[str]) -> Part:
    targets = label_matrix.encode(frame["labels"].tolist(), labels)
    return Part(frame["id"].tolist(), frame["text"].tolist(), targets)
