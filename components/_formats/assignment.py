"""Writes and reads the train/val/test assignment, and joins the corpus with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from components._formats.corpus import COLUMNS, FOLD, SPLITS, read_corpus
from components._frame.files import written
from longtail import label_matrix
from longtail.errors import DataError


@dataclass(frozen=True)
class Part:
    """The documents of one part, in corpus order.

    Attributes:
        targets: `(n_docs, n_labels)` 0/1 CSR.
        folds: `(n_docs,)` int8, −1 for documents in no fold.
        doubt: `(n_docs, n_labels)` CSR float32 in [0, 1): to a model that learns from it, an entry
            counts 1 − doubt; None: all count 1.
    """

    ids: list[str]
    texts: list[str]
    targets: sp.csr_matrix
    folds: np.ndarray
    doubt: sp.csr_matrix | None = None


def write_assignment(
    path: Path,
    ids: list[str],
    splits: list[str],
    groups: list[str],
    retired: list[bool],
    folds: list[int],
) -> None:
    """Write one row per document, sorted by id.

    Args:
        path: the Parquet file.
        ids: unique.
        splits: part of each document.
        groups: documents that stay together (of one group, or copies), by their smallest id.
        retired: whether a refresh moved the document from test to train; `ingest` then does so in
            the corpus.
        folds: of each document; −1, written as null, for documents in no fold.
    """
    order = sorted(range(len(ids)), key=ids.__getitem__)
    columns: dict[str, list[Any]] = {
        "id": ids,
        "split": splits,
        "group": groups,
        "retired": retired,
        FOLD: pa.array([None if fold < 0 else fold for fold in folds], COLUMNS[FOLD]),
    }
    table = pa.table(columns).take(order)
    with written(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_assignment(path: Path) -> pd.Series:
    """The part (`train`, `val`, `test`) of each document, indexed by id.

    Raises:
        DataError: `path` is not a file that `split` wrote.
    """
    return _column(path, "split")


def read_groups(path: Path) -> pd.Series:
    """What each document must stay together with, indexed by id.

    The values are the smallest ids of the split's atoms: documents of one group, and copies of one
    text.

    Raises:
        DataError: `path` is not a file that `split` wrote.
    """
    return _column(path, "group")


def read_folds(path: Path) -> pd.Series:
    """The fold of each document, indexed by id; −1 for documents in no fold.

    Raises:
        DataError: `path` is not a file that `split` wrote.
    """
    return _column(path, FOLD, null=-1)


def _column(path: Path, name: str, null: int | None = None) -> pd.Series:
    """The column `name`, with `null` in place of nulls; if it is None, there must be none."""
    try:
        columns = pq.read_table(path, columns=["id", name]).to_pydict()
        if null is not None:
            columns[name] = [null if value is None else value for value in columns[name]]
        problem = _problem(columns["id"], name, columns[name])
    except (pa.ArrowException, OSError, KeyError) as error:
        problem = " ".join(str(error).split())
    if problem:
        raise DataError(
            f"{path} is not a readable split assignment ({problem}); expected the columns id and "
            f"{name} as `split` writes them. Run `dvc repro split`."
        )
    return pd.Series(columns[name], index=columns["id"], name=name)


def _problem(ids: list[str], name: str, values: list[Any]) -> str:
    if name == "split" and (unexpected := set(values) - set(SPLITS)):
        return f"split {next(iter(unexpected))!r}"
    if None in values:
        return f"null in column {name}"
    if len(set(ids)) < len(ids):
        return "an id appears twice"
    return ""


def read_parts(corpus: Path, assignment: Path) -> tuple[list[str], dict[str, Part]]:
    """The label names in column order, and the documents of each part.

    Raises:
        DataError: the corpus and the assignment do not name the same documents, or a part is empty.
    """
    frame = read_corpus(corpus)
    assigned, folds = read_assignment(assignment), read_folds(assignment)
    unexpected = set(frame["id"]) ^ set(assigned.index)
    if unexpected:
        raise DataError(
            f"{assignment} and {corpus} differ in {len(unexpected)} document(s), such as "
            f"{min(unexpected)!r}; run `dvc repro split`, which assigns every document."
        )
    empty = [part for part in SPLITS if part not in set(assigned)]
    if empty:
        raise DataError(
            f"{assignment}: no documents in {' and '.join(empty)}; run `dvc repro split`, which "
            "gives each part some or says why it cannot."
        )
    labels = label_matrix.vocabulary(frame["labels"])
    part_of = frame["id"].map(assigned)
    return labels, {part: _part(frame[part_of == part], labels, folds) for part in SPLITS}


def _part(frame: pd.DataFrame, labels: list[str], folds: pd.Series) -> Part:
    targets = label_matrix.encode(frame["labels"].tolist(), labels)
    ids, texts = frame["id"].tolist(), frame["text"].tolist()
    return Part(ids, texts, targets, folds.loc[ids].to_numpy(dtype=np.int8))
