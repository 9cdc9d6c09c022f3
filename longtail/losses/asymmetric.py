"""Two newer multi-label losses outside the sigmoid family: ASL and ZLPR."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from longtail.losses.base import number


class AsymmetricLoss(nn.Module):
    """ASL (Ridnik et al. 2021, https://arxiv.org/abs/2009.14119).

    −(1−p)^γ⁺ log p for positives; −p_m^γ⁻ log(1−p_m), p_m = max(p − m, 0), for negatives.
    Deviation: the gradient also flows through the focusing factors, as in the equations; the
    authors' code has an option to stop it there.
    """

    def __init__(self, gamma_pos: float, gamma_neg: float, margin: float) -> None:
        super().__init__()
        self.gamma_pos = number("gamma_pos", gamma_pos, 0)
        self.gamma_neg = number("gamma_neg", gamma_neg, 0)
        self.margin = number("margin", margin, 0, 0.99)

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        positives: tuple[Tensor, Tensor],
        own: Tensor | None,
    ) -> Tensor:
        hits = logits[positives]
        positive = -F.logsigmoid(hits) * _power((-hits).sigmoid(), self.gamma_pos)
        others = logits.index_put(positives, logits.new_tensor(-math.inf))  # these add 0
        p_m = (others.sigmoid() - self.margin).clamp(min=0)
        # log(1 − p) without a margin: 1 − p would lose the digits of a p near 1
        log_not_p_m = torch.log1p(-p_m) if self.margin else F.logsigmoid(-others)
        focus = _power(p_m, self.gamma_neg)
        if own is not None:
            positive, focus = positive * own[positives], focus * own
        return positive.sum() - torch.linalg.vecdot(focus, log_not_p_m).sum()


def _power(base: Tensor, exponent: float) -> Tensor:
    """base^exponent, with a finite slope at 0 if the exponent is under 1."""
    return base.clamp(min=torch.finfo(base.dtype).tiny if exponent < 1 else 0) ** exponent


class ZLPR(nn.Module):
    """ZLPR (Su et al. 2022, https://arxiv.org/abs/2208.02955) with its threshold of 0.

    log(1 + Σ_{y_i=1} e^{−z_i}) + log(1 + Σ_{y_j=0} e^{z_j}) for each document. The sum counts a
    document once for each of its n_labels entries, so the mean over entries is the paper's mean
    over documents. The weight of an entry multiplies its e^{±z}.

    Args:
        n_labels: how many there are, also where the loss is computed for some of them.
    """

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.n_labels = n_labels

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        positives: tuple[Tensor, Tensor],
        own: Tensor | None,
    ) -> Tensor:
        is_positive = targets > 0
        # Of what counts 0, e^(−inf), the slope would be NaN.
        logs, some = (0, True) if own is None else (own.log(), own > 0)
        missed = (logs - logits).where(is_positive & some, -math.inf).logsumexp(1)
        false_alarms = (logs + logits).where(~is_positive & some, -math.inf).logsumexp(1)
        # log(1 + e^x); linear above 40, which is exact in float64 too
        both = F.softplus(missed, threshold=40) + F.softplus(false_alarms, threshold=40)
        return self.n_labels * both.sum()
