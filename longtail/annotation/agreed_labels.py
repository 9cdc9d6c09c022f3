"""Gives documents that several annotators judged the labels of their consensus; reports on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from longtail.annotation.consensus import Consensus, dawid_skene, decide, majority
from longtail.annotation.reliability import Reliability, reliability
from longtail.label_matrix import decode
from longtail.validation.agreement import Judgments
from longtail.validation.corpus_view import CorpusView
from longtail.validation.findings import EXAMPLES, ROWS, excerpt
from longtail.validation.label_cleaning import LabelLists
from longtail.validation.shifts import periods


def _by_majority(judgments: Judgments, found: Consensus) -> sp.csr_matrix:
    return decide(majority(judgments, found.probability.shape[0]))


def _by_dawid_skene(judgments: Judgments, found: Consensus) -> sp.csr_matrix:
    return decide(found.probability)


# Whom to believe: None leaves the corpus its own labels.
METHODS: dict[str, Callable[[Judgments, Consensus], sp.csr_matrix] | None] = {
    "labels": None,
    "majority": _by_majority,
    "dawid_skene": _by_dawid_skene,
}


# Of the least certain label: an SVM cannot learn from one that counts nothing.
LEAST_WEIGHT = 0.001


class LabelWeight(NamedTuple):
    """What the label of a document, given to it or not, counts in training, above 0 and below 1."""

    document: int
    label: str
    weight: float


@dataclass(frozen=True)
class Agreed:
    """What annotators agree on.

    Attributes:
        labels: lists `(n_docs,)`.
        record: what is worth telling; None without judgments to compare.
        weights: by document and label; all others count 1.
    """

    labels: LabelLists
    record: dict[str, Any] | None
    weights: Sequence[LabelWeight] = ()


def agreed_labels(view: CorpusView, method: str) -> Agreed:
    """Replace the labels of documents that two or more annotators judged by what they agree on.

    Labels that are not allowed are ignored in judgments. A document keeps its own labels, and their
    order, as far as the consensus has them; it keeps all of them if nobody gave it any label. Only
    the probabilities of `dawid_skene` say how sure its labels are, so only these have weights.

    Args:
        view: the corpus, with its judgments in `rows`.
        method: a name in METHODS; with `labels` nothing is replaced, but the record says what
            `dawid_skene` would replace.
    """
    if view.rows is None or view.judged is None or not len(view.judged[2].shared().document):
        return Agreed(view.labels, None)
    names, labels, given = view.judged
    allowed = [i for i, name in enumerate(labels) if view.allowed is None or name in view.allowed]
    labels = [labels[i] for i in allowed]
    judgments = Judgments(given.document, given.annotator, given.targets[:, allowed])
    found = dawid_skene(judgments, len(view.ids))
    decided = (METHODS[method] or _by_dawid_skene)(judgments, found)
    several = np.flatnonzero(judgments.several())
    documents = np.unique(judgments.document[several])
    agreed = dict(zip(documents.tolist(), decode(decided[documents], labels), strict=True))
    replaced = [_replaced(own, agreed.get(k)) for k, own in enumerate(view.labels)]
    dates = None if view.rows.dates is None else view.rows.dates[view.used_rows][several]
    record = {
        "method": method,
        "documents": len(documents),
        "changes": _changes(view, replaced),
        "without_labels": sum(not labels for labels in agreed.values()),
        "ignored": {
            "unknown_documents": len(set(view.rows.ids) - set(view.ids)),
            "labels_not_allowed": int(given.targets.nnz - judgments.targets.nnz),
        },
        "converged": found.converged,
        "annotators": _annotators(
            names, judgments.rows(several), dates, view.limits.periods, found
        ),
        "most_missed": _most_missed(names, labels, found),
    }
    if METHODS[method] is None:
        return Agreed(view.labels, record)
    weights = _weights(found, decided, documents, labels) if method == "dawid_skene" else []
    return Agreed(replaced, record, weights)


def _weights(
    found: Consensus, decided: sp.csr_matrix, documents: np.ndarray, labels: list[str]
) -> list[LabelWeight]:
    """2p − 1 of the labels taken, 1 − 2p of others that anyone gave, to three digits.

    Below 0 is a label that is taken although it is less likely than not: only since a document
    needs one.
    """
    cells = found.probability[documents].tocoo()
    if not cells.nnz:  # SciPy has no array of no entries
        return []
    taken = np.asarray(decided[documents][cells.row, cells.col]).ravel() > 0
    certainty = np.where(taken, 1, -1) * (2 * cells.data - 1)
    weights = np.maximum(certainty.round(3), LEAST_WEIGHT)
    return [
        LabelWeight(int(documents[row]), labels[i], float(weight))
        for row, i, weight in zip(cells.row, cells.col, weights, strict=True)
        if weight < 1
    ]


def _replaced(own: list[str], agreed: list[str] | None) -> list[str]:
    """`agreed`, the labels that the document already has first and in their order."""
    if not agreed:
        return own
    kept = [label for label in own if label in agreed]
    return kept + [label for label in agreed if label not in kept]


def _changes(view: CorpusView, replaced: LabelLists) -> dict[str, Any]:
    """How many documents the consensus changes, and up to 20 of them."""
    pairs = [(set(a), set(b)) for a, b in zip(view.labels, replaced, strict=True)]
    changed = [k for k, (own, agreed) in enumerate(pairs) if own != agreed]
    return {
        "documents": len(changed),
        "added": sum(len(agreed - own) for own, agreed in pairs),
        "removed": sum(len(own - agreed) for own, agreed in pairs),
        "by_split": _by_split(view, changed),
        "examples": [
            {
                "id": excerpt(view.ids[k]),
                "labels": [excerpt(label) for label in view.labels[k][:EXAMPLES]],
                "agreed": [excerpt(label) for label in replaced[k][:EXAMPLES]],
            }
            for k in changed[:EXAMPLES]
        ],
    }


def _by_split(view: CorpusView, changed: list[int]) -> dict[str, int] | None:
    """Changed documents by frozen split; those without one are `unassigned`."""
    if view.splits is None:
        return None
    names = [view.splits[k] or "unassigned" for k in changed]
    return {name: names.count(name) for name in sorted(set(names))}


def _annotators(
    names: list[str],
    judgments: Judgments,
    dates: np.ndarray | None,
    n_periods: int,
    found: Consensus,
) -> list[dict[str, Any]]:
    """Each annotator's reliability on shared documents, and by period; the least reliable first."""
    who = judgments.annotator
    overall = _rows(reliability(judgments, found.probability, who))
    history: dict[int, list[dict[str, Any]]] = {}
    if dates is not None:
        period, spans = periods(dates, n_periods)
        dated = judgments.rows(np.flatnonzero(period >= 0))
        group = dated.annotator * len(spans) + period[period >= 0]
        for cell, values in _rows(reliability(dated, found.probability, group)).items():
            a, p = divmod(cell, len(spans))
            history.setdefault(a, []).append({"period": spans[p], **values})
    ranked = sorted(overall.items(), key=lambda item: (item[1]["f1"] or 0, names[item[0]]))
    return [
        {"annotator": excerpt(names[a]), **values, "periods": history.get(a, [])}
        for a, values in ranked[:ROWS]
    ]


def _rows(measured: Reliability) -> dict[int, dict[str, Any]]:
    """Group to its figures; None where a figure is not defined."""
    figures = zip(*measured, strict=True)
    return {
        g: {"documents": int(n), "found": _number(f), "right": _number(r), "f1": _number(_f1(f, r))}
        for g, (n, f, r) in enumerate(figures)
        if n
    }


def _f1(found: float, right: float) -> float:
    return 2 * found * right / (found + right) if found + right else 0.0


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _most_missed(names: list[str], labels: list[str], found: Consensus) -> list[dict[str, Any]]:
    """Labels that an annotator is expected to have left out most often."""
    missed = found.positives * (1 - found.sensitivity)
    order = np.argsort(-missed, axis=None, kind="stable")[:EXAMPLES]
    return [
        {
            "annotator": excerpt(names[a]),
            "label": excerpt(labels[i]),
            "documents": float(found.positives[a, i]),
            "found": float(found.sensitivity[a, i]),
        }
        for a, i in zip(*np.unravel_index(order, missed.shape), strict=True)
        if missed[a, i] >= 1
    ]
