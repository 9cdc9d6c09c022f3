"""How many of the reviewed suspects were right, and whether that falls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from longtail.annotation.review import Review, in_time

RECENT, LEAST = 50, 20  # the last reviews of a rule; those before, at least, to compare with
LEVEL = 0.95


def tallies(reviews: Iterable[Review]) -> dict[str, Any]:
    """How many suspects were right, by rule and by who had annotated the document.

    Of several reviews of one question, the latest counts.

    Returns:
        `rules` and `annotators`: rows with `name`, `reviewed`, `right`, `share`, and its 95 %
        interval `low` and `high` (Wilson 1927); rules also with `recent`, the row of their last 50
        reviews, and `falls`, see `falls`.
    """
    ordered = sorted(reviews, key=in_time)
    counted = list({r.question: r for r in ordered}.values())
    counted.sort(key=in_time)
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
