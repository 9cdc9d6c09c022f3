"""Report where the model is good and where it fails: metrics, figures, one self-contained page."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from components._formats.json_file import read_json, write_json
from components._formats.model import load_model
from components._formats.page import write_annotation_page, write_page
from components._frame.component import Input, Output, main
from components._frame.files import written
from components._report.inputs import (
    file_hashes,
    read_evidence,
    read_held_out,
    read_points,
    read_rows,
    read_suspects,
)
from components._report.models import read_models
from components._report.params import Params
from longtail.errors import DataError
from longtail.report.annotation import HeldOut, annotation
from longtail.report.build import Facts, Options, build
from longtail.report.evidence import Evidence
from longtail.report.page.figures import draw
from longtail.report.plots import csv_tables


def run(
    *,
    corpus: Input,
    assignment: Input,
    frequencies: Input,
    cooccurrence: Input,
    findings: Input,
    suspects: Input,
    split_report: Input,
    baseline_val_scores: Input,
    baseline_test_scores: Input,
    curve: Input,
    model: Input,
    test_scores: Input,
    comparison: Input,
    history: Input,
    summary: Input,
    thresholds: Input,
    metrics: Output,
    details: Output,
    page: Output,
    annotation_page: Output,
    markdown: Output,
    figures: Output,
    params: Params,
) -> str:
    tuned, counted, trained = read_json(thresholds), read_json(frequencies), read_json(summary)
    facts = Facts(
        frequencies=counted,
        thresholds=tuned,
        cooccurrence=sp.load_npz(cooccurrence),
        split=read_json(split_report),
        findings=read_json(findings),
        summary=trained,
        history=read_rows(history),
        suspects=read_suspects(suspects, params.max_suspects),
        lineage=file_hashes({"corpus": corpus, "assignment": assignment, "thresholds": thresholds}),
    )
    options = Options(**params.model_dump(exclude={"max_suspects"}))
    loss = str(trained.get("loss", "model"))
    with read_models(test_scores, baseline_test_scores, comparison, tuned, loss) as compared:
        evidence = read_evidence(corpus, assignment, counted, compared)
        network = load_model(model)
        try:
            record = build(evidence, facts, network, network.config.max_length, options)
        except DataError as error:
            raise DataError(f"{error} Train again: `dvc repro --force train`.") from None
    record["annotation"] = _annotation(
        read_held_out(corpus, assignment, baseline_val_scores, tuned), curve, evidence, options
    )
    drawn = draw(record)
    write_json(record["metrics"], metrics, indent=1)
    write_json(record, details)
    _write_figures(drawn, record, figures)
    write_page(details, page, markdown, figures=drawn)
    write_annotation_page(details, annotation_page, figures=drawn)
    found = _told(record["metrics"])
    return f"{len(evidence.test):,} test documents, {found}; see {page} and {annotation_page}"


def _told(metrics: Mapping[str, Any]) -> str:
    own, other = metrics["model"], metrics["baseline"]
    return (
        f"micro/macro F1 {100 * own['micro_f1']:.1f}/{100 * own['macro_f1']:.1f}, "
        f"baseline {100 * other['micro_f1']:.1f}/{100 * other['macro_f1']:.1f}"
    )


def _annotation(
    held_out: HeldOut, curve: Path, evidence: Evidence, options: Options
) -> dict[str, Any]:
    points = read_points(curve, held_out, evidence.labels)
    n_now = len(evidence.train)
    return annotation(
        held_out, points, evidence.labels, evidence.groups, n_now=n_now, options=options
    )


def _write_figures(drawn: Mapping[str, str], record: Mapping[str, Any], folder: Path) -> None:
    with written(folder) as temporary:
        temporary.mkdir()
        for name, svg in drawn.items():
            (temporary / f"{name}.svg").write_text(svg, encoding="utf-8")
        for name, rows in csv_tables(record).items():
            with (temporary / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main(run)
