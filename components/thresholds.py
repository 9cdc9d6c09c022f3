"""Tune the decision thresholds of every model on its val scores."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from components._formats.assignment import read_assignment
from components._formats.json_file import write_json
from components._formats.scores import Scores, read_scores
from components._frame.component import Input, Output, main
from components._frame.files import written
from components._frame.params import Section
from longtail.errors import DataError
from longtail.evaluation import metrics
from longtail.models.blending import best_weight, blend
from longtail.thresholds import curve, tune


class Params(Section):
    objective: Literal["global", "per_label", "fixed"] = Field(
        description="global: exact micro-F1 optimum; per_label: tail-safe; fixed: `value`"
    )
    value: float = Field(ge=0, le=1, description="the threshold of `fixed`, 0 to 1")
    min_support: int = Field(
        ge=1, description="val documents a label needs for a threshold of its own"
    )
    blend: bool = Field(description="blend the SVM into the model, with a weight tuned on val")


def run(
    *,
    assignment: Input,
    val_scores: Input,
    baseline_val_scores: Input,
    comparison: Input,
    thresholds: Output,
    curves: Output,
    params: Params,
) -> str:
    model = read_scores(val_scores)
    _check_only_val(model, assignment, val_scores)
    baseline = _scores_of(model, baseline_val_scores)
    weight = best_weight(model.scores, baseline, model.targets) if params.blend else 0.0
    candidates = {
        "model": blend(model.scores, baseline, weight),
        "baseline": baseline,
        **{folder.name: _scores_of(model, folder / "val") for folder in _folders(comparison)},
    }
    tuned = {name: _tune(scores, model, params) for name, scores in candidates.items()}
    result = {
        "objective": params.objective,
        "blend_weight": weight,
        "labels": model.labels,
        "models": tuned,
    }
    write_json(result, thresholds)
    _write_curves(curves, {name: curve(s, model.targets) for name, s in candidates.items()})
    val = tuned["model"]["val"]
    return (
        f"{params.objective}, {len(tuned)} models; SVM weight {weight:g}, val "
        f"micro/macro F1 {100 * val['micro_f1']:.1f}/{100 * val['macro_f1']:.1f}"
    )


def _folders(comparison: Path) -> list[Path]:
    return sorted(path for path in comparison.iterdir() if path.is_dir())


def _check_only_val(model: Scores, assignment: Path, where: Path) -> None:
    """Make sure that no threshold is tuned on a test document, which would flatter all metrics."""
    parts = read_assignment(assignment)
    wrong = sorted(set(model.ids) ^ set(parts.index[parts == "val"]))
    if wrong:
        raise DataError(
            f"{where} and the val part of {assignment} differ, for example in {wrong[0]!r}; "
            "run `dvc repro`, which scores exactly the val documents."
        )


def _scores_of(model: Scores, where: Path) -> np.ndarray:
    """The scores in the folder `where`, of the same documents and labels as the model's."""
    other = read_scores(where)
    if (model.ids, model.labels) != (other.ids, other.labels):
        raise DataError(f"{where}: documents or labels differ from the model's; run `dvc repro`.")
    return other.scores


def _tune(scores: np.ndarray, model: Scores, params: Params) -> dict[str, Any]:
    values = tune(
        scores,
        model.targets,
        objective=params.objective,
        value=params.value,
        min_support=params.min_support,
    )
    predicted = metrics.apply_thresholds(scores, values)
    names = ("micro_f1", "macro_f1")
    val = {name: metrics.compute(name, predicted, model.targets) for name in names}
    return {"thresholds": values.tolist(), "val": val}


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
