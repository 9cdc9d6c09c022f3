"""Micro-F1 of documents that arrive one after another, with an interval that is valid at any time.

Whoever looks at an ordinary 95% interval every night sees the true value outside of it sooner or
later. A confidence sequence is valid at all times at once, so an alarm that it raises after a
thousand looks is as good as one after the first.

F1 = 2 Σ tp / Σ (n_pred + n_pos) is a ratio of sums, and f is the true F1 exactly if the mean of
X(f) = 2 tp − f · (n_pred + n_pos) is 0. X(f) has no known bound, so the sequence is the asymptotic
one of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas ("Time-uniform central limit theory and
asymptotic confidence sequences", Annals of Statistics 2024, arXiv 2103.06476), which needs no more
than a finite variance; a betting sequence would need a bound on the number of labels of a document.
With t units, mean m, standard deviation s and a constant ρ, all t satisfy with probability 1 − α

    m ≥ −s · w,    w² = 2 (tρ² + 1) / (t²ρ²) · log(1 + √(tρ² + 1) / (2α))

(their one-sided boundary), and the same from above. All f that satisfy both are an interval; its
ends are the roots of a quadratic equation, as in Fieller's theorem (1954).

Deviation: it is asymptotic, so nothing is judged before `MIN_UNITS` units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longtail.errors import ParameterError
from longtail.evaluation.metrics import Counts, ratio

MIN_UNITS = 50
TIGHTEST = 500  # units at which the interval is tightest, fixed before any is seen


@dataclass(frozen=True)
class AnytimeF1:
    """Micro-F1 with its interval.

    Attributes:
        micro_f1: in [0, 1]; 0 without any prediction and label.
        low: in [0, 1]; the true value is never below it with probability 1 − alpha.
        high: in [0, 1]; the true value is never above it with probability 1 − alpha.
        n_docs: documents.
        n_units: units; documents that come together are one.
    """

    micro_f1: float
    low: float
    high: float
    n_docs: int
    n_units: int


def anytime_f1(counts: Counts, units: npt.NDArray[np.integer], *, alpha: float) -> AnytimeF1:
    """Micro-F1 of the documents so far, with bounds that hold at every look.

    Args:
        counts: of each document, `(n_docs,)`.
        units: `(n_docs,)` which documents come together.
        alpha: the chance that the true value is ever above `high`, and the same for `low`; in
            (0, 0.5).

    Raises:
        ParameterError: alpha is out of range.
    """
    if not 0 < alpha < 0.5:
        raise ParameterError(f"alpha must be between 0 and 0.5, got {alpha}.")
    number = np.unique(units, return_inverse=True)[1]
    tp, n_pred, n_pos = (np.bincount(number, weights=part) for part in counts)
    n_units = len(tp)
    above, below = 2 * tp, n_pred + n_pos
    low, high = 0.0, 1.0
    if n_units >= MIN_UNITS:
        low, high = _ends(above, below, _half_width(n_units, alpha))
    estimate = float(ratio(above.sum(), below.sum()))
    return AnytimeF1(estimate, low, high, len(number), n_units)


def _half_width(t: int, alpha: float) -> float:
    """The boundary `w` of the module's docstring, after `t` units."""
    # By the paper's approximation, this ρ² makes the boundary smallest at TIGHTEST units.
    log = -2 * np.log(2 * alpha)
    rho2 = (log + np.log(log + 1)) / TIGHTEST
    grown = t * rho2 + 1
    return float(np.sqrt(2 * grown / (t * t * rho2) * np.log1p(np.sqrt(grown) / (2 * alpha))))


def _ends(above: npt.NDArray, below: npt.NDArray, width: float) -> tuple[float, float]:
    """All f in [0, 1] with (a − f·b)² ≤ width² · var(above − f · below); a, b are means."""
    a, b = above.mean(), below.mean()
    (aa, ab), (_, bb) = width**2 * np.cov(above, below, bias=True)
    square, middle, constant = b * b - bb, a * b - ab, a * a - aa
    if square <= 0:  # hardly any label or prediction so far: everything is possible
        return 0.0, 1.0
    reach = np.sqrt(max(0.0, middle**2 - square * constant))
    return float(max(0.0, (middle - reach) / square)), float(min(1.0, (middle + reach) / square))
