"""Which loss is taken: the best on held-out documents as it would be served, or the last one."""

from __future__ import annotations

from dataclasses import dataclass

import scipy.sparse as sp

from components._formats.choices import Lead
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
        lead: of the last choice, in the metric that decides.
    """

    baseline: ScoreMatrix
    targets: sp.csr_matrix
    rule: Rule
    params: Params
    keep: Keep = EVERYTHING
    lead: Lead = Lead()

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
        return max(served, key=lambda name: self.lead.rank(name, self.value(served[name])))
