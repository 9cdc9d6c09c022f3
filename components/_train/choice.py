"""Which loss is taken: the best on held-out documents as it would be served, or the last one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import scipy.sparse as sp

from components._train.params import Params
from longtail.evaluation.keeping import EVERYTHING, Keep
from longtail.evaluation.sparse_scores import ScoreMatrix
from longtail.models.ranks import of_first
from longtail.models.served import Rule, Tuned, tune_served


@dataclass(frozen=True)
class Choice:
    """Judges models by their scores of held-out documents.

    Attributes:
        baseline: the baseline's scores `(n_docs, n_labels)`.
        targets: 0/1 CSR `(n_docs, n_labels)`.
        rule: how scores become labels.
        params: of `train`; names the loss or the objective that decides on it.
        keep: what is kept of the scores.
        ahead: what the last choice has ahead of the others, in the metric that decides.
    """

    baseline: ScoreMatrix
    targets: sp.csr_matrix
    rule: Rule
    params: Params
    keep: Keep = EVERYTHING
    ahead: Mapping[str | float, float] = field(default_factory=dict)

    def served(self, scores: ScoreMatrix) -> Tuned:
        """What would be served of a model with these scores."""
        # Of rank 0, so that all ranks choose the same.
        return of_first(
            lambda: tune_served(
                scores, self.baseline, self.targets, self.rule, objective=self.params.objective
            )
        )

    def value(self, served: Tuned) -> float:
        """The figure that decides."""
        return served.val[self.params.objective]

    def of(self, served: dict[str, Tuned]) -> str:
        """The loss that the parameters name, or the best; of equals the last choice, if any."""
        if self.params.loss != "auto":
            return self.params.loss
        return max(served, key=lambda name: self._rank(name, self.value(served[name])))

    def _rank(self, name: str, value: float) -> tuple[float, bool]:
        """The last choice wins over one that is as good with what it has ahead."""
        return value + self.ahead.get(name, 0.0), name in self.ahead
