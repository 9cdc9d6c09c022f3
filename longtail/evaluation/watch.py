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

That interval is about the mean since the beginning. A fall that comes late is hidden in it by all
the good documents before, so the alarm is raised by an e-value instead. The boundary above is the
bound of a martingale, 2 (1 + nρ²)^(−1/2) · exp(x²/2) · Φ(x) with x = −ρ Σ X(limit) / (s √(1 + nρ²))
over n units, and one such martingale begins every `START` units. Their sum, weighted 1/2 for the
first and 1/(2 j (j + 1)) for number j, is a martingale too, whatever the score was before it fell.
If the true F1 is never below the limit, it ever reaches 1 / α with probability α at most (Ville
1939).

Deviation: all of it is asymptotic, so nothing is judged before `MIN_UNITS` units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, logsumexp

from longtail.errors import ParameterError
from longtail.evaluation.metrics import Counts, ratio

MIN_UNITS = 50
TIGHTEST = 500  # units at which the interval is tightest, fixed before any is seen
MOST_LOG, FAR = 700.0, 1e6  # of an e-value, and of a sum in deviations: more would overflow
START = 100  # units between the beginnings of two martingales


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
    number = _in_order(units)
    tp, n_pred, n_pos = (np.bincount(number, weights=part) for part in counts)
    n_units = len(tp)
    above, below = 2 * tp, n_pred + n_pos
    low, high = 0.0, 1.0
    if n_units >= MIN_UNITS:
        low, high = _ends(above, below, half_width(n_units, alpha))
    estimate = float(ratio(above.sum(), below.sum()))
    return AnytimeF1(estimate, low, high, len(number), n_units)


@dataclass(frozen=True)
class Fall:
    """Whether the score is, or has fallen, below a limit.

    Attributes:
        certain: an alarm; false with probability alpha at most, over all looks together.
        e_value: evidence for it, at least 0; an alarm from 1 / alpha.
        n_docs: documents since the beginning that the evidence points to.
        micro_f1: of these documents.
    """

    certain: bool
    e_value: float
    n_docs: int
    micro_f1: float


def fall(counts: Counts, units: npt.NDArray[np.integer], *, limit: float, alpha: float) -> Fall:
    """Look for a score below `limit` from any time on.

    Args:
        counts: of each document, `(n_docs,)`, in the order of arrival.
        units: `(n_docs,)` which documents come together.
        limit: of micro-F1, in [0, 1].
        alpha: the chance that `certain` is ever true although F1 was never below the limit.
    """
    number = _in_order(units)
    sums = Counts(*(np.bincount(number, weights=part) for part in counts))
    x = limit * (sums.n_pred + sums.n_pos) - 2 * sums.tp
    logs = log_e_values(x, np.array([len(x)]), alpha)[0]
    start = int(np.argmax(logs)) * START
    last = number >= start
    tp, n_pred, n_pos = (part[last].sum() for part in counts)
    e_value = float(np.exp(min(logsumexp(logs), MOST_LOG))) if len(x) >= MIN_UNITS else 1.0
    f1 = float(ratio(2 * tp, n_pred + n_pos))
    return Fall(e_value >= 1 / alpha, e_value, int(last.sum()), f1)


def log_e_values(
    x: npt.NDArray[np.float64], looks: npt.NDArray[np.integer], alpha: float
) -> npt.NDArray[np.float64]:
    """The logarithm of each weighted martingale after the first `looks` of the values.

    Args:
        x: `(n_units,)` values whose mean is 0 or less without a fall.
        looks: `(n_looks,)` numbers of units, ascending.
        alpha: see `fall`.

    Returns:
        `(n_looks, n_starts)`; the martingales that have not begun are their weight.
    """
    rho2 = _rho2(alpha)
    total, squares = (np.concatenate([[0.0], np.cumsum(part)]) for part in (x, x * x))
    variance = squares[looks] / looks - (total[looks] / looks) ** 2
    starts = np.arange(0, max(1, looks[-1]), START)
    n = np.maximum(0, looks[:, None] - starts)
    grown = 1 + n * rho2
    moved = total[looks][:, None] - total[starts]
    scaled = moved / np.sqrt(np.maximum(variance, np.finfo(float).tiny))[:, None]
    z = np.where(n > 0, np.clip(scaled, -FAR, FAR), 0.0) * np.sqrt(rho2 / grown)
    logs = np.log(2) - 0.5 * np.log(grown) + z * z / 2 + log_ndtr(z)
    j = np.arange(len(starts))
    weights = np.where(j == 0, 0.5, 0.5 / np.maximum(1, j * (j + 1)))
    return np.where(n > 0, logs, 0.0) + np.log(weights)


def _in_order(units: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The units numbered by their first document."""
    _, first, number = np.unique(units, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def _rho2(alpha: float) -> float:
    """ρ² that makes the boundary smallest at TIGHTEST units, by the paper's approximation."""
    log = -2 * np.log(2 * alpha)
    return float((log + np.log(log + 1)) / TIGHTEST)


def half_width(t: int, alpha: float) -> float:
    """The boundary `w` of the module's docstring, after `t` units."""
    rho2 = _rho2(alpha)
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
