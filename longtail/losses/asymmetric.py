"""Two newer multi-label losses outside the sigmoid family: ASL and ZLPR."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from longtail.losses.base import number


class AsymmetricLoss(nn.Module):
    """ASL, Ridnik et al. 2021 (https://arxiv.org/abs/2009.14119).

    −(1−p)^γ⁺ log p for positives; −p_m^γ⁻ log(1−p_m), p_m = max(p − m, 0), for negatives.
    Deviation: the gradient also flows through the focusing factors, as the equations say; the
    authors' code offers to stop it there.
    """

    def __init__(self, gamma_pos: float, gamma_neg: float, margin: float) -> None:
        super().__init__()
        self.gamma_pos = number("gamma_pos", gamma_pos, 0)
        self.gamma_neg = number("gamma_neg", gamma_neg, 0)
        self.margin = number("margin", margin, 0, 0.99)

    def forward(self, logits: Tensor, targets: Tensor, positives: tuple[Tensor, Tensor]) -> Tensor:
        p, not_p = logits.sigmoid(), (-logits).sigmoid()
        # the floor keeps the slope of p^γ finite at 0 for γ < 1
        tiny = torch.finfo(logits.dtype).tiny
        positive = not_p.clamp(min=tiny) ** self.gamma_pos * -F.logsigmoid(logits)
        log_not_p_m = F.logsigmoid(-logits)  # what log(1 − p_m) is without a margin
        if self.margin:
            log_not_p_m = (not_p + self.margin).clamp(max=1).log()
        negative = (p - self.margin).clamp(min=tiny) ** self.gamma_neg * -log_not_p_m
        return torch.where(targets > 0, positive, negative).sum()


class ZLPR(nn.Module):
    """ZLPR, Su et al. 2022 (https://arxiv.org/abs/2208.02955), with its threshold of 0.

    log(1 + Σ_{y_i=1} e^{−z_i}) + log(1 + Σ_{y_j=0} e^{z_j}) for each document. The sum counts a
    document once for each of its n_labels entries, so that the mean over entries is the paper's
    mean over documents.
    """

    def forward(self, logits: Tensor, targets: Tensor, positives: tuple[Tensor, Tensor]) -> Tensor:
        is_positive = targets > 0
        zero = logits.new_zeros(len(logits), 1)
        missed = torch.cat([zero, (-logits).where(is_positive, -math.inf)], 1).logsumexp(1)
        false_alarms = torch.cat([zero, logits.where(~is_positive, -math.inf)], 1).logsumexp(1)
        return logits.shape[1] * (missed + false_alarms).sum()
