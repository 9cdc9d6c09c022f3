"""What reviews settle, and how many were right, by hand."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
import scipy.sparse as sp

from longtail.annotation.review import Review, digest, renamed, settled
from longtail.annotation.review_tally import falls, tallies
from longtail.validation.label_history import Change

IDS, TEXTS, LABELS = ["a", "b"], ["one", "two"], ["x", "y"]
ASKED = Review(
    "a", "x", "wrong", 3.0, True, False, "ann", "zoe", dt.datetime(2026, 3, 1), "2026-02-28",
    digest("one"),
)  # fmt: skip


def cells(reviews: list[Review], targets: list[list[int]]) -> list[list[int]]:
    return settled(reviews, IDS, TEXTS, sp.csr_matrix(targets), LABELS).toarray().tolist()


def test_a_confirmed_label_is_settled_until_it_or_the_text_changes() -> None:
    has = [[1, 0], [0, 1]]
    assert cells([ASKED], has) == [[1, 0], [0, 0]]
    assert cells([replace(ASKED, text=digest("other"))], has) == [[0, 0], [0, 0]]
    assert cells([replace(ASKED, id="gone"), replace(ASKED, label="gone")], has) == [[0, 0]] * 2
    assert cells([ASKED], [[0, 0], [0, 1]]) == [[0, 0], [0, 0]]  # somebody has removed it since


def test_a_corrected_label_is_settled_as_long_as_it_stays_corrected() -> None:
    corrected = replace(ASKED, right=True)
    assert cells([corrected], [[0, 0], [0, 1]]) == [[1, 0], [0, 0]]
    assert cells([corrected], [[1, 0], [0, 1]]) == [[0, 0], [0, 0]]


def test_the_latest_review_settles() -> None:
    later = replace(ASKED, right=True, reviewer="yan", reviewed_at=dt.datetime(2026, 3, 2))
    for order in ([ASKED, later], [later, ASKED]):
        assert cells(order, [[1, 0], [0, 1]]) == [[0, 0], [0, 0]]
        assert cells(order, [[0, 0], [0, 1]]) == [[1, 0], [0, 0]]


def test_reviews_follow_the_history_of_labels() -> None:
    day = dt.date(2026, 3, 1)
    history = [
        Change("renamed", day, "", "x", ("y",)),
        Change("merged", day, "", "y", ("z",)),
        Change("retired", day, "", "misc", ()),
        Change("split", day, "", "wide", ("one", "two")),
    ]
    asked = [replace(ASKED, label=label) for label in ("x", "y", "misc", "wide", "other")]
    assert [r.label for r in renamed(asked, history)] == ["z", "z", "misc", "wide", "other"]
    # Without the label y, a document may have been called z for another reason.
    lacks = [replace(r, right=True) for r in asked]
    assert [r.label for r in renamed(lacks, history)] == ["y", "y", "misc", "wide", "other"]


def test_tallies_count_each_question_once() -> None:
    again = replace(ASKED, right=True, reviewer="yan", reviewed_at=dt.datetime(2026, 3, 2))
    other = replace(ASKED, id="b", rule="copies", annotator=None)
    found = tallies([again, ASKED, other])
    assert [(r["name"], r["reviewed"], r["right"]) for r in found["rules"]] == [
        ("copies", 1, 0),
        ("wrong", 1, 1),
    ]
    assert [(r["name"], r["reviewed"], r["right"]) for r in found["annotators"]] == [
        ("", 1, 0),
        ("ann", 1, 1),
    ]
    # Wilson for 1 of 1: z² = 3.8415, low = 1 / (1 + z²).
    assert found["rules"][1]["low"] == pytest.approx(1 / 4.8415, abs=1e-4)
    assert found["rules"][1]["high"] == pytest.approx(1)


def test_a_rule_falls_only_if_chance_is_no_excuse() -> None:
    # 35 of 50 before. Newcombe's method 10: Wilson of 0.70 is 0.562 to 0.809.
    before = [True] * 35 + [False] * 15
    # 26 of 50: up to 0.652; −0.18 + hypot(0.132, 0.138) = +0.011. 25 of 50: up to 0.634; −0.0075.
    assert not falls(before + [True] * 26 + [False] * 24)
    assert falls(before + [True] * 25 + [False] * 25)
    assert not falls([False] * 25 + [True] * 25 + before)  # it rises
    assert falls([True] * 20 + [False] * 50) and not falls([True] * 19 + [False] * 50)
    assert tallies([replace(ASKED, id=str(k), right=k < 20, asked="2026-03-01",
                            reviewed_at=dt.datetime(2026, 3, 1, 0, 0, k % 60))
                    for k in range(20)])["rules"][0]["falls"] is False  # fmt: skip
