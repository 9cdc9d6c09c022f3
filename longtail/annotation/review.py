"""Suspected labels that people review: in which order, what is settled, and how many were right."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.stats import binomtest

from longtail.validation.label_errors import Suspect

PREDICTED = ("wrong", "missing")  # one rule in two directions
RECENT, LEAST = 50, 20  # the last reviews of a rule; those before, at least, to compare with
LEVEL = 0.95


@dataclass(frozen=True)
class Review:
    """What a person said about one suspected label of one document.

    Attributes:
        id: of the document.
        label: that was suspected.
        rule: that suspected it.
        score: that it had.
        given: whether the document had the label.
        right: whether the person agreed with the suspicion, and so changed the label.
        annotator: who had annotated the document.
        reviewer: the person.
        reviewed_at: when.
        asked: day on which the question went out, such as 2026-01-31.
        text: digest of the text that the person saw.
    """

    id: str
    label: str
    rule: str
    score: float
    given: bool
    right: bool
    annotator: str | None
    reviewer: str | None
    reviewed_at: dt.datetime | None
    asked: str
    text: str

    @property
    def time(self) -> dt.datetime:
        """When it was reviewed; without a time, the beginning of the day on which it was asked."""
        return self.reviewed_at or dt.datetime.fromisoformat(self.asked)


def digest(text: str) -> str:
    """Tells whether a text has changed."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def by_document(suspects: Sequence[Suspect]) -> dict[int, list[Suspect]]:
    """Group suspects by document, the worst first; the kinds take turns.

    The scores of two kinds have different units, so only the ranks within a kind compare.

    Args:
        suspects: those of one kind in the order of their rank, as `label_errors.suspects` gives
            them.

    Returns:
        Row of the document to its suspects, in the order in which documents should be reviewed.

    >>> found = by_document([Suspect("wrong", 7, 0, 9.0), Suspect("wrong", 5, 1, 8.0),
    ...                      Suspect("missing", 5, 2, 0.9)])
    >>> [(row, [s.kind for s in own]) for row, own in found.items()]
    [(7, ['wrong']), (5, ['missing', 'wrong'])]
    """
    kinds = dict.fromkeys(s.kind for s in suspects)
    ranked = [
        (rank, turn, s)
        for turn, kind in enumerate(kinds)
        for rank, s in enumerate(s for s in suspects if s.kind == kind)
    ]
    found: dict[int, list[Suspect]] = {}
    for *_, suspect in sorted(ranked, key=lambda item: item[:2]):
        found.setdefault(suspect.document, []).append(suspect)
    return found


def settled(
    reviews: Iterable[Review],
    rule: str,
    ids: Sequence[str],
    texts: Sequence[str],
    targets: sp.csr_matrix,
    labels: Sequence[str],
) -> sp.csr_matrix:
    """The labels that a person has decided on, so that the rule need not suspect them again.

    That holds while the text is the same, and the document has or lacks the label as the latest
    review of it said. `wrong` and `missing` are one rule.

    Args:
        reviews: all of them.
        rule: that asks.
        ids: of the documents, `(n_docs,)`.
        texts: of the documents, `(n_docs,)`.
        targets: 0/1 `(n_docs, n_labels)`.
        labels: of the columns.

    Returns:
        0/1 CSR `(n_docs, n_labels)`.
    """
    rules = PREDICTED if rule in PREDICTED else (rule,)
    latest = {(r.id, r.label): r for r in sorted(reviews, key=_order) if r.rule in rules}
    row = {name: k for k, name in enumerate(ids)}
    column = {label: i for i, label in enumerate(labels)}
    at = [
        (k, i)
        for r in latest.values()
        if (k := row.get(r.id)) is not None
        and (i := column.get(r.label)) is not None
        and bool(targets[k, i]) == (r.given != r.right)
        and digest(texts[k]) == r.text
    ]
    rows, columns = zip(*at, strict=True) if at else ((), ())
    return sp.csr_matrix((np.ones(len(at), np.int8), (rows, columns)), targets.shape)


def _order(review: Review) -> tuple[dt.datetime, str, str, str, str]:
    return review.time, review.id, review.rule, review.label, review.reviewer or ""


def tallies(reviews: Iterable[Review]) -> dict[str, Any]:
    """How many suspects were right, by rule and by who had annotated the document.

    Of several reviews of one question, the latest counts.

    Returns:
        `rules` and `annotators`: rows with `name`, `reviewed`, `right`, `share`, and its 95 %
        interval `low` and `high` (Wilson 1927); rules also with `recent`, the row of their last 50
        reviews, and `falls`, see `falls`.
    """
    ordered = sorted(reviews, key=_order)
    counted = list({(r.id, r.rule, r.label, r.asked): r for r in ordered}.values())
    counted.sort(key=_order)
    rules, people = ({r.rule for r in counted}, {r.annotator or "" for r in counted})
    found: dict[str, Any] = {"rules": [], "annotators": []}
    for name in sorted(rules):
        right = [r.right for r in counted if r.rule == name]
        recent = {"recent": tally(name, right[-RECENT:]), "falls": falls(right)}
        found["rules"].append(tally(name, right) | recent)
    for name in sorted(people):
        own = [r.right for r in counted if (r.annotator or "") == name]
        found["annotators"].append(tally(name, own))
    return found


def tally(name: str, right: Sequence[bool]) -> dict[str, Any]:
    """One row of `tallies`.

    >>> row = tally("wrong", [True] * 8 + [False] * 2)
    >>> row["right"], row["share"], round(row["low"], 3), round(row["high"], 3)
    (8, 0.8, 0.49, 0.943)
    """
    n, k = len(right), sum(right)
    low, high = binomtest(k, n).proportion_ci(LEVEL, method="wilson")
    return {
        "name": name, "reviewed": n, "right": k, "share": k / n, "low": float(low),
        "high": float(high),
    }  # fmt: skip


def falls(right: Sequence[bool]) -> bool:
    """Whether fewer of the last 50 suspects were right than of those before.

    The 95 % interval of the difference (Newcombe 1998, method 10: from the two Wilson intervals)
    must lie below 0. With fewer than 20 reviews before the last 50, this is not said.

    Args:
        right: of one rule, `(n_reviews,)` in the order of time.

    >>> falls([True] * 40 + [False] * 50), falls([True, False] * 50)
    (True, False)
    """
    before, recent = right[:-RECENT], right[-RECENT:]
    if len(before) < LEAST:
        return False
    a, b = tally("", before), tally("", recent)
    reach = np.hypot(b["high"] - b["share"], a["share"] - a["low"])
    return bool(b["share"] - a["share"] + reach < 0)
