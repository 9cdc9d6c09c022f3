"""The page and the Markdown summary: pure functions of the report's dict and the decision's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from longtail.frequency import FREQUENCY_GROUPS
from longtail.report.page import view
from longtail.report.page.formats import FORMATS, escape_markdown, number, signed
from longtail.report.page.palette import PALETTE

Details = Mapping[str, Any]
CONTENTS = {
    "decision": "Decision",
    "champion": "Champion",
    "headline": "Headline",
    "ingredients": "What brought what",
    "slices": "By label frequency",
    "documents": "By document type",
    "labels": "Labels",
    "figures": "Corpus and models",
    "thresholds": "Thresholds",
    "calibration": "Calibration",
    "confusion": "Confusions",
    "errors": "Worst errors",
    "tokens": "Overfitted tokens",
    "suspects": "Suspected labels",
    "split": "Split quality",
    "drift": "Drift",
    "lineage": "Data and lineage",
}
MATRIX_METRICS = (
    "micro_precision", "micro_recall", "micro_f1", "macro_precision", "macro_recall", "macro_f1",
)  # fmt: skip
DOCUMENT_METRICS = ("micro_precision", "micro_recall", "micro_f1", "macro_f1")
# The page's own templates, style sheet and script. They are package data, which together with the
# training loop's checkpoints makes the only files that `longtail` opens.
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Hints:
    """What only the caller can tell the reader: commands and files, in sentences.

    Backticks mark code. Whatever is empty is left out.

    Args:
        undecided: How to get a decision.
        sources: Where the page's numbers come from.
        labels: Where to find every label, when the page shows only some.
        suspects: Where to find every suspected label error.
    """

    undecided: str = ""
    sources: str = ""
    labels: str = ""
    suspects: str = ""


NO_HINTS = Hints()


def page(
    details: Details,
    decision: Details | None = None,
    drift: Details | None = None,
    *,
    hints: Hints = NO_HINTS,
    max_labels: int = 1000,
    figures: Mapping[str, str] | None = None,
) -> str:
    """The self-contained HTML page; the same arguments always give the same text.

    Everything from the corpus is escaped.

    Args:
        details: The dict of `longtail.report.build.build`.
        decision: What the promotion gate decided; None before it has.
        drift: The dict of `longtail.drift.measure` with `alarms`, `judged`, the `champion` it was
            measured against, and `watch`, that champion's score on later documents; or only the
            `champion` and the `reason` why nothing was measured. None shows nothing.
        hints: What the caller adds.
        max_labels: Rows of the label table; of more labels, those with the most errors are shown.
        figures: What `figures.draw` made of `details`; None shows none.
    """
    parts = _parts(details, decision, drift, max_labels)
    return rendered("page.html", parts, hints, figures)


def rendered(
    template: str, parts: Details, hints: object, figures: Mapping[str, str] | None
) -> str:
    """A page with the style sheet, the script, and the figures in the page's colors.

    Args:
        template: in the folder `templates`.
        parts: what the template shows.
        hints: what the caller adds.
        figures: what `figures.draw` made; None shows none.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css, js = (HERE.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(js.encode()).digest()).decode()
    return environment.get_template(template).render(
        **FORMATS,
        **parts,
        figures={name: Markup(_themed(svg)) for name, svg in (figures or {}).items()},
        hints=hints,
        css=Markup(css),
        js=Markup(js),
        script_hash=f"sha256-{digest}",
    )


def _parts(
    d: Details, decision: Details | None, drift: Details | None, max_labels: int
) -> dict[str, Any]:
    decision, drift = view.completed(decision), view.readable(drift)
    shown = {"champion": bool(drift), "drift": bool(drift) and "psi" in (drift or {})}
    return {
        "d": d,
        "title": "Evaluation of " + d["models"][0]["title"],
        "contents": {k: v for k, v in CONTENTS.items() if shown.get(k, True)},
        "decision": decision,
        "verdict": view.verdict(decision),
        "tiles": view.tiles(d),
        "bare_metrics": view.BARE,
        "champion": view.champion_metrics(decision),
        "champion_note": view.champion_note(decision),
        "asked": view.asked(decision),
        **view.ingredients(d),
        "matrix": view.matrix(d),
        "matrix_metrics": MATRIX_METRICS,
        "document_metrics": DOCUMENT_METRICS,
        "document_slices": view.document_slices(d),
        "groups": FREQUENCY_GROUPS,
        "label_rows": view.label_rows(d, max_labels),
        **view.tables(d),
        "version_facts": view.version_facts(decision),
        "drift": drift,
        **view.drift_tables(drift),
    }


def _themed(svg: str) -> str:
    """The figure in the page's colors, which follow light and dark."""
    for name, color in PALETTE.items():
        svg = svg.replace(color, f"var(--{name})")
    return svg


def markdown(details: Details, decision: Details | None = None, *, hints: Hints = NO_HINTS) -> str:
    """The decision, the headline and the slice matrix as Markdown, with outside text escaped."""
    verdict = view.verdict(decision)
    titles = [model["title"] for model in details["models"]]
    lines = [f"# Evaluation of {escape_markdown(titles[0])}", ""]
    hint = "" if decision else f" {hints.undecided}".rstrip()
    lines += [f"**{verdict['title']}** {escape_markdown(verdict['text'])}{hint}", ""]
    rows = [
        [row["title"], *(_with_bounds(row, model["name"]) for model in details["models"])]
        for row in details["headline"]
    ]
    lines += ["## Headline", "", *_table(["metric", *titles], rows), ""]
    lines += ["## What brought what", "", *_ingredients(details), "", "## By label frequency"]
    header = ["slice", "model", "labels", "support", *MATRIX_METRICS]
    body = [
        [
            name,
            title,
            row["n_labels"],
            row["support"],
            *(number(row[metric]) for metric in MATRIX_METRICS),
        ]
        for name, group in view.matrix(details)
        for title, row in group
    ]
    return "\n".join([*lines, "", *_table(header, body), ""])


def _ingredients(details: Details) -> list[str]:
    """What is left without each ingredient, with the paired differences in points."""
    shown = view.ingredients(details)
    columns = shown["ingredient_columns"]
    rows = []
    for row in shown["ingredient_rows"]:
        cells = [number(cell["value"]) + _points(cell["difference"]) for cell in row["cells"]]
        rows.append([row["without"], row["left"], row["weight"], *(cells or [""] * len(columns))])
    return _table(["without", "what is left", "SVM weight", *columns], rows)


def _points(difference: Sequence[float] | None) -> str:
    if difference is None:
        return ""
    middle, low, high = map(signed, difference)
    return f" ({middle}, {low} to {high})"


def _with_bounds(row: Details, model: str) -> str:
    value, low, high = row["values"][model]
    bare = row["metric"] in view.BARE
    bounds = "" if low is None else f" ({number(low, bare)}–{number(high, bare)})"
    return number(value, bare) + bounds


def _table(header: list[str], rows: list[list[Any]]) -> list[str]:
    cells = [[escape_markdown(str(cell)) for cell in row] for row in [header, *rows]]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return [lines[0], "|" + " --- |" * len(header), *lines[1:]]
