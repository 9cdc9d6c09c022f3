"""Which documents come together: by hand, and whatever the order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longtail.evaluation.units import joined


def test_groups_and_copies_link_documents_also_through_others():
    groups = ["g", None, "h", "g", None, ""]
    texts = ["one", "two", "two", "three", "four", "four"]
    found = joined(groups, texts).tolist()
    assert found[0] == found[3]
    assert found[1] == found[2]  # the same text in another group joins both groups
    assert found[4] == found[5]
    assert len(set(found)) == 3


def test_documents_without_a_key_are_alone():
    assert joined([None, None, ""], ["", "", ""]).tolist() == [0, 1, 2]
    assert joined([], []).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12), st.randoms())
def test_units_are_the_components_whatever_the_order(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = joined(*([rows[i][k] for i in order] for k in (0, 1)))
    found = joined(*([row[k] for row in rows] for k in (0, 1)))
    same = found[:, None] == found[None, :]
    assert (same[np.ix_(order, order)] == (shuffled[:, None] == shuffled[None, :])).all()
    # Linked by a shared key, and closed under it.
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if a[0] == b[0] or a[1] == b[1]:
                assert found[i] == found[j]
