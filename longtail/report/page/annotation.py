"""The page for those who lead the annotation: what it gained, where people and labels differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longtail.evaluation.learning_curve import BENT, FEW, METRICS, SCARCE, UNFOUND
from longtail.report.page.formats import number, signed
from longtail.report.page.render import rendered
from longtail.report.page.view import findings_of

Details = Mapping[str, Any]
CONTENTS = {
    "gain": "What annotation gained",
    "agreement": "Agreement",
    "annotators": "Annotators",
    "confusion": "Confused labels",
    "proposals": "Labels to merge or split",
    "suspects": "Reviewed suspects",
}
NAMES = {"micro_f1": "micro-F1", "macro_f1": "macro-F1"}
UNKNOWN = {
    FEW: "not known: too few points",
    BENT: "not known: the curve does not follow a power law",
    SCARCE: "not known: under 30 positives held out",
    UNFOUND: "not known: none of these labels was found yet",
}
MOST_ROWS = 100  # of a table
MOST_PERIODS = 6  # columns


@dataclass(frozen=True)
class AnnotationHints:
    """What only the caller can tell the reader: commands and files, in sentences.

    Backticks mark code. Whatever is empty is left out.

    Args:
        curve: How to get the learning curve.
        dates: How to learn what the last month gained.
        judgments: How to get several judgments per document.
        proposals: How to follow a proposal, or to get some.
        reviews: How to review suspected labels.
        sources: Where the numbers of the page come from.
    """

    curve: str = ""
    dates: str = ""
    judgments: str = ""
    proposals: str = ""
    reviews: str = ""
    sources: str = ""


NO_HINTS = AnnotationHints()


def annotation_page(
    details: Details,
    *,
    hints: AnnotationHints = NO_HINTS,
    figures: Mapping[str, str] | None = None,
) -> str:
    """The self-contained HTML page; the same arguments always give the same text.

    Everything from the corpus is escaped.

    Args:
        details: The dict of `longtail.report.build.build`, with that of
            `longtail.report.annotation.annotation` as `annotation`.
        hints: What the caller adds.
        figures: What `figures.draw` made of `details`; None shows none.
    """
    findings = findings_of(details)
    found = details["annotation"]
    parts = {
        "title": "Annotation",
        "contents": CONTENTS,
        "d": details,
        "found": found,
        "curve": _curve(found["curve"]) if found["curve"] else None,
        "agreement": findings.get("agreement"),
        "consensus": _reliability(findings.get("consensus")),
        "proposals": findings.get("proposals"),
        "reviews": findings.get("reviews"),
        "statistics": findings.get("statistics"),
        "most_rows": MOST_ROWS,
    }
    return rendered("annotation/page.html", parts, hints, figures)


def _curve(curve: Details) -> dict[str, Any]:
    """A row per label group and metric, and what the documents of the last step are."""
    rows = []
    for name, found in curve["slices"].items():
        for metric in METRICS:
            cell = found[metric]
            rows.append(
                {
                    "slice": "All labels" if name == "all" else name,
                    "metric": NAMES[metric],
                    "values": [number(value) for value in cell["values"]],
                    "last": [signed(value) for value in cell["last"]],
                    "next": [signed(value, 2) for value in cell["next"] or ()],
                    "unknown": UNKNOWN.get(cell["unknown"], cell["unknown"]),
                }
            )
    before, last = curve["newest"][-2:]
    return {
        **curve,
        "rows": rows,
        "dated": bool(before and last and before < last),
        "since": before,
        "until": last,
        "n_last": curve["n_learned"][-1] - curve["n_learned"][-2],
    }


def _reliability(consensus: Details | None) -> dict[str, Any] | None:
    """The annotators with a column per period, the last ones."""
    if not consensus:
        return None
    spans = {row["period"] for who in consensus["annotators"] for row in who["periods"]}
    columns = sorted(spans)[-MOST_PERIODS:]
    rows = []
    for who in consensus["annotators"][:MOST_ROWS]:
        f1 = {row["period"]: row["f1"] for row in who["periods"]}
        rows.append({**who, "cells": [f1.get(span) for span in columns]})
    return {**consensus, "columns": columns, "rows": rows}
