"""The population stability index of two samples of documents, its interval and its p-value.

PSI is Σ (p − q) · ln(p / q) over bins, where p is the share of the new documents and q that of the
reference. By convention 0.1 is a small shift and 0.2 a large one.

The convention ignores chance. With more bins than counts, which is usual for rare labels, PSI is
large without any drift, and no formula in the numbers of bins and documents says how large: the
counts of a document come together, and a bin that is expected to hold half a document is not a
normal variable. So nothing is assumed here about the counts:

- The estimate is cross-fitted. The new documents are divided into folds; each fold's p − q is
  multiplied by the ln(p / q) of the other folds. Chance in one is independent of chance in the
  other, so it does not add up to drift as it does in a square.
- What remains (the reference is the same in both factors) is the mean of the null distribution,
  which is subtracted. Deviation from the convention: shares are shrunk toward those of both samples
  together, by a quarter of a count per bin, instead of adding a fixed number to every bin.
- The null distribution is that of a permutation test (Fisher 1935; Good 2005): whole units, which
  are documents or groups of documents that come together, are drawn at random to be the new ones.
  The p-value is exact if units are exchangeable without drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.special import ndtri

N_FOLDS = 10
PSEUDO_COUNTS = 0.25  # per bin, on average
BLOCK_CELLS = 4_000_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """How far a distribution has moved.

    Attributes:
        psi: estimate of the PSI without chance; 0 without drift, and below 0 as often as above.
        low: lower bound, at least 0.
        high: upper bound; `low` to `high` covers 1 − 2 alpha.
        p: p-value of the permutation test, in (0, 1].
    """

    psi: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Draws:
    """Which units are new: as observed, and in random draws of as many units.

    Attributes:
        units: `(n_docs,)` number of each document's unit, from 0 to n_units − 1.
        n_reference: the first units are those of the reference.
        n_draws: of the null distribution.
        seed: of the draws.
    """

    units: npt.NDArray[np.integer]
    n_reference: int
    n_draws: int
    seed: int

    @classmethod
    def of(
        cls,
        reference: npt.NDArray[np.integer],
        new: npt.NDArray[np.integer],
        n_draws: int,
        seed: int,
    ) -> Draws:
        """Draws over the units of both samples, reference first; a unit is never in both."""
        before, after = (np.unique(side, return_inverse=True)[1] for side in (reference, new))
        n_reference = int(before.max()) + 1
        return cls(np.concatenate([before, n_reference + after]), n_reference, n_draws, seed)

    @property
    def n_units(self) -> int:
        """The number of units in both samples."""
        return int(self.units.max()) + 1

    @property
    def n_new(self) -> int:
        """The number of units that are new."""
        return self.n_units - self.n_reference

    def by_unit(self, features: sp.csr_matrix) -> sp.csr_matrix:
        """Sums `(n_units, n_features)` of the documents' features `(n_docs, n_features)`."""
        ones = np.ones(len(self.units))
        places = (self.units, np.arange(len(self.units)))
        return (sp.csr_matrix((ones, places), (self.n_units, len(self.units))) @ features).tocsr()

    def chosen(self, block: int) -> Iterator[npt.NDArray[np.int64]]:
        """New units in random order, `(at most block, n_new)`: the observed ones, then the draws.

        Every call yields the same ones.
        """
        rng = np.random.default_rng(self.seed)
        observed = self.n_reference + rng.permutation(self.n_new)
        rows = [observed]
        for _ in range(self.n_draws):
            if len(rows) == block:
                yield np.array(rows)
                rows = []
            rows.append(rng.choice(self.n_units, self.n_new, replace=False))
        yield np.array(rows)


def shift(features: sp.csr_matrix, draws: Draws, alpha: float) -> Shift:
    """Measure how far the new documents' distribution over bins has moved.

    Args:
        features: counts `(n_docs, n_bins)`, one per document or several.
        draws: which documents are new.
        alpha: the chance that the true PSI is above the interval, in (0, 0.5).
    """
    counts = draws.by_unit(sp.csr_matrix(features, dtype=np.float64))
    total = np.asarray(counts.sum(axis=0)).ravel()
    counts, total = counts[:, total > 0].tocsr(), total[total > 0]
    new = np.asarray(counts[draws.n_reference :].sum(axis=0)).ravel()
    if not 0 < new.sum() < total.sum():
        return Shift(0.0, 0.0, 0.0, 1.0)
    folds = min(N_FOLDS, draws.n_new)
    fold = np.arange(draws.n_new) % folds
    block = max(1, BLOCK_CELLS // (folds * len(total)))
    values = np.concatenate(
        [_cross_fitted(_folded(counts, rows, fold), total) for rows in draws.chosen(block)]
    )
    observed, null = values[0], values[1:]
    estimate = observed - null.mean()
    error = np.hypot(null.std(), _standard_error(counts, new, total, draws.n_reference))
    reach = ndtri(1 - alpha) * error
    p = (1 + np.count_nonzero(null >= observed)) / (1 + len(null))
    return Shift(float(estimate), float(max(0.0, estimate - reach)), float(estimate + reach), p)


def _folded(
    counts: sp.csr_matrix, rows: npt.NDArray[np.int64], fold: npt.NDArray[np.int64]
) -> Floats:
    """Counts `(n_draws, n_folds, n_bins)` of the drawn units `(n_draws, n_new)`."""
    n_draws, n_folds = len(rows), int(fold.max()) + 1
    places = (np.arange(n_draws)[:, None] * n_folds + fold).ravel()
    shape = (n_draws * n_folds, counts.shape[0])
    drawn = sp.csr_matrix((np.ones(rows.size), (places, rows.ravel())), shape)
    return (drawn @ counts).toarray().reshape(n_draws, n_folds, -1)


def _cross_fitted(new: Floats, total: Floats) -> Floats:
    """PSI `(n_draws,)` of new counts `(n_draws, n_folds, n_bins)` out of `total` `(n_bins,)`."""
    whole = new.sum(axis=1)
    reference = total - whole
    prior = PSEUDO_COUNTS * len(total) * total / total.sum()
    log_ratio = np.log(_shares(whole[:, None] - new + prior))
    log_ratio -= np.log(_shares(reference + prior))[:, None]
    expected = new.sum(axis=2, keepdims=True) * _shares(reference)[:, None]
    return ((new - expected) * log_ratio).sum(axis=(1, 2)) / np.maximum(whole.sum(axis=1), 1)


def _shares(counts: Floats) -> Floats:
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), np.finfo(float).tiny)


def _standard_error(counts: sp.csr_matrix, new: Floats, total: Floats, n_reference: int) -> float:
    """The delta method's standard error of PSI, over units; 0 where nothing has moved.

    It knows only the part that is linear in the shares; the null distribution has the rest.
    """
    prior = PSEUDO_COUNTS * len(total) * total / total.sum()
    p, q = _shares(new + prior), _shares(total - new + prior)
    slopes = (np.log(p / q) + 1 - q / p, 1 - p / q - np.log(p / q))
    sides = (counts[n_reference:], counts[:n_reference])
    variance = 0.0
    for side, share, slope in zip(sides, (p, q), slopes, strict=True):
        size = np.asarray(side.sum(axis=1)).ravel()
        influence = (side @ slope - size * (share @ slope)) / size.mean()
        variance += influence.var() / len(size)
    return float(np.sqrt(variance))
