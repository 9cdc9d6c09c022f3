"""A model's answers in the current labels, though it learned older ones.

A renamed label keeps its scores and its threshold. Where several old labels became one, the model
predicts it if it predicts one of them. So that one score and one threshold say the same, each old
label's scores are stretched, from 0 to its threshold and from there to 1, until all have one
threshold; the highest counts. Labels that were split or retired have no current name: they are
left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.validation.label_history import Fate, Fates


@dataclass(frozen=True)
class Translation:
    """How a model's labels are called now.

    Attributes:
        labels: the current ones, `(n_labels,)`, in the order of the model's own.
        thresholds: of these, `(n_labels,)`.
        own: the model's labels, `(n_own_labels,)`.
        own_thresholds: of these, `(n_own_labels,)`.
        now: the model's label to the current one; those left out are missing.
    """

    labels: list[str]
    thresholds: list[float]
    own: Sequence[str]
    own_thresholds: Sequence[float]
    now: Mapping[str, str]

    @property
    def left_out(self) -> list[str]:
        """The model's labels that were split or retired, sorted."""
        return sorted(set(self.own) - set(self.now))

    @property
    def changed(self) -> dict[str, list[str]]:
        """Current label to the model's labels that it stands for, where these are not the same."""
        found: dict[str, list[str]] = {}
        for label, name in self.now.items():
            found.setdefault(name, []).append(label)
        return {name: sorted(own) for name, own in sorted(found.items()) if own != [name]}

    def predictions(self, predicted: sp.csr_matrix) -> sp.csr_matrix:
        """0/1 CSR `(n_docs, n_own_labels)` as 0/1 CSR `(n_docs, n_labels)`: the union."""
        column = {label: i for i, label in enumerate(self.labels)}
        rows = [i for i, label in enumerate(self.own) if label in self.now]
        columns = [column[self.now[self.own[i]]] for i in rows]
        shape = (len(self.own), len(self.labels))
        place = sp.csr_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape)
        found = (predicted @ place).tocsr()
        found.data = np.minimum(found.data, 1)
        return found

    def scores(self, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Scores `(n_docs, n_own_labels)` as `(n_docs, n_labels)`, for the own `thresholds`."""
        found = np.zeros((len(scores), len(self.labels)))
        column = {label: i for i, label in enumerate(self.labels)}
        for i, label in enumerate(self.own):
            if label in self.now:
                at = column[self.now[label]]
                own = stretched(scores[:, i], self.own_thresholds[i], self.thresholds[at])
                found[:, at] = np.maximum(found[:, at], own)
        return found

    def answer(
        self, labels: Sequence[str], scores: Sequence[float]
    ) -> tuple[list[str], list[float]]:
        """The labels that the model predicts for one text, the best first, and their scores."""
        limit = dict(zip(self.labels, self.thresholds, strict=True))
        own_limit = dict(zip(self.own, self.own_thresholds, strict=True))
        best: dict[str, float] = {}
        for label, score in zip(labels, scores, strict=True):
            if label in self.now:
                name = self.now[label]
                found = stretched(np.array([score]), own_limit[label], limit[name])[0]
                best[name] = max(best.get(name, 0.0), float(found))
        ordered = sorted(best, key=best.__getitem__, reverse=True)
        return ordered, [best[name] for name in ordered]


def translation(
    own: Sequence[str],
    thresholds: Sequence[float] | None,
    fates: Fates,
    kept: Collection[str] = frozenset(),
) -> Translation:
    """How a model's labels are called now.

    Args:
        own: the model's labels, `(n_own_labels,)`.
        thresholds: of these; None if only predictions are to be translated.
        fates: what became of old labels.
        kept: renamed and merged labels that are still in use, and so keep their name.

    >>> became = {"bill": Fate(("billing",)), "misc": Fate(())}
    >>> found = translation(["bill", "billing", "misc"], [0.5, 0.2, 0.3], became)
    >>> found.labels, found.thresholds, found.left_out
    (['billing'], [0.2], ['misc'])
    >>> found.answer(["bill"], [0.5])
    (['billing'], [0.2])
    """
    now: dict[str, str] = {}
    for label in own:
        fate = fates.get(label, Fate((label,)))
        if fate.labels and not fate.review:
            now[label] = label if label in kept else fate.labels[0]
    given = [0.5] * len(own) if thresholds is None else map(float, thresholds)
    limits = dict(zip(own, given, strict=True))
    shared: dict[str, float] = {}
    for label, name in now.items():
        shared[name] = min(shared.get(name, np.inf), limits[label])
    for name in shared.keys() & now.keys():
        # A label that others were merged into keeps its scores, unless it is never predicted.
        if now[name] == name and limits[name] <= 1:
            shared[name] = limits[name]
    return Translation(list(shared), list(shared.values()), own, list(limits.values()), now)


def stretched(
    scores: npt.NDArray[np.floating], threshold: float, wanted: float
) -> npt.NDArray[np.float64]:
    """Scores in [0, 1] on another scale: `threshold` becomes `wanted`, 0 and 1 stay.

    >>> stretched(np.array([0.0, 0.25, 0.5, 0.75, 1.0]), 0.5, 0.25).tolist()
    [0.0, 0.125, 0.25, 0.625, 1.0]
    """
    found = scores.astype(np.float64)
    if threshold == wanted:
        return found
    below = np.minimum(found * (wanted / (threshold or 1.0)), np.nextafter(wanted, 0.0))
    above = wanted + (found - threshold) * ((1 - wanted) / max(1 - threshold, np.spacing(1.0)))
    return np.where(found >= threshold, np.minimum(above, 1.0), below)
