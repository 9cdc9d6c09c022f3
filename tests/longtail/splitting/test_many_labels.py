"""Documents with very many labels: bounded work, and the same result for all others."""

from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.sparse as sp

from longtail.errors import ParameterError
from longtail.splitting.iterative import (
    MOST_PAIRED,
    iterative_split,
    label_pairs,
    scikit_multilearn_split,
)
from longtail.splitting.quality import quality

THREE = (0.6, 0.2, 0.2)


def drawn(n_docs: int, n_labels: int, per_doc: int) -> sp.csr_matrix:
    """`per_doc` labels for each document."""
    rng = np.random.default_rng(0)
    columns = np.concatenate([rng.permutation(n_labels)[:per_doc] for _ in range(n_docs)])
    rows = np.repeat(np.arange(n_docs), per_doc)
    return sp.csr_matrix((np.ones(len(rows), np.int32), (rows, columns)), (n_docs, n_labels))


def test_pairs_of_documents_with_very_many_labels_are_left_out() -> None:
    few, many = drawn(3, MOST_PAIRED + 1, MOST_PAIRED), drawn(1, MOST_PAIRED + 1, MOST_PAIRED + 1)
    pairs = label_pairs(sp.vstack([few, many]).tocsr())
    assert np.diff(pairs.indptr).tolist() == [MOST_PAIRED * (MOST_PAIRED - 1) // 2] * 3 + [0]


@pytest.mark.parametrize("order", [1, 2])
def test_a_thousand_labels_per_document_are_split_in_seconds(order: int) -> None:
    """The pairs alone took 15 s of the processor, and 2 GB, for 60 documents."""
    labels = drawn(300, 5000, 1000)
    iterative_split(labels[:9, :9], THREE, order=order)  # compiles
    start = time.process_time()
    parts = iterative_split(labels, THREE, order=order)
    report = quality(labels, parts, THREE)
    assert time.process_time() - start < 30
    assert report["pairs"]["count"] == 0 and report["label_share_deviation"] < 0.1


def test_labels_that_cannot_be_in_every_part_do_not_take_minutes() -> None:
    labels = drawn(60, 2000, 300)
    iterative_split(labels[:9, :9], THREE)
    start = time.process_time()
    iterative_split(labels, THREE)
    assert time.process_time() - start < 60


def test_scikit_multilearn_refuses_what_it_would_take_hours_for() -> None:
    with pytest.raises(ParameterError, match=r"4,995,000 here, more than the 1,000,000 allowed"):
        scikit_multilearn_split(drawn(10, 1000, 1000), THREE, max_pairs=1_000_000)
