"""Slices of an evaluation: how well does the model serve which labels and which documents?

A kind of slices that partitions the labels (or the documents) adds up: its counts of labels,
documents and positives sum to the totals. ZERO is an overlay on the label slices: it is shown, but
never counted in a total and never a gate.

To add a kind of slices, write a function of `Evaluation` and list it in SLICES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import DataError
from longtail.evaluation.intervals import intervals
from longtail.evaluation.metrics import counts, pair
from longtail.evaluation.ranking import top_hits
from longtail.evaluation.score_blocks import Binary
from longtail.evaluation.sparse_scores import ScoreMatrix
from longtail.evaluation.value_masks import Mask, value_masks
from longtail.frequency import FREQUENCY_GROUPS, frequency_groups

MIN_POSITIVES = 30
ROW_METRICS = (
    "micro_precision",
    "micro_recall",
    "micro_f1",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "hamming_loss",
    "labels_with_f1",
)
RANKS = (1, 5)
MANY_LABELS = 4


@dataclass(frozen=True)
class Evaluation:
    """What is cut into slices.

    Attributes:
        predicted: 0/1 CSR `(n_docs, n_labels)` of one part, usually test.
        targets: the true labels, of the same shape.
        class_freq: `(n_labels,)` positives of each label in train.
        head: cutoff of HEAD, see `frequency_groups`.
        tail: cutoff of TAIL.
        metadata: column name to its values, `(n_docs,)`.
        groups: `(n_docs,)` keys; documents with the same key are drawn together. None means that
            every document is a group of its own.
    """

    predicted: sp.csr_matrix
    targets: sp.csr_matrix
    class_freq: npt.NDArray
    head: int = 35
    tail: int = 8
    metadata: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    groups: Sequence[str] | None = None


@dataclass(frozen=True)
class Slice:
    """One slice, identified by its kind and its name.

    Attributes:
        kind: the kind of slices, such as "frequency".
        name: unique within the kind.
        of: "labels" or "documents".
        mask: `(n_labels,)` bool, or `(n_docs,)` bool for a slice of documents.
        overlay: whether the slice overlaps others, and so does not count in totals.
    """

    kind: str
    name: str
    of: str
    mask: Mask
    overlay: bool = False


def _frequency(evaluation: Evaluation) -> list[Slice]:
    groups = frequency_groups(evaluation.class_freq, head=evaluation.head, tail=evaluation.tail)
    return [Slice("frequency", name, "labels", groups == name) for name in FREQUENCY_GROUPS]


def _zero(evaluation: Evaluation) -> list[Slice]:
    """Labels without a single true positive."""
    mask = counts(evaluation.predicted, evaluation.targets, axis=0).tp == 0
    return [Slice("zero", "ZERO", "labels", mask, overlay=True)]


def _labels_per_document(evaluation: Evaluation) -> list[Slice]:
    n_labels = np.diff(evaluation.targets.indptr)
    names = np.where(n_labels >= MANY_LABELS, f"{MANY_LABELS}+", n_labels.astype(str))
    return [
        Slice("labels_per_document", str(name), "documents", names == name)
        for name in np.unique(names)
    ]


def _metadata(evaluation: Evaluation) -> list[Slice]:
    return [
        Slice(f"metadata:{column}", name, "documents", mask)
        for column, values in evaluation.metadata.items()
        for name, mask in value_masks(values).items()
    ]


SLICES: dict[str, Callable[[Evaluation], list[Slice]]] = {
    "frequency": _frequency,
    "zero": _zero,
    "labels_per_document": _labels_per_document,
    "metadata": _metadata,
}


def slice_table(
    predicted: Binary,
    targets: Binary,
    class_freq: npt.ArrayLike,
    *,
    scores: ScoreMatrix | None = None,
    head: int = 35,
    tail: int = 8,
    metadata: Mapping[str, npt.ArrayLike] | None = None,
    groups: Sequence[str] | None = None,
    n_draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> list[dict[str, Any]]:
    """One row per slice, ready for JSON; the total (kind and name `all`) comes first.

    A slice of labels is scored on all documents. A slice of documents takes its macro means and
    `n_labels` over the labels that occur in it: a label that cannot be right there says nothing
    about it.

    Args:
        predicted: 0/1 `(n_docs, n_labels)`.
        targets: 0/1 `(n_docs, n_labels)`.
        class_freq: `(n_labels,)` positives of each label in train.
        scores: float `(n_docs, n_labels)`, for precision at k.
        head: cutoff of HEAD, see `frequency_groups`.
        tail: cutoff of TAIL.
        metadata: column name to its values, `(n_docs,)`; see `value_masks`.
        groups: `(n_docs,)` keys of documents that belong together, see `evaluation.intervals`.
        n_draws: bootstrap draws, see `evaluation.intervals`.
        seed: of the draws.
        level: coverage of the intervals, in (0, 1).

    Returns:
        Rows with `kind`, `name`, `of` (labels or documents), `overlay`, `n_labels`, `n_docs`,
        `support` (positives), the `ROW_METRICS`, `precision_at_1` and `precision_at_5` (None for
        slices of labels and without `scores`), `intervals` (metric to [low, high]) and `greyed`
        (fewer than `MIN_POSITIVES` positives: shown, but never decides).

    Raises:
        DataError: shapes differ, values other than 0/1, or no documents.
        ParameterError: cutoffs, draws or level out of range.
    """
    found, truth = pair(predicted, targets)
    freq = np.asarray(class_freq)
    if freq.shape != (truth.shape[1],):
        raise DataError(f"class_freq has shape {freq.shape}, expected ({truth.shape[1]},).")
    evaluation = Evaluation(found, truth, freq, head, tail, metadata or {}, groups)
    parts = _parts(evaluation)
    values = _values(evaluation, parts, {"n_draws": n_draws, "seed": seed, "level": level})
    hits = {}
    if scores is not None:
        top = top_hits(scores, truth, max(RANKS))
        hits = {k: top[:, :k].sum(axis=1, dtype=np.int64) for k in RANKS}
    return [_row(part, truth, values[part.kind, part.name], hits) for part in parts]


def _parts(evaluation: Evaluation) -> list[Slice]:
    n_docs, n_labels = evaluation.targets.shape
    parts = [Slice("all", "all", "labels", np.ones(n_labels, dtype=bool))]
    parts += [part for find in SLICES.values() for part in find(evaluation)]
    for part in parts:
        expected = n_labels if part.of == "labels" else n_docs
        if part.mask.shape != (expected,):
            raise DataError(
                f"{part.kind} has {len(part.mask)} values, expected {expected} "
                f"(one for each of the {part.of})."
            )
    return parts


def _values(
    evaluation: Evaluation, parts: list[Slice], options: dict[str, Any]
) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """Metrics of every slice by its kind and name, those of all label slices from one bootstrap."""
    masks = {(part.kind, part.name): part.mask for part in parts if part.of == "labels"}
    of_labels = intervals(
        evaluation.predicted, evaluation.targets, ROW_METRICS,
        label_masks=masks, groups=evaluation.groups, **options,
    )  # fmt: skip
    of_documents = {
        (part.kind, part.name): _document_values(evaluation, part.mask, options)
        for part in parts
        if part.of == "documents"
    }
    return of_labels | of_documents


def _document_values(
    evaluation: Evaluation, mask: Mask, options: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Metrics of one slice of documents, macro means over the labels that occur in it."""
    found, truth = evaluation.predicted[mask], evaluation.targets[mask]
    everything = np.ones(truth.shape[1], dtype=bool)
    occurring = np.bincount(truth.indices, minlength=truth.shape[1]) > 0
    masks = {"every": everything, "occurring": occurring}
    keys = evaluation.groups
    groups = None if keys is None else [keys[row] for row in np.flatnonzero(mask).tolist()]
    values = intervals(found, truth, ROW_METRICS, label_masks=masks, groups=groups, **options)
    return {
        name: values["occurring" if name.startswith("macro") else "every"][name]
        for name in ROW_METRICS
    }


def _precision(part: Slice, hits: dict[int, npt.NDArray], k: int) -> float | None:
    if k not in hits or (part.of == "labels" and part.kind != "all"):
        return None
    found = hits[k] if part.of == "labels" else hits[k][part.mask]
    return float(found.mean()) / k


def _row(
    part: Slice,
    targets: sp.csr_matrix,
    values: dict[str, dict[str, float]],
    hits: dict[int, npt.NDArray],
) -> dict[str, Any]:
    held = targets[:, part.mask] if part.of == "labels" else targets[part.mask]
    n_labels = part.mask.sum() if part.of == "labels" else len(np.unique(held.indices))
    return {
        "kind": part.kind,
        "name": part.name,
        "of": part.of,
        "overlay": part.overlay,
        "n_labels": int(n_labels),
        "n_docs": held.shape[0],
        "support": int(held.nnz),
        **{name: value["estimate"] for name, value in values.items()},
        **{f"precision_at_{k}": _precision(part, hits, k) for k in RANKS},
        "intervals": {name: [value["low"], value["high"]] for name, value in values.items()},
        "greyed": held.nnz < MIN_POSITIVES,
    }
