"""The error budget of a test set that is asked every night.

At 4% per decision, equal challengers are promoted sooner or later: each night is another draw. So
the chance of *any* false promotion over the life of a test set is limited: after `t` decisions it
is at most `share · t / (t + half_life)`, a spending function as in group-sequential trials (Lan and
DeMets 1983) that never reaches `share` and so never runs out.

The chance is that of the joint distribution. A draw of the sign-flip test swaps the same documents
in every comparison, so a draw can be followed through all decisions: it is *alarmed* from the first
decision on in which it would have promoted. Tonight's bound lets just as many further draws be
alarmed as the spending function allows (Westfall and Young 1993). A challenger much like the last
one adds hardly any alarm and hardly lowers the bound for the next; the same rule with each decision
counted as independent (Bonferroni) would find far less. After a promotion the draws that it alarmed
are forgotten: a hypothesis that was rejected needs no protection (Romano and Wolf 2005).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from longtail.errors import DataError
from longtail.evaluation.score_blocks import Floats
from longtail.evaluation.sign_flips import Null

GAINS = (0.005, 0.01, 0.02)  # whose power is given


@dataclass(frozen=True)
class Budget:
    """The chance of any false promotion that a test set may spend.

    Attributes:
        share: over its whole life, in (0, 1).
        half_life: decisions after which half of it is spent, at least 1.
    """

    share: float
    half_life: int

    def spent(self, decisions: int) -> float:
        """The chance that may be spent after so many decisions.

        >>> Budget(0.1, 50).spent(50)
        0.05
        """
        return self.share * decisions / (decisions + self.half_life)


@dataclass(frozen=True)
class Asked:
    """What a test set was asked so far.

    Attributes:
        decisions: how many were made on it.
        alarmed: `(n_draws,)` bool, the draws in which one of them would have promoted an equal
            model; empty before the first.
    """

    decisions: int = 0
    alarmed: npt.NDArray[np.bool_] = field(
        default_factory=lambda: np.zeros(0, dtype=bool), repr=False
    )

    def answer(self, null: Null, min_gain: float, budget: Budget) -> Answer:
        """Whether the next challenger's gain is more than chance explains.

        Args:
            null: challenger and champion tonight, in the objective.
            min_gain: the least gain, as a fraction.
            budget: of the test set.

        Raises:
            DataError: the earlier decisions were made with another number of draws.
        """
        alarmed = self._alarmed(len(null.differences))
        spendable = budget.spent(self.decisions + 1)
        bound, beyond = _bound(null.differences, alarmed, spendable)
        exceeded = null.difference - bound > min_gain
        if not exceeded:
            alarmed = alarmed | beyond
        power = {gain: float(np.mean(null.differences + gain - bound > min_gain)) for gain in GAINS}
        return Answer(bound, exceeded, power, Asked(self.decisions + 1, alarmed))

    def _alarmed(self, n_draws: int) -> npt.NDArray[np.bool_]:
        if not len(self.alarmed):
            return np.zeros(n_draws, dtype=bool)
        if len(self.alarmed) != n_draws:
            raise DataError(
                f"The test set was asked with {len(self.alarmed)} draws so far, expected "
                f"{n_draws}; start a new error budget."
            )
        return self.alarmed


@dataclass(frozen=True)
class Answer:
    """What one decision found.

    Attributes:
        bound: the difference that equal models do not exceed, within the budget; infinite if
            nothing may be spent.
        exceeded: whether the challenger's difference does, by more than the least gain.
        power: gain to the chance, 0 to 1, that a model better by so much would have exceeded it.
        after: what the test set has been asked now.
    """

    bound: float
    exceeded: bool
    power: dict[float, float]
    after: Asked


def _bound(
    null: Floats, alarmed: npt.NDArray[np.bool_], spendable: float
) -> tuple[float, npt.NDArray[np.bool_]]:
    """The difference that an equal model exceeds with the chance left, and the draws that do.

    With the bound at the k-th largest of n quiet draws, the observed difference exceeds it with
    probability k / (n + 1). The k-th draw must count as spent too: in the place of the observed
    one, it would have exceeded the k-th largest of the others. Ties at the bound would not.
    """
    allowed = int(spendable * (len(null) + 1) + 1e-9)
    rank = allowed - int(alarmed.sum())
    if rank < 1:
        return float("inf"), np.zeros(len(null), dtype=bool)
    quiet = np.where(alarmed, -np.inf, null)
    bound = np.partition(quiet, len(quiet) - rank)[len(quiet) - rank]
    reached = quiet >= bound
    return float(bound), reached if reached.sum() <= rank else quiet > bound
