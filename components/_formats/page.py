"""Renders the report's pages and Markdown, and tells the reader which commands and files there are.

`report` does so once, `promote` again with the decision and the drift that was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components._formats.json_file import read_json
from components._frame.files import written
from longtail.report.page import render
from longtail.report.page.annotation import AnnotationHints, annotation_page

SHAPE = {"format": int, "models": list, "metrics": dict, "labels": dict, "lineage": dict}
HINTS = render.Hints(
    undecided="Run `longtail run`, or `longtail promote decide`.",
    sources="The numbers on this page: `reports/report.json`; "
    "every label: `reports/figures/labels.csv`.",
    labels="`reports/figures/labels.csv` has all of them.",
    suspects="`reports/validate/suspects.csv` has all of them, ready for an annotation tool.",
)


ANNOTATION_HINTS = AnnotationHints(
    curve="Set `baseline.learning_curve` to true, then `dvc repro`.",
    dates="With `annotated_at` in the corpus, it would be the order of annotation, and the last "
    "column but one what the last month gained.",
    judgments="Have some documents labeled by two people, and ingest their judgments: "
    "`longtail ingest label_studio` and `longtail ingest doccano` keep all of them in "
    "`data/annotations.parquet`, which other tools can write, too.",
    proposals="`longtail labels propose` lists more; `history` in `data/labels.yaml` carries a "
    "merge or split out. With `validate.suspects.top` at 0, nothing is looked for.",
    reviews="`longtail review` takes the most suspicious ones to an annotation tool, "
    "and `longtail ingest … --update` brings the answers back.",
    sources="The numbers on this page: `annotation` and `findings` in `reports/report.json`.",
)


def read_figures(folder: Path) -> dict[str, str]:
    """The SVGs in `folder`, as `draw` made them: drawing takes seconds, and nothing has changed."""
    return {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.svg")}


def write_page(
    details: Path,
    page: Path,
    markdown: Path | None = None,
    *,
    figures: Mapping[str, str],
    decision: Mapping[str, Any] | None = None,
    drift: Mapping[str, Any] | None = None,
) -> None:
    """Render the report's JSON file as a page and, where a path is given, as Markdown.

    Args:
        details: What `report` wrote, `reports/report.json`.
        page: The HTML page to write.
        markdown: The Markdown summary to write; None for none.
        figures: The SVGs that `draw` made of these details.
        decision: The content of `reports/decision.json`, None before there is one.
        drift: The content of `reports/drift.json`, None where drift was not measured.
    """
    record = read_json(details, keys=SHAPE)
    texts = {page: render.page(record, decision, drift, hints=HINTS, figures=figures)}
    if markdown is not None:
        texts[markdown] = render.markdown(record, decision, hints=HINTS)
    for path, text in texts.items():
        with written(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def write_annotation_page(details: Path, page: Path, *, figures: Mapping[str, str]) -> None:
    """Render the report's JSON file as the page for those who lead the annotation.

    Args:
        details: What `report` wrote, `reports/report.json`.
        page: The HTML page to write.
        figures: The SVGs that `draw` made of these details.
    """
    record = read_json(details, keys=SHAPE | {"annotation": dict})
    text = annotation_page(record, hints=ANNOTATION_HINTS, figures=figures)
    with written(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
