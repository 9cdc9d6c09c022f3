"""The worst errors of each label group: those the model was most confident about."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from longtail.evaluation.sparse_scores import Floats, ScoreMatrix, SparseScores
from longtail.frequency import FREQUENCY_GROUPS
from longtail.report.evidence import Evidence

KINDS = ("missed", "wrongly predicted")
TINY = 1e-7


def worst_errors(evidence: Evidence, *, limit: int) -> list[dict[str, Any]]:
    """At most `limit` errors, taken in rotation from each label group and kind of error.

    An error's `margin` is |logit(score) − logit(threshold)|: how far the score lies on the wrong
    side of the threshold. Each label appears once per kind, or one broken label would fill the
    list.

    Returns:
        Per error `group`, `kind`, `document` (row), `label` (column), `score`, `threshold` and
        `margin`.
    """
    queues = [
        _ranked(evidence, errors, kind, group)
        for group in FREQUENCY_GROUPS
        for kind, errors in zip(
            KINDS, (evidence.false_negatives, evidence.false_positives), strict=True
        )
    ]
    chosen: list[dict[str, Any]] = []
    while any(queues) and len(chosen) < limit:
        chosen += [queue.pop(0) for queue in queues if queue]
    order = {group: i for i, group in enumerate(FREQUENCY_GROUPS)}
    return sorted(
        chosen[:limit], key=lambda row: (order[row["group"]], row["kind"], -row["margin"])
    )


def _ranked(
    evidence: Evidence, errors: sp.csr_matrix, kind: str, group: str
) -> list[dict[str, Any]]:
    pairs = errors.tocoo()
    own = evidence.groups[pairs.col] == group
    rows, columns = pairs.row[own], pairs.col[own]
    scores = gather(evidence.model.scores, rows, columns)
    thresholds = evidence.model.thresholds[columns]
    margins = np.abs(_logit(scores) - _logit(thresholds))
    order = np.lexsort((columns, rows, -margins))
    _, first = np.unique(columns[order], return_index=True)
    return [
        {
            "group": group,
            "kind": kind,
            "document": int(rows[k]),
            "label": int(columns[k]),
            "score": float(scores[k]),
            "threshold": float(thresholds[k]),
            "margin": float(margins[k]),
        }
        for k in order[np.sort(first)]
    ]


def gather(scores: ScoreMatrix, rows: np.ndarray, columns: np.ndarray) -> Floats:
    """`scores[rows, columns]` as float64 (n,)."""
    if isinstance(scores, SparseScores):
        return scores.at(rows, columns).astype(np.float64)
    return np.asarray(scores[rows, columns], dtype=np.float64)


def _logit(p: Floats) -> Floats:
    clipped = np.clip(np.asarray(p, dtype=np.float64), TINY, 1 - TINY)
    return np.log(clipped) - np.log1p(-clipped)
