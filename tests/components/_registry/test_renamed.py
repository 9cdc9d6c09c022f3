"""A version that answers in the labels of today: thresholds, the best k, and who it ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from components._registry.renamed import Renamed
from components._registry.worker import Answer
from longtail.validation.label_history import Fate

SCORES = {"old": 0.45, "also": 0.6, "gone": 0.9, "same": 0.2}
LIMITS = [0.5, 0.4, 0.5, 0.1]
KNOWN = {"old": Fate(("new",)), "also": Fate(("new",)), "gone": Fate(())}


class Version:
    """Answers every text with the same scores, as `serving` does."""

    def __init__(self) -> None:
        self.labels, self.thresholds, self.alive = list(SCORES), LIMITS, True

    def ask(self, texts: Sequence[str], **params: float) -> Answer:
        limits = dict(zip(SCORES, LIMITS, strict=True))
        if "threshold" in params:
            limits = dict.fromkeys(SCORES, params["threshold"])
        names = [name for name in SCORES if SCORES[name] >= limits[name]]
        found = sorted(names, key=SCORES.__getitem__, reverse=True)[: int(params.get("top_k", 9))]
        n = len(texts)
        return Answer([found] * n, [[SCORES[name] for name in found]] * n, 1.5, 2.5)

    def __exit__(self, *_: object) -> None:
        self.alive = False


# `old` is stretched from a threshold of 0.5 to 0.4: 0.45 becomes 0.36; `also` stays at 0.6.
@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {"new": 0.6, "same": 0.2}),
        ({"top_k": 1}, {"new": 0.6}),  # not `gone`, the version's best
        ({"top_k": 9}, {"new": 0.6, "same": 0.2}),
        ({"threshold": 0.3}, {"new": 0.6}),
        ({"threshold": 0.61}, {}),
        ({"threshold": 0.0, "top_k": 2}, {"new": 0.6, "same": 0.2}),
    ],
)
def test_answers(params: dict[str, float], expected: dict[str, float]) -> None:
    found = Renamed(Version(), KNOWN).ask(["a", "b"], **params)
    assert found.labels == [list(expected)] * 2
    assert found.scores == [list(expected.values())] * 2
    assert (found.seconds, found.memory_mb) == (1.5, 2.5)


def test_a_given_threshold_is_compared_with_the_scores_that_are_shown() -> None:
    """`same` (0.2, predicted from 0.1 on) became `old`, predicted from 0.5 on: 0.2 is 0.556."""
    made = Renamed(Version(), {"same": Fate(("old",)), "gone": Fate(())})
    found = made.ask(["a"], threshold=0.5)
    assert found.labels == [["also", "old"]]
    assert found.scores == [[0.6, pytest.approx(0.5 + 0.1 * 0.5 / 0.9)]]


def test_labels_thresholds_and_what_is_not_answered(capsys: pytest.CaptureFixture[str]) -> None:
    made = Renamed(Version(), KNOWN)
    assert (made.labels, made.thresholds) == (["new", "same"], [0.4, 0.1])
    assert "labels 'gone' were split or retired" in capsys.readouterr().err


def test_it_ends_what_it_stands_for() -> None:
    version = Version()
    made = Renamed(version, KNOWN)
    assert made.alive
    made.__exit__(None, None, None)
    assert not version.alive and not made.alive


def test_without_a_history_nothing_changes(capsys: pytest.CaptureFixture[str]) -> None:
    made, own = Renamed(Version(), {}), Version()
    assert made.ask(["a"], top_k=2) == own.ask(["a"], top_k=2)
    assert made.ask(["a"], threshold=0.3) == own.ask(["a"], threshold=0.3)
    assert (made.labels, made.thresholds) == (own.labels, own.thresholds)
    assert capsys.readouterr().err == ""
