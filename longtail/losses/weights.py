"""Weights of the entries: each module maps targets `(batch, n_labels)` to weights that broadcast.

Wherever a count is a divisor, a label without a training document counts as seen once. Buffers are
derived from the data, so they move with `.to()` but stay out of the state dict.
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
    """(mean count / n_i)^power, `(n_labels,)` float64: a label of average frequency weighs 1."""
    return (freq.seen.mean() / freq.seen) ** power


class PerLabel(nn.Module):
    """The same weight for positives and negatives of a label, `(1, n_labels)`."""

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights.float()[None], persistent=False)

    def forward(self, targets: Tensor) -> Tensor:
        return self.weights.to(targets.dtype)


class PositiveWeight(PerLabel):
    """The label's weight for positives and 1 for negatives, `(batch, n_labels)`."""

    def forward(self, targets: Tensor) -> Tensor:
        return torch.addcmul(torch.ones_like(targets), targets, super().forward(targets) - 1)


class ClassBalanced(nn.Module):
    """r(n) = (1−β)/(1−β^n) (Cui et al. 2019, https://arxiv.org/abs/1901.05555).

    A document without labels gets 1−β, the weight of n = ∞.

    Args:
        freq: label counts of train.
        beta: β, 0 to 0.999999.
        mode: which n is used.
            `class` - the label's own, so weights are `(1, n_labels)`;
            `average_n` - the mean n of the document's labels, so weights are `(batch, 1)`;
            `min_n` - n of the document's rarest label, likewise;
            `average_w` - the mean r of the document's labels, likewise.
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
    """r̂ = α + σ(β(r − μ)) with r = (1/n_i) / Σ_{j: y_j=1} 1/n_j, `(batch, n_labels)`.

    Re-balanced weighting of Wu et al. 2020 (https://arxiv.org/abs/2007.09654); the 1/C of both
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


class Normalized(nn.Module):
    """Divides weights by the largest one of the document (`instance`) or of the batch (`batch`).

    Under gradient accumulation `batch` means the micro-batch, so only `instance` gives the same
    gradient however the batch is cut.
    """

    def __init__(self, weighting: nn.Module, by: str) -> None:
        super().__init__()
        if by not in WEIGHT_NORMS:
            raise unknown_name("weight normalization", by, WEIGHT_NORMS)
        self.weighting = weighting
        self.by = by

    def forward(self, targets: Tensor) -> Tensor:
        weights = self.weighting(targets)
        return weights / (weights.amax(1, keepdim=True) if self.by == "instance" else weights.max())
