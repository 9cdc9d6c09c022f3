"""Histories with hand-computed results, and what holds for every history."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.errors import DataError
from longtail.validation.label_history import (
    ADDED,
    MERGED,
    RENAMED,
    RETIRED,
    SPLIT,
    Change,
    Fate,
    current,
    fates,
    in_order,
)


def change(day: int, kind: str, old: str | None, *new: str) -> Change:
    return Change(kind, dt.date(2026, 1, day), "why", old, new)


def became(*changes: Change, at: int | None = None) -> dict[str, Fate]:
    return fates(in_order(changes), None if at is None else dt.date(2026, 1, at))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Given in the order of the file, replayed in that of the dates.
        ([change(9, RENAMED, "b", "c"), change(2, RENAMED, "a", "b")],
         {"a": Fate(("c",)), "b": Fate(("c",))}),
        ([change(1, MERGED, "a", "c"), change(1, MERGED, "b", "c"), change(2, RENAMED, "c", "d")],
         dict.fromkeys("abc", Fate(("d",)))),
        # A merge into a label that is itself merged later.
        ([change(1, MERGED, "a", "b"), change(2, MERGED, "b", "c")],
         {"a": Fate(("c",)), "b": Fate(("c",))}),
        ([change(1, RENAMED, "a", "b"), change(2, RETIRED, "b")],
         {"a": Fate(()), "b": Fate(())}),
        ([change(3, MERGED, "d", "e"), change(1, RENAMED, "a", "b"),
          change(2, SPLIT, "b", "c", "d")],
         {"a": Fate(("c", "e"), True, "b"), "b": Fate(("c", "e"), True), "d": Fate(("e",))}),
        # One label of a split is left: a document may have none of them, so a person looks.
        ([change(1, SPLIT, "a", "b", "c"), change(2, RETIRED, "c")],
         {"a": Fate(("b",), True), "c": Fate(())}),
        ([change(1, SPLIT, "a", "b", "c"), change(2, RETIRED, "b"), change(2, RETIRED, "c")],
         dict.fromkeys("abc", Fate(()))),
        ([change(1, ADDED, None, "a")], {}),
    ],
)  # fmt: skip
def test_what_labels_have_become(changes: list[Change], expected: dict[str, Fate]) -> None:
    assert became(*changes) == expected


def test_a_day_in_the_past() -> None:
    changes = change(2, RENAMED, "a", "b"), change(4, RENAMED, "b", "c")
    assert became(*changes, at=1) == {}
    assert became(*changes, at=2) == became(*changes, at=3) == {"a": Fate(("b",))}
    assert became(*changes, at=4)["a"] == Fate(("c",))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([change(1, RENAMED, "a", "b"), change(2, RENAMED, "b", "a")],
         "'b' was renamed to 'a' on 2026-01-02, but 'a' was renamed to 'b' on 2026-01-01: a cycle"),
        ([change(1, MERGED, "a", "b"), change(2, MERGED, "b", "c"), change(3, RENAMED, "c", "a")],
         "but 'a' was merged into 'b' on 2026-01-01: a cycle"),
        ([change(1, RENAMED, "a", "a")], "a label cannot take its own place"),
        ([change(1, SPLIT, "a", "a", "b")], "a label cannot take its own place"),
        ([change(1, ADDED, None, "b"), change(2, RENAMED, "a", "b")],
         "there was a label 'b' already; expected a new name, or merged"),
        ([change(1, MERGED, "x", "b"), change(2, RENAMED, "a", "b")], "there was a label 'b'"),
        ([change(1, ADDED, None, "b"), change(2, ADDED, None, "b")], "there was a label 'b'"),
        # A merge into a label that was itself merged before: the message names what it is now.
        ([change(1, MERGED, "b", "c"), change(2, RENAMED, "c", "d"), change(3, MERGED, "a", "b")],
         "'a' was merged into 'b' on 2026-01-03, but 'b' was merged into 'c' on 2026-01-01, "
         "and a name that is gone is never used again; write 'd'"),
        ([change(1, RETIRED, "b"), change(2, ADDED, None, "b")], "never used again."),
        ([change(1, RENAMED, "a", "b"), change(2, MERGED, "a", "c")],
         "but 'a' was renamed to 'b' on 2026-01-01; remove one of the two changes"),
        ([change(1, SPLIT, "a", "b")], "expected two labels or more"),
        ([change(1, SPLIT, "a", "b", "b")], "expected two labels or more"),
    ],
)  # fmt: skip
def test_what_is_refused(changes: list[Change], says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)):
        in_order(changes)


def test_a_documents_labels() -> None:
    known = became(
        change(1, RENAMED, "a", "b"),
        change(1, MERGED, "c", "b"),
        change(1, RETIRED, "d"),
        change(1, SPLIT, "e", "f", "g"),
    )
    assert current(["x", "c", "a", "d", "e"], known) == ["x", "b", "e"]
    assert current(["b", "a"], known) == ["b"]
    assert current(["d"], known) == []
    # What has no old label is left alone, repetitions too: they are for `validate`.
    assert current(["x", "x", "e"], known) == ["x", "x", "e"]


NAMES = st.sampled_from("abcdefgh")
CHANGES = st.one_of(
    st.builds(change, st.integers(1, 9), st.sampled_from([RENAMED, MERGED]), NAMES, NAMES),
    st.builds(change, st.integers(1, 9), st.just(SPLIT), NAMES, NAMES, NAMES),
    st.builds(change, st.integers(1, 9), st.just(RETIRED), NAMES),
    st.builds(change, st.integers(1, 9), st.just(ADDED), st.none(), NAMES),
)


def histories() -> st.SearchStrategy[list[Change]]:
    """Those that are not refused: each change is kept if the history before it allows it."""

    def sound(drawn: list[Change]) -> list[Change]:
        kept: list[Change] = []
        for one in drawn:
            try:
                kept = in_order([*kept, one])
            except DataError:
                continue
        return kept

    return st.lists(CHANGES, max_size=8).map(sound)


@given(histories(), st.lists(NAMES, max_size=6))
def test_applying_twice_is_applying_once(changes: list[Change], labels: list[str]) -> None:
    known = fates(changes)
    once = current(labels, known)
    assert current(once, known) == once
    assert not [label for label in once if label in known and not known[label].review]
    assert {label for label in labels if label not in known} <= set(once)


@given(histories())
def test_no_label_becomes_one_that_is_gone(changes: list[Change]) -> None:
    known = fates(changes)
    assert not [label for fate in known.values() for label in fate.labels if label in known]
    assert set(known) == {one.old for one in changes if one.old is not None}


@given(histories(), st.lists(NAMES, max_size=6), st.integers(1, 9))
def test_a_part_first_and_then_the_whole(
    changes: list[Change], labels: list[str], day: int
) -> None:
    """Documents that were migrated along the way end where those migrated at the end do."""
    part = fates(changes, dt.date(2026, 1, day))
    whole = fates(changes)
    assert current(current(labels, part), whole) == current(labels, whole)


@given(histories(), NAMES)
def test_one_change_at_a_time(changes: list[Change], label: str) -> None:
    """An independent replay: a set of labels, changed day by day."""
    held, split = {label}, False
    for one in changes:
        if one.old in held:
            held = held - {one.old} | set(one.new)
            split |= one.kind == SPLIT
    fate = fates(changes).get(label, Fate((label,)))
    assert set(fate.labels) == held
    assert fate.review == (split and bool(held))
