"""What the page of annotation shows beyond the findings: learning curve, and confused labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from longtail.evaluation.learning_curve import learning_curve
from longtail.frequency import FREQUENCY_GROUPS
from longtail.report.build import Options
from longtail.report.confusion import confusion_pairs, quoted

N_MORE = 500  # documents that come next


@dataclass(frozen=True)
class HeldOut:
    """Documents of train and val as the linear baseline predicts them, without having seen them.

    Args:
        frame: (n_docs,) rows with `id`, `text` and `labels`.
        targets: CSR 0/1 (n_docs, n_labels).
        predicted: CSR 0/1 (n_docs, n_labels).
        doc_groups: (n_docs,) keys of documents that belong together.
    """

    frame: pd.DataFrame
    targets: sp.csr_matrix
    predicted: sp.csr_matrix
    doc_groups: Sequence[str]


@dataclass(frozen=True)
class Curve:
    """What models that learned from fewer documents predict for some of the held-out ones.

    Args:
        n_learned: (n_points,) documents learned from, ascending.
        newest: (n_points,) the date of the newest of them, None without dates.
        rows: (n_docs,) of `HeldOut`.
        predicted: of each point, CSR 0/1 (n_docs, n_labels).
    """

    n_learned: Sequence[int]
    newest: Sequence[str | None]
    rows: npt.NDArray[np.int64]
    predicted: Sequence[sp.csr_matrix]


def annotation(
    held_out: HeldOut,
    curve: Curve,
    labels: Sequence[str],
    groups: npt.NDArray[np.str_],
    *,
    n_now: int,
    options: Options,
) -> dict[str, Any]:
    """The learning curve (None with fewer than two points), and confused pairs with documents.

    Args:
        held_out: what the confused pairs are counted on.
        curve: the points of the learning curve.
        labels: (n_labels,) names in column order.
        groups: (n_labels,) HEAD, MEDIUM or TAIL.
        n_now: documents that the served model learned from.
        options: sizes of the report.
    """
    found: dict[str, Any] = {"n_held_out": len(held_out.frame), "curve": None}
    if len(curve.n_learned) > 1:
        masks = {"all": np.ones(len(labels), dtype=bool)}
        masks |= {name: groups == name for name in FREQUENCY_GROUPS if (groups == name).any()}
        found["curve"] = {
            "n_learned": list(curve.n_learned),
            "newest": list(curve.newest),
            "n_docs": len(curve.rows),
            "n_now": n_now,
            "n_more": N_MORE,
            "level": options.level,
            "slices": learning_curve(
                curve.n_learned,
                curve.predicted,
                held_out.targets[curve.rows],
                n_now=n_now,
                n_more=N_MORE,
                label_masks=masks,
                groups=[held_out.doc_groups[row] for row in curve.rows],
                n_draws=options.n_draws,
                seed=options.seed,
                level=options.level,
            ),
        }
    return found | _confusion(held_out, labels, options)


def _confusion(held_out: HeldOut, labels: Sequence[str], options: Options) -> dict[str, Any]:
    both = held_out.targets.multiply(held_out.predicted)
    missed, wrong = (sp.csr_matrix(m - both) for m in (held_out.targets, held_out.predicted))
    for matrix in (missed, wrong):
        matrix.eliminate_zeros()
    pairs = confusion_pairs(missed, wrong, limit=options.confusion_pairs)
    rows = sorted({row for pair in pairs for row in pair["documents"]})
    for pair in pairs:
        pair["missed"], pair["predicted"] = labels[pair["missed"]], labels[pair["predicted"]]
    documents = {
        str(row): quoted(
            held_out.frame.iloc[row], held_out.predicted[[row]], labels, options.excerpt_chars
        )
        for row in rows
    }
    return {"confusion": pairs, "documents": documents}
