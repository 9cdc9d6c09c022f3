"""The page and the Markdown summary: pure functions of the report's dict and the decision's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from longtail.frequency import FREQUENCY_GROUPS
from longtail.report.page import view
from longtail.report.page.figures import PALETTE, draw
from longtail.report.script import JS
from longtail.report.style import CSS
from longtail.report.template import TEMPLATES

Details = Mapping[str, Any]
CONTENTS = {
    "decision": "Decision",
    "headline": "Headline",
    "slices": "By label frequency",
    "documents": "By kind of document",
    "labels": "Labels",
    "figures": "Corpus and models",
    "thresholds": "Thresholds",
    "calibration": "Calibration",
    "confusion": "Confusions",
    "errors": "Worst errors",
    "tokens": "Over-fitted tokens",
    "suspects": "Suspected labels",
    "split": "Split quality",
    "drift": "Drift",
    "lineage": "Data and lineage",
}
MATRIX_METRICS = (
    "micro_precision", "micro_recall", "micro_f1", "macro_precision", "macro_recall", "macro_f1",
)  # fmt: skip
DOCUMENT_METRICS = ("micro_precision", "micro_recall", "micro_f1", "macro_f1")


def page(
    details: Details,
    decision: Details | None = None,
    drift: Details | None = None,
    *,
    max_labels: int = 1000,
) -> str:
    """The self-contained HTML page of `details`, the dict of `longtail.report.build.build`.

    decision: the dict of reports/decision.json, None before `promote` has run.
    drift: the dict of reports/drift.json, None where it was not measured.
    max_labels: rows of the label table; of more labels those with most errors are shown.
    The same arguments always give the same text. Everything from the corpus is escaped.
    """
    environment = Environment(
        loader=DictLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    digest = base64.b64encode(hashlib.sha256(JS.encode()).digest()).decode()
    return environment.get_template("page").render(
        **view.FORMATS,
        **_parts(details, decision, drift, max_labels),
        css=Markup(CSS),
        js=Markup(JS),
        script_hash=f"sha256-{digest}",
    )


def _parts(
    d: Details, decision: Details | None, drift: Details | None, max_labels: int
) -> dict[str, Any]:
    decision = view.completed(decision)
    rows, note = view.label_rows(d, decision, max_labels)
    champion = view.champion_values(decision)
    return {
        "d": d,
        "title": "Evaluation of " + d["models"][0]["title"],
        "contents": CONTENTS.items(),
        "decision": decision,
        "verdict": view.verdict(decision),
        "main": d["models"][0],
        "tiles": view.tiles(d),
        "champion": champion,
        "champion_note": view.champion_note(decision),
        "matrix": view.matrix(d),
        "matrix_metrics": MATRIX_METRICS,
        "document_metrics": DOCUMENT_METRICS,
        "document_slices": view.document_slices(d),
        "groups": FREQUENCY_GROUPS,
        "label_rows": rows,
        "label_note": note,
        "lost_against": "the champion" if decision and champion else "the baseline",
        "figures": {name: Markup(_themed(svg)) for name, svg in draw(d).items()},
        **view.tables(d),
        "version_facts": view.version_facts(decision),
        "quoted": sorted({str(row) for p in d["confusion"] for row in p["documents"]}, key=int),
        "drift": drift,
    }


def _themed(svg: str) -> str:
    """The figure in the page's colours, which follow light and dark."""
    for name, colour in PALETTE.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def markdown(details: Details, decision: Details | None = None) -> str:
    """The decision, the headline and the slice matrix as Markdown, text from outside escaped."""
    verdict = view.verdict(decision)
    titles = [model["title"] for model in details["models"]]
    lines = [f"# Evaluation of {view.escape_markdown(titles[0])}", ""]
    lines += [f"**{verdict['title']}** {view.escape_markdown(verdict['text'])}", ""]
    rows = [
        [row["title"], *(_with_bounds(row, model["name"]) for model in details["models"])]
        for row in details["headline"]
    ]
    lines += ["## Headline", "", *_table(["metric", *titles], rows), "", "## By label frequency"]
    header = ["slice", "model", "labels", "support", *MATRIX_METRICS]
    body = [
        [
            name,
            title,
            row["n_labels"],
            row["support"],
            *(view.number(row[metric]) for metric in MATRIX_METRICS),
        ]
        for name, group in view.matrix(details)
        for title, row in group
    ]
    return "\n".join([*lines, "", *_table(header, body), ""])


def _with_bounds(row: Details, model: str) -> str:
    value, low, high = row["values"][model]
    show: Callable[[Any], str] = lambda x: view.number(x, row["metric"] in view.BARE)  # noqa: E731
    return show(value) if low is None else f"{show(value)} ({show(low)}–{show(high)})"


def _table(header: list[str], rows: list[list[Any]]) -> list[str]:
    cells = [[view.escape_markdown(str(cell)) for cell in row] for row in [header, *rows]]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return [lines[0], "|" + " --- |" * len(header), *lines[1:]]
