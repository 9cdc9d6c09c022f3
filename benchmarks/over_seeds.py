"""A difference measured with several seeds: its mean and 95% t interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t


def interval(points: ArrayLike, digits: int = 2) -> str:
    """Of differences `(n_seeds,)` in points; the mean alone of one seed.

    >>> interval([0.0, 2.0, 4.0], 1), interval([1.5])
    ('+2.0 ± 5.0', '+1.50')
    """
    found = np.asarray(points, dtype=float)
    mean = f"{found.mean():+.{digits}f}"
    if len(found) < 2:
        return mean
    half = t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return f"{mean} ± {half:.{digits}f}"
