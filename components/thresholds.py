"""Tune what is served on held-out documents: the blend and the thresholds of every model."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from components._formats.assignment import read_assignment
from components._formats.comparison import COMPARED, losses, without_label_names
from components._formats.json_file import read_json, write_json
from components._formats.scores import Scores, read_scores, said_dropped, scores_of
from components._frame.component import Input, Output, main
from components._frame.files import written
from components._thresholds_params import Params
from longtail.errors import DataError
from longtail.evaluation.sparse_scores import ScoreMatrix
from longtail.models.blending import blend
from longtail.models.served import Rule, Tuned, tune_served
from longtail.thresholds import curve

UNTUNED = 0.5
Models = dict[str, tuple[ScoreMatrix, Rule]]  # val scores, and how they become labels


def run(
    *,
    assignment: Input,
    val_scores: Input,
    baseline_val_scores: Input,
    comparison: Input,
    summary: Input,
    thresholds: Output,
    curves: Output,
    params: Params,
) -> str:
    model, trained = read_scores(val_scores), read_json(summary)
    _check_no_test(model, assignment, val_scores)
    baseline = scores_of(baseline_val_scores, model.ids, model.labels)
    rule = params.rule
    compared: Models = {
        "model": (model.scores, rule),
        "baseline": (baseline, replace(rule, blend=False)),
        **{
            loss.name: (scores_of(loss / "val", model.ids, model.labels), rule)
            for loss in losses(comparison)
        },
    }
    variants, without = _without(model, comparison, trained, rule)
    tuned = {
        name: tune_served(scores, baseline, model.targets, own, objective=trained["objective"])
        for name, (scores, own) in (compared | variants).items()
    }
    result = {
        "objective": params.objective,
        "labels": model.labels,
        "models": {name: _record(found) for name, found in tuned.items()},
        "without": without,
    }
    write_json(result, thresholds)
    own, points, dropped = tuned["model"], {}, ""
    for name, (scores, _) in compared.items():
        mixed = blend(scores, baseline, tuned[name].blend_weight)
        points[name] = curve(mixed, model.targets)
        if name == "model":
            dropped = said_dropped(mixed, own.thresholds)
    _write_curves(curves, points)
    return (
        f"{params.objective}, {len(tuned)} models; SVM weight {own.blend_weight:g}, held-out "
        f"micro/macro F1 {100 * own.val['micro_f1']:.1f}/{100 * own.val['macro_f1']:.1f}"
        f"{dropped}"
    )


def _without(
    model: Scores, comparison: Path, trained: dict[str, Any], rule: Rule
) -> tuple[Models, dict[str, str | None]]:
    """The models that lack one ingredient of the served one, as far as it has it.

    Returns:
        The models that are made for this comparison alone, and ingredient to the name of the model
        that lacks it; None where there is none: it was not tried this night, or would have to be
        fine-tuned.
    """
    variants: Models = {}
    without: dict[str, str | None] = {"encoder": "baseline"}
    if trained["loss"] != COMPARED:
        without["loss"] = COMPARED if (comparison / COMPARED).is_dir() else None
    if trained["label_names"]:
        folder = without_label_names(comparison)
        without["label_names"] = None
        if folder is not None:
            without["label_names"] = folder.name
            variants[folder.name] = (scores_of(folder / "val", model.ids, model.labels), rule)
    if rule.blend:
        without["blend"] = "without_blend"
        variants["without_blend"] = (model.scores, replace(rule, blend=False))
    if rule.objective != "fixed":
        without["thresholds"] = "without_thresholds"
        untuned = replace(rule, objective="fixed", value=UNTUNED)
        variants["without_thresholds"] = (model.scores, untuned)
    return variants, without


def _record(tuned: Tuned) -> dict[str, Any]:
    return {
        "blend_weight": tuned.blend_weight,
        "thresholds": tuned.thresholds.tolist(),
        "val": tuned.val,
    }


def _check_no_test(model: Scores, assignment: Path, where: Path) -> None:
    """Make sure that no threshold is tuned on a test document, which would flatter all metrics."""
    parts = read_assignment(assignment)
    val = set(parts.index[parts == "val"])
    wrong = set(model.ids) ^ val
    if wrong:  # cross-fitted, train has its out-of-fold scores, too
        wrong = set(model.ids) ^ (val | set(parts.index[parts == "train"]))
    if wrong:
        raise DataError(
            f"{where}: expected the documents of val in {assignment}, or those of train and val; "
            f"they differ, for example in {min(wrong)!r}. Run `dvc repro`, which scores exactly "
            "these documents."
        )


def _write_curves(path: Path, curves: dict[str, dict[str, np.ndarray]]) -> None:
    with written(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = list(next(iter(curves.values())))
        writer.writerow(["model", *columns])
        for name, points in curves.items():
            for row in zip(*points.values(), strict=True):
                writer.writerow([name, *(f"{value:.6g}" for value in row)])


if __name__ == "__main__":
    main(run)
