"""The report's numbers as tables for plots and spreadsheets; no cell is ever a formula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longtail.spreadsheet import harmless

SLICE_METRICS = ("micro_precision", "micro_recall", "micro_f1",
                 "macro_precision", "macro_recall", "macro_f1")  # fmt: skip
Table = list[list[Any]]


def csv_tables(details: Mapping[str, Any]) -> dict[str, Table]:
    """Name of each of `TABLES` -> its rows, the header first.

    Text cells that a spreadsheet would take for a formula are made harmless.
    """
    tables = {name: make(details) for name, make in TABLES.items()}
    return {
        name: [[harmless(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
        for name, rows in tables.items()
    }


def _labels(details: Mapping[str, Any]) -> Table:
    return [details["labels"]["columns"], *details["labels"]["rows"]]


def _slices(details: Mapping[str, Any]) -> Table:
    header = ["model", "kind", "slice", "n_labels", "n_docs", "support", *SLICE_METRICS]
    rows = [
        [
            model,
            row["kind"],
            row["name"],
            row["n_labels"],
            row["n_docs"],
            row["support"],
            *(round(row[metric], 6) for metric in SLICE_METRICS),
        ]
        for model, found in details["slices"].items()
        for row in found
    ]
    return [header, *rows]


def _precision_recall(details: Mapping[str, Any]) -> Table:
    rows = [
        [model, *point]
        for model, curve in details["curves"].items()
        for point in zip(curve["threshold"], curve["precision"], curve["recall"], strict=True)
    ]
    return [["model", "threshold", "precision", "recall"], *rows]


def _calibration(details: Mapping[str, Any]) -> Table:
    rows = [
        [
            group,
            b["low"],
            b["high"],
            b["n"],
            round(b["mean_score"], 6),
            round(b["share_positive"], 6),
        ]
        for group, found in details["calibration"].items()
        for b in found["bins"]
    ]
    return [["group", "low", "high", "n", "mean_score", "share_positive"], *rows]


TABLES = {
    "labels": _labels,
    "slices": _slices,
    "precision_recall": _precision_recall,
    "calibration": _calibration,
}
