"""Counts by hand."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from longtail.frequency import class_frequencies, cooccurrence, statistics

TARGETS = sp.csr_matrix(
    np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]], dtype=np.int8)
)


def test_class_frequencies():
    counted = class_frequencies(TARGETS)
    assert counted.dtype == np.int64
    assert counted.tolist() == [3, 2, 1, 0]


def test_cooccurrence_has_the_frequencies_on_its_diagonal():
    found = cooccurrence(TARGETS).toarray().tolist()
    assert found == [[3, 2, 1, 0], [2, 2, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]


def test_cooccurrence_counts_beyond_int8():
    targets = sp.csr_matrix(np.ones((300, 2), dtype=np.int8))
    assert cooccurrence(targets).toarray().tolist() == [[300, 300], [300, 300]]


def test_statistics():
    assert statistics(TARGETS) == {
        "documents": 4,
        "labels": 3,
        "labels_per_document": {"mean": 1.5, "median": 1.5, "min": 0, "max": 3},
        "documents_per_label": {"mean": 2.0, "median": 2.0, "min": 1, "max": 3},
    }


def test_statistics_of_nothing():
    found = statistics(sp.csr_matrix((0, 3), dtype=np.int8))
    assert found["documents"] == found["labels"] == 0
    assert found["labels_per_document"] == {"mean": 0.0, "median": 0.0, "min": 0, "max": 0}
