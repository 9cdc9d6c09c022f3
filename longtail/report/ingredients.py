"""What brought what: the model under report, and what is left without each of its ingredients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from longtail.evaluation.metrics import compute
from longtail.evaluation.sign_flips import paired_differences
from longtail.frequency import FREQUENCY_GROUPS
from longtail.report.evidence import Evidence, Lacking, Scored

INGREDIENTS = {
    "encoder": "the encoder",
    "loss": "the loss",
    "label_names": "label names",
    "blend": "the blend",
    "thresholds": "tuned thresholds",
}
METRICS = ("micro_f1", "macro_f1")
Row = dict[str, Any]


def ingredients(evidence: Evidence, *, level: float) -> list[Row]:
    """The model under report first, then a row for each ingredient that is taken out.

    Args:
        evidence: Test documents, labels and predictions.
        level: Coverage of the intervals, in (0, 1).

    Returns:
        Rows with `without` (the ingredient; None in the first row), `title` (what is left) and
        `blend_weight`, each None where it was not trained; `values`: `all` or label group
        -> metric -> value; and `differences`: the same -> metric -> [this model − the one under
        report, low, high], empty in the first row.
    """
    model, masks = evidence.model, {"all": np.ones(len(evidence.labels), dtype=bool)}
    groups = {name: evidence.groups == name for name in FREQUENCY_GROUPS}
    masks |= {name: mask for name, mask in groups.items() if mask.any()}
    own = {
        name: {
            metric: compute(metric, model.predicted[:, mask], evidence.targets[:, mask])
            for metric in METRICS
        }
        for name, mask in masks.items()
    }
    rows = [_row(None, model, own, {})]
    for ingredient in (name for name in INGREDIENTS if name in evidence.without):
        left = evidence.without[ingredient]
        if left is None:
            rows.append(_row(ingredient, None, {}, {}))
            continue
        found = paired_differences(
            left.predicted,
            model.predicted,
            evidence.targets,
            METRICS,
            label_masks=masks,
            groups=evidence.doc_groups,
            level=level,
        )
        values = _each(found, lambda cell: cell["a"])
        rows.append(_row(ingredient, left, values, _each(found, _difference)))
    return rows


def without_metrics(rows: list[Row]) -> dict[str, Row]:
    """The rows to compare across runs: ingredient -> F1 of what is left, overall and per group."""
    return {
        row["without"]: {
            **{metric: round(value, 6) for metric, value in row["values"]["all"].items()},
            **{
                name: {metric: round(value, 6) for metric, value in values.items()}
                for name, values in row["values"].items()
                if name != "all"
            },
        }
        for row in rows
        if row["without"] and row["values"]
    }


def _row(ingredient: str | None, left: Scored | Lacking | None, values: Row, found: Row) -> Row:
    return {
        "without": ingredient,
        "title": left.title if left else None,
        "blend_weight": left.blend_weight if left else None,
        "values": values,
        "differences": found,
    }


def _each(found: Row, of: Callable[[Row], Any]) -> Row:
    return {
        name: {metric: of(cell) for metric, cell in metrics.items()}
        for name, metrics in found.items()
    }


def _difference(cell: Row) -> list[float]:
    return [cell["difference"], cell["low"], cell["high"]]
