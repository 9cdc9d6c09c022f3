"""What the report is built from: the test documents, the labels and every model's scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from longtail.errors import DataError
from longtail.evaluation.metrics import apply_thresholds
from longtail.evaluation.sparse_scores import ScoreMatrix
from longtail.frequency import frequency_groups


@dataclass(frozen=True)
class Scored:
    """One model on the test documents.

    Args:
        name: How the report's dict refers to it.
        title: What readers see.
        scores: σ(z), float (n_docs, n_labels); may be a memory map, or sparse.
        thresholds: (n_labels,) float; a label is predicted where `scores >= thresholds`.
        blend_weight: The baseline's share of the scores, in [0, 1).
    """

    name: str
    title: str
    scores: ScoreMatrix
    thresholds: npt.NDArray[np.float64]
    blend_weight: float = 0.0

    @cached_property
    def predicted(self) -> sp.csr_matrix:
        """Predictions, CSR 0/1 (n_docs, n_labels); a DataError for NaN scores names the model."""
        try:
            return apply_thresholds(self.scores, self.thresholds)
        except DataError as error:
            raise DataError(f"Test scores of {self.name!r}: {error}") from None


@dataclass(frozen=True)
class Lacking:
    """The model under report without one ingredient, everything else tuned anew on val.

    Args:
        title: What readers see: what is left.
        blocks: Makes its scores, σ(z), in blocks of whole rows, float (n_rows, n_labels): nothing
            but its predictions is needed, so the whole matrix is never held.
        thresholds: (n_labels,) float; a label is predicted where `scores >= thresholds`.
        blend_weight: The baseline's share of the scores, in [0, 1).
    """

    title: str
    blocks: Callable[[], Iterable[ScoreMatrix]]
    thresholds: npt.NDArray[np.float64]
    blend_weight: float

    @cached_property
    def predicted(self) -> sp.csr_matrix:
        """Predictions, CSR 0/1 (n_docs, n_labels)."""
        parts = [apply_thresholds(block, self.thresholds) for block in self.blocks()]
        return sp.vstack(parts, format="csr")


@dataclass(frozen=True)
class Evidence:
    """The evaluation in arrays and frames.

    Args:
        labels: (n_labels,) names in column order.
        class_freq: Positives per label in train, (n_labels,) int.
        val_freq: The same in val.
        test_freq: The same in test.
        head: Cut-off of `longtail.frequency.frequency_groups`.
        tail: Cut-off of `longtail.frequency.frequency_groups`.
        targets: CSR 0/1 (n_docs, n_labels) of the test documents.
        test: One row per row of `targets`, with `id`, `text`, `labels` and any metadata.
        train: The training documents, with the same columns.
        models: The model under report first, then those it is compared with.
        without: Ingredient of `longtail.report.ingredients.INGREDIENTS` -> the model that lacks it;
            None where that was not trained.
        doc_groups: (n_docs,) keys of test documents that belong together; None means that every
            document is a group of its own.
    """

    labels: list[str]
    class_freq: npt.NDArray[np.int64]
    val_freq: npt.NDArray[np.int64]
    test_freq: npt.NDArray[np.int64]
    head: int
    tail: int
    targets: sp.csr_matrix
    test: pd.DataFrame
    train: pd.DataFrame
    models: list[Scored]
    without: Mapping[str, Lacking | None] = field(default_factory=dict)
    doc_groups: list[str] | None = None

    @property
    def model(self) -> Scored:
        """The model under report."""
        return self.models[0]

    @cached_property
    def groups(self) -> npt.NDArray[np.str_]:
        """HEAD, MEDIUM or TAIL for each label, (n_labels,)."""
        return frequency_groups(self.class_freq, head=self.head, tail=self.tail)

    @cached_property
    def false_negatives(self) -> sp.csr_matrix:
        """Labels that `model` missed, CSR 0/1 (n_docs, n_labels)."""
        return _only(self.targets, self.model.predicted)

    @cached_property
    def false_positives(self) -> sp.csr_matrix:
        """Labels that `model` predicted wrongly, CSR 0/1 (n_docs, n_labels)."""
        return _only(self.model.predicted, self.targets)


def _only(these: sp.csr_matrix, those: sp.csr_matrix) -> sp.csr_matrix:
    """Entries of `these` that `those` lacks."""
    left = (these - these.multiply(those)).tocsr()
    left.eliminate_zeros()
    return left
