"""Finds labels that one annotator, or one period, uses far more or far less than the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.special import bdtr, bdtrc
from scipy.stats import false_discovery_control


@dataclass(frozen=True)
class Shift:
    """One label in one group of rows; `ratio` is its rate there over its rate elsewhere."""

    group: str
    label: int
    count: int
    expected: float
    ratio: float
    p_value: float


def periods(times: np.ndarray, n_periods: int) -> tuple[np.ndarray, list[str]]:
    """Cut documents by date into periods of about equal size, never through one moment.

    Args:
        times: `(n_docs,)` datetime64; NaT is allowed.
        n_periods: number of periods, at most.

    Returns:
        Each document's period, `(n_docs,)` int with −1 for NaT, and the periods' names
        "first day … last day".

    >>> periods(np.array(["2024-01-01", "2024-01-02", "NaT"], dtype="datetime64[s]"), 2)
    (array([ 0,  1, -1]), ['2024-01-01 … 2024-01-01', '2024-01-02 … 2024-01-02'])
    """
    known = ~np.isnat(times)
    moments, rank, counts = np.unique(times[known], return_inverse=True, return_counts=True)
    before = np.cumsum(counts) - counts
    raw = np.zeros(0, int) if not len(moments) else before * n_periods // counts.sum()
    used, period = np.unique(raw, return_inverse=True)
    number = np.full(len(times), -1)
    number[known] = period[rank]
    days = moments.astype("datetime64[D]")
    ends = [days[period == p][[0, -1]] for p in range(len(used))]
    return number, [f"{first} … {last}" for first, last in ends]


def shifts(
    targets: sp.csr_matrix,
    group: np.ndarray,
    names: Sequence[str],
    significance: float,
    least_ratio: float,
) -> list[Shift]:
    """Find cells (group, label) whose count does not match the label's overall rate.

    Without a shift, each of a label's n_i positives falls into group g with probability N_g/N, so
    the count is binomial (an upper bound of the hypergeometric spread, hence conservative). The
    p-values are two-sided and corrected after Benjamini and Hochberg (1995) over all cells.

    Args:
        targets: 0/1 `(n_rows, n_labels)`.
        group: `(n_rows,)` int, −1 for unknown, which is left out.
        names: of the groups.
        significance: corrected p-value at most, in (0, 1).
        least_ratio: the rate must be at least this many times the rate elsewhere, or the inverse,
            so that a large corpus does not report every small difference.

    Returns:
        The shifted cells, worst first.
    """
    known = group >= 0
    targets, group = targets[known], group[known]
    size = np.bincount(group, minlength=len(names))
    if np.count_nonzero(size) < 2:
        return []
    member = sp.csr_matrix((np.ones(len(group)), group, np.arange(len(group) + 1)))
    count = np.asarray((member.T @ targets).todense())
    total = count.sum(axis=0)
    chance = (size / size.sum())[:, None]
    p_value = _two_sided(count, total, chance)
    adjusted = false_discovery_control(p_value.ravel()).reshape(p_value.shape)
    expected = total * chance
    ratio = _rate_ratio(count, total, size)
    strong = (ratio >= least_ratio) | (ratio <= 1 / least_ratio)
    cells = np.argwhere((adjusted <= significance) & strong)
    found = [
        Shift(names[g], int(i), int(count[g, i]), expected[g, i], ratio[g, i], adjusted[g, i])
        for g, i in cells
    ]
    return sorted(found, key=lambda cell: (cell.p_value, cell.group, cell.label))


def _two_sided(count: np.ndarray, total: np.ndarray, chance: np.ndarray) -> np.ndarray:
    n = np.broadcast_to(total, count.shape)
    p = np.broadcast_to(chance, count.shape)
    at_most = bdtr(count, n.astype(np.int64), p)
    at_least = np.where(count > 0, bdtrc(np.maximum(count - 1, 0), n.astype(np.int64), p), 1.0)
    return np.clip(2 * np.minimum(at_most, at_least), 0, 1)


def _rate_ratio(count: np.ndarray, total: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Rate in the group over rate elsewhere, with half a document added to both counts."""
    here = (count + 0.5) / (size[:, None] + 1)
    elsewhere = (total - count + 0.5) / (size.sum() - size[:, None] + 1)
    return here / elsewhere
