"""The documents that models learn from, train and val, and who of them is scored by which model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from components._formats.annotations import doubt_of, read_label_weights
from components._formats.assignment import Part
from longtail.splitting.rounds import NONE, Plan, Rows, make_plan


class Learned(NamedTuple):
    """Train, then val, as one part; the rows of `plan` are its rows."""

    docs: Part
    plan: Plan

    @property
    def n_folds(self) -> int:
        """Folds that are cross-fitted; 0 if train is learned from and val is scored."""
        return len(self.plan.rounds) if self.plan.refit else 0

    @property
    def basis(self) -> dict[str, Any]:
        """What a choice made on these documents rests on, besides their number and labels."""
        rows = np.concatenate([learned for learned, _ in self.plan.rounds])
        doubted = self.docs.doubt is not None and self.docs.doubt[rows].nnz > 0
        # Not False where nothing is doubted, which would end choices made before there was doubt.
        return {"folds": self.n_folds} | ({"label_weights": True} if doubted else {})

    @property
    def scored_name(self) -> str:
        """What the scored documents are called."""
        return "out-of-fold" if self.plan.refit else "val"

    @property
    def scored(self) -> Part:
        """The documents that choices are made on, in the order of their scores."""
        return rows_of(self.docs, self.plan.scored)


def weighted(parts: dict[str, Part], labels: list[str], label_weights: Path) -> dict[str, Part]:
    """The parts, with the doubt that `validate` has about what annotators agree on.

    Raises:
        DataError: `label_weights` is not a file that `validate` wrote.
    """
    cells = read_label_weights(label_weights)
    if cells.empty:
        return parts
    return {
        name: replace(part, doubt=doubt_of(cells, part.ids, labels)) for name, part in parts.items()
    }


def learned(parts: dict[str, Part], *, folds: bool = True) -> Learned:
    """Train and val of `read_parts`, with the rounds that the folds of `split` give.

    Args:
        parts: by name.
        folds: whether the folds are used, if there are any.
    """
    train, val = parts["train"], parts["val"]
    docs = Part(
        train.ids + val.ids,
        train.texts + val.texts,
        sp.vstack([train.targets, val.targets], "csr"),
        np.concatenate([train.folds, val.folds]),
        None if train.doubt is None else sp.vstack([train.doubt, val.doubt], "csr"),
    )
    used = docs.folds if folds else np.full(len(docs.ids), NONE)
    return Learned(docs, make_plan(used, np.arange(len(docs.ids)) >= len(train.ids)))


def rows_of(part: Part, rows: Rows) -> Part:
    """Some documents of a part."""
    return Part(
        [part.ids[row] for row in rows],
        [part.texts[row] for row in rows],
        part.targets[rows],
        part.folds[rows],
        None if part.doubt is None else part.doubt[rows],
    )
