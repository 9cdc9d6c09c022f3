"""The sections of the report that are counted: headline, slices, labels, curves, co-occurrence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from longtail.evaluation.metrics import per_label
from longtail.evaluation.slices import slice_table
from longtail.frequency import FREQUENCY_GROUPS
from longtail.report.evidence import Evidence, Scored
from longtail.report.score_histogram import (
    ScoreHistogram,
    calibration,
    precision_recall,
    score_histogram,
)

HEADLINE = {
    "micro_f1": "Micro-F1",
    "macro_f1": "Macro-F1",
    "micro_precision": "Micro-precision",
    "micro_recall": "Micro-recall",
    "precision_at_1": "P@1",
    "precision_at_5": "P@5",
    "hamming_loss": "Hamming loss",
    "labels_with_f1": "Labels with F1 > 0",
}
DOCUMENT_SLICES = {
    "labels_per_document": "Labels per document",
    "metadata:length": "Length",
    "metadata:source": "Source",
    "metadata:annotator": "Annotator",
    "metadata:annotated_at": "Annotation date",
}
LABEL_COLUMNS = (
    "label", "group", "train", "val", "test", "threshold",
    "precision", "recall", "f1", "tp", "fp", "fn", "baseline_f1",
)  # fmt: skip
CONTRACT = {"id", "text", "labels", "group", "split", "source", "annotator", "annotated_at"}
HEATMAP_LABELS = 120
STRONGEST_PAIRS = 15
MIN_PAIR = 5
Row = dict[str, Any]


def slices(
    evidence: Evidence, length: npt.ArrayLike, *, n_draws: int, seed: int, level: float
) -> dict[str, list[Row]]:
    """Model -> its slice table; metadata slices only for the model under report.

    Args:
        evidence: Test documents, labels and scores.
        length: Name of each document's length class, (n_docs,) str.
        n_draws: Bootstrap draws over documents.
        seed: Of the draws.
        level: Coverage of the intervals, in (0, 1).
    """
    metadata = {"length": length, **_metadata(evidence.test)}
    return {
        scored.name: slice_table(
            scored.predicted,
            evidence.targets,
            evidence.class_freq,
            scores=scored.scores,
            head=evidence.head,
            tail=evidence.tail,
            metadata=metadata if scored is evidence.model else {},
            groups=evidence.doc_groups,
            n_draws=n_draws,
            seed=seed,
            level=level,
        )
        for scored in evidence.models
    }


def _metadata(test: pd.DataFrame) -> dict[str, pd.Series]:
    """The corpus columns to slice by: those of the data contract, and any other of plain values."""
    extra = [
        name
        for name in test.columns
        if name not in CONTRACT
        and not test[name]
        .map(np.iterable)
        .where(~test[name].map(lambda value: isinstance(value, str)), False)
        .any()
    ]
    known = [name for name in ("source", "annotator", "annotated_at") if name in test]
    return {name: test[name].reset_index(drop=True) for name in [*known, *extra]}


def check_sums(rows: list[Row], n_labels: int, n_docs: int, support: int) -> None:
    """Raise AssertionError, naming the partition, if one does not add up to the totals."""
    for kind in {row["kind"] for row in rows if not row["overlay"]}:
        parts = [row for row in rows if row["kind"] == kind]
        counted = sum(row["support"] for row in parts)
        assert counted == support, f"slices by {kind}: supports add up to {counted}, not {support}"
        of, total = ("n_labels", n_labels) if parts[0]["of"] == "labels" else ("n_docs", n_docs)
        counted = sum(row[of] for row in parts)
        assert counted == total, f"slices by {kind}: {of} add up to {counted}, not {total}"


def label_table(evidence: Evidence) -> dict[str, Any]:
    """`columns` and one row per label, in column order; `tp`, `fp`, `fn` count test documents."""
    own = per_label(evidence.model.predicted, evidence.targets)
    baseline = next((m for m in evidence.models if m.name == "baseline"), None)
    f1 = None if baseline is None else per_label(baseline.predicted, evidence.targets)["f1"]
    rows = [
        [
            label,
            str(evidence.groups[i]),
            int(evidence.class_freq[i]),
            int(evidence.val_freq[i]),
            int(evidence.test_freq[i]),
            round(float(evidence.model.thresholds[i]), 4),
            *(round(float(own[name][i]), 4) for name in ("precision", "recall", "f1")),
            *(int(own[name][i]) for name in ("tp", "fp", "fn")),
            None if f1 is None else round(float(f1[i]), 4),
        ]
        for i, label in enumerate(evidence.labels)
    ]
    return {"columns": list(LABEL_COLUMNS), "rows": rows}


def predicted_labels(evidence: Evidence) -> dict[str, dict[str, int]]:
    """Model -> group or `all` -> labels predicted at least once; `labels` counts all of them."""
    groups = {"all": np.ones(len(evidence.labels), dtype=bool)}
    groups |= {name: evidence.groups == name for name in FREQUENCY_GROUPS}
    found = {"labels": {name: int(mask.sum()) for name, mask in groups.items()}}
    for scored in evidence.models:
        seen = np.asarray(scored.predicted.sum(axis=0)).ravel() > 0
        found[scored.name] = {name: int((seen & mask).sum()) for name, mask in groups.items()}
    return found


def curves_and_calibration(evidence: Evidence, *, n_bins: int) -> dict[str, Any]:
    """Precision-recall curves of all models, and the calibration of the one under report.

    Returns:
        `curves`: model -> precision-recall over all labels; `calibration`: group -> ECE and
        reliability.
    """
    curves, found = {}, {}
    for scored in evidence.models:
        counted = score_histogram(
            scored.scores, evidence.targets, evidence.groups, FREQUENCY_GROUPS
        )
        curves[scored.name] = precision_recall(counted.total.sum(0), counted.positives.sum(0))
        if scored is evidence.model:
            whole = ScoreHistogram(*(part.sum(0) for part in counted))
            found = {"all": calibration(*whole, n_bins=n_bins)}
            for i, name in enumerate(FREQUENCY_GROUPS):
                own = ScoreHistogram(*(part[i] for part in counted))
                found[name] = calibration(*own, n_bins=n_bins)
    return {"curves": curves, "calibration": found}


def cooccurrence(labels: list[str], class_freq: npt.ArrayLike, pairs: sp.spmatrix) -> Row:
    """p(i | j) in percent for the most frequent labels, and the strongest pairs of all labels.

    Args:
        labels: (n_labels,) names in column order.
        class_freq: Training documents per label, (n_labels,) int.
        pairs: Training documents that have both labels, (n_labels, n_labels).
    """
    freq = np.asarray(class_freq)
    order = np.lexsort((np.arange(len(freq)), -freq))[:HEATMAP_LABELS]
    square = sp.csr_matrix(pairs)[order][:, order].toarray().astype(float)
    np.fill_diagonal(square, freq[order])
    percent = np.rint(100 * square / np.maximum(freq[order], 1)[None, :]).astype(int)
    both = sp.coo_matrix(pairs)
    kept = (both.row != both.col) & (both.data >= MIN_PAIR)
    i, j, n = both.row[kept], both.col[kept], both.data[kept]
    share = n / np.maximum(freq[j], 1)
    top = np.lexsort((j, i, -n, -share))[:STRONGEST_PAIRS]
    return {
        "labels": [labels[k] for k in order],
        "percent": percent.tolist(),
        "pairs": [
            {"i": labels[i[k]], "j": labels[j[k]], "n": int(n[k]), "p": float(share[k])}
            for k in top
        ],
    }


def threshold_summary(
    thresholds: Mapping[str, Any], scored: list[Scored], groups: npt.NDArray
) -> Row:
    """The objective, and the lowest, median and highest threshold per model and group."""
    spread = {
        model.name: {
            name: [
                round(float(q), 4)
                for q in np.quantile(model.thresholds[groups == name], [0, 0.5, 1])
            ]
            for name in FREQUENCY_GROUPS
            if (groups == name).any()
        }
        for model in scored
    }
    val = {name: entry.get("val", {}) for name, entry in thresholds["models"].items()}
    return {
        "objective": thresholds["objective"],
        "blend_weight": {model.name: model.blend_weight for model in scored},
        "spread": spread,
        "val": {name: val.get(name, {}) for name in spread},
    }


def headline(slices_of: Mapping[str, list[Row]]) -> list[Row]:
    """One row per metric of `HEADLINE`: model -> [value, low, high] (bounds None for P@k)."""
    totals = {name: rows[0] for name, rows in slices_of.items()}
    return [
        {
            "metric": metric,
            "title": title,
            "values": {
                name: [row[metric], *row["intervals"].get(metric, [None, None])]
                for name, row in totals.items()
            },
        }
        for metric, title in HEADLINE.items()
    ]


def flat_metrics(
    scored: list[Scored], slices_of: Mapping[str, list[Row]], predicted: Mapping[str, Any]
) -> Row:
    """The headline numbers to compare across runs: model -> F1, F1 per group, labels predicted."""
    found: Row = {}
    for model in scored:
        rows = slices_of[model.name]
        f1 = {
            row["name"]: {k: round(row[k], 6) for k in ("micro_f1", "macro_f1")}
            for row in rows
            if row["kind"] in ("all", "frequency")
        }
        found[model.name] = {
            **f1["all"],
            **{name: f1[name] for name in FREQUENCY_GROUPS},
            "hamming_loss": round(rows[0]["hamming_loss"], 6),
            "labels_predicted": predicted[model.name]["all"],
            "blend_weight": model.blend_weight,
        }
    return found
