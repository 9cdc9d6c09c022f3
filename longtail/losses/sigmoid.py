"""The sigmoid family (BCE, focal, CB, R-FL, NTR, DB) as one fused function with its own gradient.

With x = z − ν, both branches of the family are one function of a signed logit v, which is −x for a
positive and λx for a negative, since σ(−x) = 1 − σ(x) and −log σ(x) = softplus(−x):

    loss = c · w · σ(v)^γ · softplus(v),    c = 1 for positives, 1/λ for negatives
    ∂loss/∂z = ∓ w · σ(v)^γ · (σ(v) + γ (1 − σ(v)) softplus(v)),    − for positives

No power of σ is ever negative, so nothing blows up at |z| = 100. The gradient is computed together
with the value, block by block in the buffer of v: one such buffer is saved, while a chain of stock
calls would save a dozen. Positives are few, so they are corrected by index.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from longtail.losses.base import Frequencies, number

BLOCK = 1 << 20  # entries at a time: each temporary stays within 4 MiB in float32


def logit_prior(freq: Frequencies) -> Tensor:
    """b̂_i = −log(N/n_i − 1), n_i clamped to [1, N−1] to keep it finite; `(n_labels,)` float64."""
    n = freq.n.clamp(1, freq.train_num - 1)
    return -torch.log(freq.train_num / n - 1)


class SigmoidLoss(nn.Module):
    """Sum of the family above over all entries, each times its own weight.

    Args:
        gamma: γ, at least 0.
        weighting: module that maps targets to w; None means 1.
        nu: ν, `(n_labels,)`; None means 0.
        neg_scale: λ, above 0.
    """

    shift: Tensor

    def __init__(
        self,
        *,
        gamma: float,
        weighting: nn.Module | None = None,
        nu: Tensor | None = None,
        neg_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.gamma = number("gamma", gamma, 0)
        self.neg_scale = number("neg_scale", neg_scale, 1e-3)
        self.weighting = weighting
        shift = torch.zeros(1) if nu is None else -self.neg_scale * nu
        self.register_buffer("shift", shift.float(), persistent=False)

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        positives: tuple[Tensor, Tensor],
        own: Tensor | None,
    ) -> Tensor:
        weights = logits.new_ones(1, 1) if self.weighting is None else self.weighting(targets)
        weights = weights if own is None else weights * own
        return _SigmoidSum.apply(
            logits, positives, weights, self.shift.to(logits.dtype), self.gamma, self.neg_scale
        )


class _SigmoidSum(torch.autograd.Function):
    """Differentiable once, with respect to logits `(batch, n_labels)` only."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        positives: tuple[Tensor, Tensor],
        weights: Tensor,
        shift: Tensor,
        gamma: float,
        neg_scale: float,
    ) -> Tensor:
        weights = weights.expand_as(logits)
        signed = torch.add(shift, logits, alpha=neg_scale)
        positive_logits = signed[positives] / -neg_scale
        signed[positives] = positive_logits
        # The blocks count positives with the negatives' factor 1/λ; this adds the rest.
        total = _block(positive_logits, weights[positives], gamma) * (1 - 1 / neg_scale)
        rows = max(1, BLOCK // logits.shape[1])
        for part, part_weights in zip(signed.split(rows), weights.split(rows), strict=True):
            total += _block(part, part_weights, gamma) / neg_scale
        signed[positives] = -signed[positives]
        ctx.save_for_backward(signed)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad, None, None, None, None, None


def _block(signed: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Σ w σ(v)^γ softplus(v); overwrites v = `signed` with the derivative of each term."""
    softplus = F.softplus(signed, threshold=40)  # linear above: exact in float64 too
    sigmoid = signed.sigmoid_()
    focus = sigmoid.pow(gamma).mul_(weights)
    total = torch.linalg.vecdot(focus, softplus).sum()  # a single dot loses digits in float32
    sigmoid.add_(softplus.addcmul_(softplus, sigmoid, value=-1), alpha=gamma).mul_(focus)
    return total
