"""A model's answers in current labels: hand-computed, and the union for every threshold."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from longtail.validation.label_history import Fate
from longtail.validation.label_translation import stretched, translation

OWN = ["a", "b", "c", "d", "e", "x"]
LIMITS = [0.5, 0.2, 0.4, 0.3, 0.3, 0.6]
# a and c were merged into b, d was retired, e split, x renamed to y.
KNOWN = {
    "a": Fate(("b",)), "c": Fate(("b",)), "d": Fate(()), "e": Fate(("f", "g"), True),
    "x": Fate(("y",)),
}  # fmt: skip


def test_labels_thresholds_and_what_is_left_out() -> None:
    found = translation(OWN, LIMITS, KNOWN)
    assert (found.labels, found.thresholds) == (["b", "y"], [0.2, 0.6])
    assert found.left_out == ["d", "e"]
    assert found.changed == {"b": ["a", "b", "c"], "y": ["x"]}


def test_a_merge_into_a_new_label_takes_the_lowest_threshold() -> None:
    found = translation(["a", "c"], [0.5, 0.4], {"a": Fate(("n",)), "c": Fate(("n",))})
    assert (found.labels, found.thresholds) == (["n"], [0.4])


def test_a_label_that_is_never_predicted_lends_no_threshold() -> None:
    found = translation(["a", "b"], [0.5, 1.1], KNOWN)
    assert (found.labels, found.thresholds) == (["b"], [0.5])
    # 0.9 is below its threshold of 1.1, so below 0.5 on the scale of a.
    assert found.scores(np.array([[0.0, 0.9], [0.7, 0.9]])).round(3).tolist() == [[0.409], [0.7]]


def test_a_renamed_label_that_is_still_in_use_keeps_its_name() -> None:
    found = translation(OWN, LIMITS, KNOWN, kept={"a", "x", "d"})
    assert found.labels == ["a", "b", "x"]  # d is retired, whoever still has it
    assert found.changed == {"b": ["b", "c"]}


def test_predictions_are_the_union() -> None:
    found = translation(OWN, LIMITS, KNOWN)
    rows = [[1, 0, 1, 0, 0, 0], [0, 1, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0]]
    predicted = sp.csr_matrix(np.array(rows, dtype=np.int8))
    assert found.predictions(predicted).toarray().tolist() == [[1, 0], [1, 1], [0, 0]]


def test_one_answer() -> None:
    found = translation(OWN, LIMITS, KNOWN)
    # a: 0.75 is half-way from its threshold to 1, so 0.6 on the scale of b; b itself has 0.3.
    labels, scores = found.answer(["d", "x", "a", "b"], [0.99, 0.8, 0.75, 0.3])
    assert labels == ["y", "b"]
    assert scores == pytest.approx([0.8, 0.6])
    assert found.answer([], []) == ([], [])


def test_no_label_is_left() -> None:
    found = translation(["d"], [0.5], KNOWN)
    assert (found.labels, found.left_out) == ([], ["d"])
    assert found.predictions(sp.csr_matrix(np.ones((2, 1), np.int8))).shape == (2, 0)
    assert found.scores(np.ones((2, 1))).shape == (2, 0)


def test_just_below_the_threshold_stays_below() -> None:
    """A product of floats may round up to the threshold itself."""
    for limit in np.linspace(0.05, 0.95, 19):
        for wanted in np.linspace(0.05, 0.95, 19):
            below = np.nextafter(limit, 0.0)
            assert stretched(np.array([below]), limit, wanted)[0] < wanted
            assert stretched(np.array([limit]), limit, wanted)[0] == wanted


UNIT = st.floats(0, 1, width=32)


@given(st.lists(UNIT, min_size=6, max_size=6), st.lists(UNIT, min_size=6, max_size=6))
def test_score_and_threshold_say_what_the_union_says(
    scores: list[float], limits: list[float]
) -> None:
    found = translation(OWN, limits, KNOWN)
    row = np.array([scores])
    union = found.predictions(sp.csr_matrix((row >= limits).astype(np.int8)))
    ours = found.scores(row) >= found.thresholds
    assert ours.astype(int).tolist() == union.toarray().tolist()
    given_labels = [
        label for label, s, limit in zip(OWN, scores, limits, strict=True) if s >= limit
    ]
    own = [s for s, limit in zip(scores, limits, strict=True) if s >= limit]
    labels, answered = found.answer(given_labels, own)
    assert set(labels) == {found.labels[i] for i in np.flatnonzero(ours[0])}
    for label, score in zip(labels, answered, strict=True):
        assert score == found.scores(row)[0, found.labels.index(label)]


@given(UNIT, UNIT, UNIT, UNIT)
def test_stretching_keeps_the_order(one: float, other: float, limit: float, wanted: float) -> None:
    low, high = stretched(np.array(sorted([one, other])), limit, wanted)
    assert 0 <= low <= high <= 1
