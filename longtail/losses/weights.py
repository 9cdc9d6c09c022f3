"""Weights of the entries: each module maps targets (batch, n_labels) to weights that broadcast.

A label without a training document counts as seen once wherever its count is divided by.
Buffers are derived from the data, so they move with `.to()` but stay out of the state dict.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from longtail.errors import unknown_name
from longtail.losses.base import Frequencies, number

CB_MODES = ("class", "average_n", "average_w", "min_n")
WEIGHT_NORMS = ("instance", "batch")


def relative_rarity(freq: Frequencies, power: float) -> Tensor:
    """(mean count / n_i)^power, float64 (n_labels,): a label of average frequency weighs 1."""
    return (freq.seen.mean() / freq.seen) ** power


class PerLabel(nn.Module):
    """The same weight for positives and negatives of a label: (1, n_labels)."""

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights.float()[None], persistent=False)

    def forward(self, targets: Tensor) -> Tensor:
        return self.weights.to(targets.dtype)


class PositiveWeight(PerLabel):
    """The label's weight for positives, 1 for negatives: (batch, n_labels)."""

    def forward(self, targets: Tensor) -> Tensor:
        return torch.addcmul(torch.ones_like(targets), targets, super().forward(targets) - 1)


class ClassBalanced(nn.Module):
    """r(n) = (1−β)/(1−β^n) of Cui et al. 2019 (https://arxiv.org/abs/1901.05555).

    The mode says which n: `class` the label's own, (1, n_labels); or one for each document,
    (batch, 1): `average_n` the mean n of its labels, `min_n` that of its rarest label,
    `average_w` the mean r of its labels. A document without labels gets 1−β, the weight of n = ∞.
    """

    n: Tensor

    def __init__(self, freq: Frequencies, beta: float, mode: str) -> None:
        super().__init__()
        if mode not in CB_MODES:
            raise unknown_name("class-balanced mode", mode, CB_MODES)
        self.beta = number("beta", beta, 0, 0.999999)
        self.mode = mode
        self.register_buffer("n", freq.seen.float()[None], persistent=False)

    def forward(self, targets: Tensor) -> Tensor:
        n = self.n.to(targets.dtype)
        if self.mode == "class":
            return self._balanced(n)
        if self.mode == "min_n":
            return self._balanced(n.where(targets > 0, math.inf).amin(1, keepdim=True))
        n_positives = targets.sum(1, keepdim=True)
        values = n if self.mode == "average_n" else self._balanced(n)
        mean = (targets * values).sum(1, keepdim=True) / n_positives
        if self.mode == "average_n":
            return self._balanced(mean.where(n_positives > 0, math.inf))
        return mean.where(n_positives > 0, 1 - self.beta)

    def _balanced(self, n: Tensor) -> Tensor:
        log_beta = math.log(self.beta) if self.beta else -math.inf
        return (1 - self.beta) / -torch.expm1(n * log_beta)


class Rebalanced(nn.Module):
    """r̂ = α + σ(β(r − μ)), r = (1/n_i) / Σ_{j: y_j=1} 1/n_j: (batch, n_labels).

    Wu et al. 2020 (https://arxiv.org/abs/2007.09654), re-balanced weighting; the 1/C of both
    sampling probabilities cancels. A document without labels takes the limit r → ∞, so r̂ = α + 1.
    """

    inverse: Tensor

    def __init__(self, freq: Frequencies, alpha: float, beta: float, mu: float) -> None:
        super().__init__()
        self.alpha = number("alpha", alpha, 0)
        self.beta = number("beta", beta, 0)
        self.mu = number("mu", mu)
        self.register_buffer("inverse", (1 / freq.seen).float(), persistent=False)

    def forward(self, targets: Tensor) -> Tensor:
        inverse = self.inverse.to(targets.dtype)
        sums = (targets @ inverse).clamp_(min=torch.finfo(targets.dtype).tiny)
        r = torch.outer(self.beta / sums, inverse)  # β·r
        return r.sub_(self.beta * self.mu).sigmoid_().add_(self.alpha)


class Normalised(nn.Module):
    """Divides weights by the largest of the document (`instance`) or of the batch (`batch`).

    Under gradient accumulation `batch` is the micro-batch, so only `instance` gives the same
    gradient however the batch is cut.
    """

    def __init__(self, weighting: nn.Module, by: str) -> None:
        super().__init__()
        if by not in WEIGHT_NORMS:
            raise unknown_name("weight normalisation", by, WEIGHT_NORMS)
        self.weighting = weighting
        self.by = by

    def forward(self, targets: Tensor) -> Tensor:
        weights = self.weighting(targets)
        return weights / (weights.amax(1, keepdim=True) if self.by == "instance" else weights.max())
