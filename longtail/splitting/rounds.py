"""Cross-fitting: who learns from which labeled documents, and who is scored by the result.

Chernozhukov et al. 2018, "Double/debiased machine learning": each fold is scored by a model that
has learned from the others, so choices are made on all labeled documents instead of one val part;
what is served then learns from all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Rows = np.ndarray
NONE = -1  # in no fold


@dataclass(frozen=True)
class Plan:
    """The rounds of training on the documents of train and val.

    Attributes:
        rounds: pairs of rows: those that a model learns from, and those that it then scores.
        refit: whether a last model learns from all rows; otherwise the only round's is the model.
    """

    rounds: tuple[tuple[Rows, Rows], ...]
    refit: bool

    @property
    def scored(self) -> Rows:
        """The rows that are scored, ascending."""
        return np.sort(np.concatenate([scored for _, scored in self.rounds]))

    @property
    def order(self) -> Rows:
        """Where each of `scored` is, once what the rounds score is joined."""
        return np.argsort(np.concatenate([scored for _, scored in self.rounds]), kind="stable")


def make_plan(folds: np.ndarray, in_val: np.ndarray) -> Plan:
    """One round per fold and a refit on everything; without folds, train scores val.

    Args:
        folds: `(n_docs,)` int of train and val documents, −1 where there are no folds.
        in_val: `(n_docs,)` bool.

    >>> plan = make_plan(np.array([0, 1, 0]), np.array([False, False, True]))
    >>> [(learned.tolist(), scored.tolist()) for learned, scored in plan.rounds], plan.refit
    ([([1], [0, 2]), ([0, 2], [1])], True)
    >>> make_plan(np.array([-1, -1]), np.array([True, False])).rounds
    ((array([1]), array([0])),)
    """
    if (folds >= 0).all() and len(folds):
        names = np.unique(folds)
        rounds = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in names]
        return Plan(tuple(rounds), refit=True)
    return Plan(((np.flatnonzero(~in_val), np.flatnonzero(in_val)),), refit=False)
