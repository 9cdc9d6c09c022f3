"""Label lists to a 0/1 matrix and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.errors import DataError
from longtail.label_matrix import decode, encode, vocabulary

lists = st.lists(st.lists(st.sampled_from("abcdef"), max_size=5), min_size=1, max_size=8)


def test_vocabulary_is_sorted_and_unique():
    assert vocabulary([["b", "a"], [], ["c", "b"]]) == ["a", "b", "c"]


def test_encode_by_hand():
    matrix = encode([["b", "b", "a"], [], ["c"]], ["a", "b", "c", "d"])
    assert matrix.dtype == np.int8
    assert matrix.toarray().tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]


def test_encode_follows_the_columns_it_is_given():
    assert encode([["a"]], ["z", "a"]).toarray().tolist() == [[0, 1]]


def test_unknown_label_is_named():
    with pytest.raises(DataError, match=r"'x' is not among the 2 known"):
        encode([["a"], ["x"]], ["a", "b"])


@given(lists)
def test_decode_undoes_encode(label_lists):
    labels = list("abcdef")
    matrix = encode(label_lists, labels)
    assert decode(matrix, labels) == [sorted(set(doc)) for doc in label_lists]
    assert matrix.has_sorted_indices
