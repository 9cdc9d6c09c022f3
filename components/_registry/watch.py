"""The champion on documents that arrived after its registration, beside its score at promotion.

It has seen none of them, whatever part of the split they are in now, and it was not chosen by them.
The score at promotion is that of the test set which it was promoted on. If the honest score is, or
since some time has been, certainly below that score minus `max_loss`, an alarm offers the command
that restores the previous champion, or, where the parameters say so, restores it.

Labels that the champion does not know are left out of the score that is judged: versions before it
do not know them either, so rolling back would not help. The score with such labels counted as
missed is reported next to it.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from components._frame.params import Section
from components._registry import client as registry
from components._registry.arrivals import Answered, Arrivals
from components._registry.reference import Reference
from components._registry.rollback import earlier
from longtail.evaluation.estimated_f1 import estimated_f1
from longtail.evaluation.metrics import Counts, counts, ratio
from longtail.evaluation.watch import MIN_UNITS, anytime_f1, fall
from longtail.label_matrix import encode

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

TEST_METRIC = "model/micro_f1"  # as `register` logs reports/metrics.json


class WatchParams(Section):
    """When the champion's honest score is too low."""

    max_loss: float = Field(
        ge=0, le=1, description="loss of micro-F1 since promotion, as a fraction, that is tolerated"
    )
    alpha: float = Field(
        gt=0, lt=0.5, description="chance of a false alarm in a champion's whole life, 0 to 0.5"
    )
    rollback: bool = Field(
        description="true or false: restore the previous champion without asking"
    )


@dataclass(frozen=True)
class Side:
    """A champion's new documents: which, how it answers them, and what it kept."""

    arrivals: Arrivals
    answered: Answered
    reference: Reference | None


def promoted_score(
    client: MlflowClient, version: ModelVersion, reference: Reference | None
) -> float | None:
    """Micro-F1 on the test set of the version's own night; None if the version does not say."""
    if reference is not None:
        return reference.micro_f1
    found = client.get_run(str(version.run_id)).data.metrics.get(TEST_METRIC)
    return None if found is None else float(found)


def measure(side: Side, promoted: float | None, params: WatchParams) -> dict[str, Any]:
    """The honest score, its interval, and the estimates; the result can be written as JSON.

    Returns:
        `promoted` and `limit` (None if unknown), `measured` on labeled documents (None without
        any), `estimated` on the same documents and `unlabeled` on those without labels (None
        without a calibration), `estimated_at_promotion` to compare these with, and `below`, whether
        the measured score is, or since some time has been, certainly below the limit.
    """
    labeled = np.array([bool(found) for found in side.arrivals.new["labels"]])
    limit = None if promoted is None else promoted - params.max_loss
    measured = _measured(side, np.flatnonzero(labeled & side.arrivals.unseen), limit, params.alpha)
    return {
        "promoted": promoted,
        "limit": limit,
        "measured": measured,
        "estimated": _estimated(side, labeled & side.arrivals.unseen),
        "unlabeled": _estimated(side, ~labeled & side.arrivals.unseen),
        "estimated_at_promotion": side.reference and side.reference.estimated_micro_f1,
        "below": measured is not None
        and measured["fall"] is not None
        and measured["fall"]["certain"],
    }


def _measured(
    side: Side, rows: np.ndarray, limit: float | None, alpha: float
) -> dict[str, Any] | None:
    if not len(rows):
        return None
    known = set(side.answered.labels)
    given = [side.arrivals.new["labels"].iloc[row] for row in rows.tolist()]
    targets = encode([[n for n in names if n in known] for names in given], side.answered.labels)
    own = counts(side.answered.predicted[rows], targets, axis=1)
    units = side.arrivals.new_units[rows]
    found = anytime_f1(own, units, alpha=alpha)
    fallen = None if limit is None else asdict(fall(own, units, limit=limit, alpha=alpha))
    n_new = sum(len(set(names) - known) for names in given)
    with_new = ratio(2 * own.tp.sum(), own.n_pred.sum() + own.n_pos.sum() + n_new)
    return asdict(found) | {
        "level": 1 - 2 * alpha,
        "enough": found.n_units >= MIN_UNITS,
        "fall": fallen,
        "new_label_share": float(ratio(n_new, own.n_pos.sum() + n_new)),
        "micro_f1_with_new_labels": float(with_new),
    }


def _estimated(side: Side, rows: np.ndarray) -> dict[str, Any] | None:
    expected = side.answered.expected
    if expected is None or not rows.any():
        return None
    chosen = Counts(*(part[rows] for part in expected))
    return {"micro_f1": estimated_f1(chosen), "n_docs": int(rows.sum())}


def compared(watched: dict[str, Any]) -> str:
    """The measured score beside that at promotion, in one sentence."""
    found, promoted = watched["measured"], watched["promoted"]
    bounds = f" ({_points(found['low'])} to {_points(found['high'])})" if found["enough"] else ""
    before = "unknown" if promoted is None else _points(promoted)
    return (
        f"The champion's micro-F1 on {found['n_docs']:,} documents that arrived after its "
        f"registration is {_points(found['micro_f1'])}{bounds}; at promotion it was {before}."
    )


def alarm(watched: dict[str, Any]) -> str:
    """What `compared` says, and that it is too little."""
    found, limit = watched["measured"], _points(watched["limit"])
    fallen = found["fall"]
    if fallen["n_docs"] == found["n_docs"]:
        return f"{compared(watched)} It is certainly below the limit of {limit}."
    return (
        f"{compared(watched)} On the last {fallen['n_docs']:,} of them it is "
        f"{_points(fallen['micro_f1'])}, certainly below the limit of {limit}."
    )


def reason(watched: dict[str, Any]) -> str:
    """The reason for a rollback, as the history keeps it."""
    found, promoted = watched["measured"]["fall"], _points(watched["promoted"])
    score = f"micro-F1 {_points(found['micro_f1'])}"
    return f"{score} on {found['n_docs']:,} later documents, {promoted} at promotion"


def restorable(client: MlflowClient, champion: ModelVersion) -> ModelVersion | None:
    """The last champion before this one that was not itself rolled back; None without one."""
    number = earlier(client, champion.name, registry.number(champion))
    return None if number is None else registry.by_number(client, champion.name, number)


def command(version: ModelVersion, why: str) -> str:
    """The command that restores the version."""
    return f"longtail rollback --to {version.version} --reason {shlex.quote(why)}"


def _points(value: float) -> str:
    return f"{100 * value:.1f}"
