"""Converts label lists to a sparse 0/1 matrix and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse as sp

from longtail.errors import DataError


def vocabulary(label_lists: Iterable[Iterable[str]]) -> list[str]:
    """All labels that occur, sorted: the column order of every label and score matrix.

    >>> vocabulary([["net", "web"], [], ["gui", "net"]])
    ['gui', 'net', 'web']
    """
    return sorted({label for labels in label_lists for label in labels})


def encode(label_lists: Sequence[Sequence[str]], labels: Sequence[str]) -> sp.csr_matrix:
    """Encode label lists as a 0/1 matrix.

    Args:
        label_lists: the labels of each document; a label listed twice counts once.
        labels: the label of each column.

    Returns:
        CSR `(n_docs, n_labels)` int8.

    Raises:
        DataError: a document has a label that is not among `labels`.

    >>> encode([["net", "web"], [], ["gui"]], ["gui", "net", "web"]).toarray().tolist()
    [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    """
    column = {label: i for i, label in enumerate(labels)}
    try:
        rows = [sorted({column[label] for label in doc}) for doc in label_lists]
    except KeyError as error:
        raise DataError(
            f"Label {error.args[0]!r} is not among the {len(labels)} known labels."
        ) from None
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    indices = np.fromiter((i for row in rows for i in row), dtype=np.int32, count=int(indptr[-1]))
    data = np.ones(len(indices), dtype=np.int8)
    return sp.csr_matrix((data, indices, indptr), shape=(len(rows), len(labels)))


def decode(matrix: sp.csr_matrix, labels: Sequence[str]) -> list[list[str]]:
    """The label list of each row of a 0/1 matrix `(n_docs, n_labels)`, the inverse of `encode`."""
    matrix = matrix.tocsr()
    return [
        [labels[i] for i in matrix.indices[start:end]]
        for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    ]
