"""What the gate looks at: the test set as challenger, champion and baseline predict it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.evaluation.sign_flips import Null, null_differences
from longtail.gate.budget import Asked
from longtail.gate.lines import ALL
from longtail.validation.label_history import Fates
from longtail.validation.label_translation import translation

METRICS = ("micro_f1", "macro_f1", "mean_f1")


@dataclass(frozen=True)
class Champion:
    """What the current champion predicts for the test documents.

    Attributes:
        predicted: 0/1 CSR `(n_docs, n_own_labels)`.
        labels: the champion's own labels, the columns of `predicted`.
        seen: `(n_docs,)` bool; documents that it was trained on and that therefore do not count.
        mapped: label to the champion's own ones that it stands for, by the history of labels.
        left_out: labels that were split or retired, and so are not compared.
    """

    predicted: sp.csr_matrix
    labels: Sequence[str]
    seen: npt.NDArray[np.bool_]
    mapped: Mapping[str, Sequence[str]] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    def renamed(self, fates: Fates, in_use: Collection[str]) -> Champion:
        """The same predictions under the labels of today: of merged labels their union.

        Args:
            fates: what labels have become that are gone.
            in_use: the challenger's labels; a renamed or merged one among them keeps its name.
        """
        found = translation(self.labels, None, fates, kept=in_use)
        predicted = found.predictions(self.predicted)
        return Champion(predicted, found.labels, self.seen, found.changed, found.left_out)


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion on the documents that the champion has not seen, and shared labels.

    Attributes:
        n_docs: documents that count; those of one group count once.
        support: positives, of all shared labels (`all`) and per label group.
        differences: challenger − champion by slice (as in `support`) and metric of `METRICS`.
    """

    n_docs: int
    support: Mapping[str, int]
    differences: Mapping[str, Mapping[str, Null]]


@dataclass(frozen=True)
class Contest:
    """What the rules look at; all matrices are 0/1 CSR `(n_docs, n_labels)`.

    Attributes:
        labels: the challenger's labels, the columns of the matrices.
        groups: frequency group of each label (HEAD, MEDIUM, TAIL).
        doc_groups: `(n_docs,)` keys; documents that are copies or versions of each other share one.
        targets: the true labels of the test documents.
        challenger: the challenger's predictions.
        baseline: the linear baseline's predictions.
        champion: None for the first version, and if the label set was changed on purpose.
        asked: what these test documents were asked before.
    """

    labels: Sequence[str]
    groups: Sequence[str]
    doc_groups: Sequence[str]
    targets: sp.csr_matrix
    challenger: sp.csr_matrix
    baseline: sp.csr_matrix
    champion: Champion | None = None
    asked: Asked = Asked()

    @cached_property
    def label_changes(self) -> tuple[list[str], list[str]]:
        """The labels that the challenger added and those that it lost, each sorted."""
        if self.champion is None:
            return [], []
        ours, theirs = set(self.labels), set(self.champion.labels)
        return sorted(ours - theirs - set(self.champion.left_out)), sorted(theirs - ours)

    @cached_property
    def comparison(self) -> Comparison | None:
        """None without a champion, a document that it has not seen, or a shared label."""
        if self.champion is None:
            return None
        rows = np.flatnonzero(~self.champion.seen)
        theirs = {label: i for i, label in enumerate(self.champion.labels)}
        ours = [i for i, label in enumerate(self.labels) if label in theirs]
        if not len(rows) or not ours:
            return None
        targets = self.targets[rows][:, ours]
        names = np.asarray(self.groups)[ours]
        masks = {ALL: np.ones(len(ours), dtype=bool)}
        masks |= {str(name): names == name for name in dict.fromkeys(names)}
        keys = [self.doc_groups[row] for row in rows.tolist()]
        per_label = np.asarray(targets.sum(axis=0)).ravel()
        return Comparison(
            n_docs=len(set(keys)),
            support={name: int(per_label[mask].sum()) for name, mask in masks.items()},
            differences=null_differences(
                self.challenger[rows][:, ours],
                self.champion.predicted[rows][:, [theirs[self.labels[i]] for i in ours]],
                targets,
                METRICS,
                label_masks=masks,
                groups=keys,
            ),
        )
