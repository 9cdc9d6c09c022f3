"""Losses for long-tailed multi-label classification: a registry of builders and `make_loss`.

The formulas are those of Huang et al. 2021 (https://arxiv.org/abs/2109.04712) and the papers it
builds on. Each builder takes the label frequencies of train and its own options, and returns the
module that sums the loss over the entries of a batch. To add a loss, write one and list it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longtail.errors import ParameterError, unknown_name
from longtail.frequency import suggest_mu
from longtail.losses.asymmetric import ZLPR, AsymmetricLoss
from longtail.losses.base import Frequencies, MultiLabelLoss, check_frequencies, number
from longtail.losses.sigmoid import SigmoidLoss, logit_prior
from longtail.losses.weights import (
    ClassBalanced,
    Normalised,
    PerLabel,
    PositiveWeight,
    Rebalanced,
    relative_rarity,
)

__all__ = ["LOSSES", "make_loss", "suggest_mu"]

REWEIGHTS = {"inverse": 1.0, "sqrt_inverse": 0.5}


def bce(freq: Frequencies, *, pos_weight: Sequence[float] | None = None) -> nn.Module:
    """Binary cross-entropy; `pos_weight` (n_labels,) multiplies the loss of positives."""
    if pos_weight is None:
        return SigmoidLoss(gamma=0)
    weights = torch.as_tensor(pos_weight, dtype=torch.float64)
    if weights.shape != freq.n.shape or not (weights.isfinite() & (weights >= 0)).all():
        raise ParameterError(
            f"pos_weight must be {len(freq.n)} finite numbers from 0, one for "
            f"each label, got {pos_weight!r}."
        )
    return SigmoidLoss(gamma=0, weighting=PositiveWeight(weights))


def weighted_bce(
    freq: Frequencies, *, temperature: float = 1.0, floor: float = 0.5, cap: float = 10.0
) -> nn.Module:
    """BCE whose positives weigh (mean count / n_i)^(1/(2·temperature)), held in [floor, cap].

    Temperature 1 is the inverse square root, 0.5 the inverse, infinity plain BCE. Weights under
    0.5 stop a label from being learned, hence the floor.
    """
    temperature = number("temperature", temperature, 1e-3)
    weights = relative_rarity(freq, 0.5 / temperature)
    floor = number("floor", floor, 0)
    weights = weights.clamp(floor, number("cap", cap, floor))
    return SigmoidLoss(gamma=0, weighting=PositiveWeight(weights))


def focal(
    freq: Frequencies,
    *,
    gamma: float = 2.0,
    reweight: str | None = None,
    weight_norm: str | None = None,
) -> nn.Module:
    """FL (Lin et al. 2017, https://arxiv.org/abs/1708.02002, without their α).

    `reweight` multiplies a label's entries by mean count / n_i (`inverse`) or its square root
    (`sqrt_inverse`).
    """
    if reweight is None:
        if weight_norm is not None:
            raise ParameterError("weight_norm needs reweight: without it all weights are 1.")
        return SigmoidLoss(gamma=gamma)
    if reweight not in REWEIGHTS:
        raise unknown_name("reweight", reweight, REWEIGHTS)
    weighting = PerLabel(relative_rarity(freq, REWEIGHTS[reweight]))
    return SigmoidLoss(gamma=gamma, weighting=_normalised(weighting, weight_norm))


def cb(
    freq: Frequencies,
    *,
    gamma: float = 2.0,
    beta: float = 0.9,
    mode: str = "class",
    weight_norm: str | None = None,
) -> nn.Module:
    """Class-balanced focal loss: FL × r_i (see `ClassBalanced` for the modes)."""
    weighting = _normalised(ClassBalanced(freq, beta, mode), weight_norm)
    return SigmoidLoss(gamma=gamma, weighting=weighting)


def r_fl(
    freq: Frequencies,
    *,
    gamma: float = 2.0,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.9,
    weight_norm: str | None = None,
) -> nn.Module:
    """Rebalanced focal loss: FL × r̂ (see `Rebalanced`); `suggest_mu` gives μ for a corpus."""
    weighting = _normalised(Rebalanced(freq, alpha, beta, mu), weight_norm)
    return SigmoidLoss(gamma=gamma, weighting=weighting)


def ntr_fl(
    freq: Frequencies, *, gamma: float = 2.0, kappa: float = 0.05, neg_scale: float = 2.0
) -> nn.Module:
    """FL with negative-tolerant regularisation (NTR): ν_i = −κ b̂_i, λ = `neg_scale`.

    The loss of negatives is divided by λ as the equation says. The code behind the published
    figures of NTR-FL leaves that division out.
    """
    return SigmoidLoss(gamma=gamma, nu=_ntr_shift(freq, kappa), neg_scale=neg_scale)


def cb_ntr(
    freq: Frequencies,
    *,
    gamma: float = 2.0,
    beta: float = 0.9,
    mode: str = "class",
    kappa: float = 0.05,
    neg_scale: float = 2.0,
    weight_norm: str | None = None,
) -> nn.Module:
    """Class-balanced focal loss with NTR."""
    weighting = _normalised(ClassBalanced(freq, beta, mode), weight_norm)
    return SigmoidLoss(
        gamma=gamma, weighting=weighting, nu=_ntr_shift(freq, kappa), neg_scale=neg_scale
    )


def db(
    freq: Frequencies,
    *,
    gamma: float = 2.0,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.9,
    kappa: float = 0.05,
    neg_scale: float = 2.0,
    weight_norm: str | None = None,
) -> nn.Module:
    """Distribution-balanced loss: R-FL with NTR (Wu et al. 2020, Huang et al. 2021)."""
    weighting = _normalised(Rebalanced(freq, alpha, beta, mu), weight_norm)
    return SigmoidLoss(
        gamma=gamma, weighting=weighting, nu=_ntr_shift(freq, kappa), neg_scale=neg_scale
    )


def db_0fl(
    freq: Frequencies,
    *,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.9,
    kappa: float = 0.05,
    neg_scale: float = 2.0,
    weight_norm: str | None = None,
) -> nn.Module:
    """DB without the focal factor (γ = 0)."""
    return db(
        freq,
        gamma=0.0,
        alpha=alpha,
        beta=beta,
        mu=mu,
        kappa=kappa,
        neg_scale=neg_scale,
        weight_norm=weight_norm,
    )


def asl(
    freq: Frequencies, *, gamma_pos: float = 0.0, gamma_neg: float = 4.0, margin: float = 0.05
) -> nn.Module:
    """Asymmetric loss (see `AsymmetricLoss`); frequencies play no part."""
    return AsymmetricLoss(gamma_pos, gamma_neg, margin)


def zlpr(freq: Frequencies) -> nn.Module:
    """Zero-bounded log-sum-exp and pairwise rank loss (see `ZLPR`); no frequencies either."""
    return ZLPR()


def logit_adjusted(freq: Frequencies, *, tau: float = 1.0) -> nn.Module:
    """BCE of z + τ b̂_i, Menon et al. 2021 (https://arxiv.org/abs/2007.07314).

    Deviation: theirs is for softmax over classes; each label is taken as a two-class problem,
    whose log prior ratio is b̂_i. Score with σ(z), which is then balanced over the two.
    """
    return SigmoidLoss(gamma=0, nu=-number("tau", tau) * logit_prior(freq))


LOSSES: dict[str, Callable[..., nn.Module]] = {
    "bce": bce,
    "weighted_bce": weighted_bce,
    "focal": focal,
    "cb": cb,
    "r_fl": r_fl,
    "ntr_fl": ntr_fl,
    "db_0fl": db_0fl,
    "cb_ntr": cb_ntr,
    "db": db,
    "asl": asl,
    "zlpr": zlpr,
    "logit_adjusted": logit_adjusted,
}


def make_loss(
    name: str,
    class_freq: Sequence[float] | np.ndarray | Tensor,
    train_num: int,
    *,
    loss_weight: float = 1.0,
    reduction: str = "mean",
    **options: Any,
) -> MultiLabelLoss:
    """The loss `name` of LOSSES for labels seen `class_freq` times among `train_num` documents.

    class_freq (n_labels,): positives of each label in train, from 0 to train_num. reduction:
    `mean` over the batch · n_labels entries, or `sum`. loss_weight ≥ 0 multiplies the result.
    options: the keyword arguments of `LOSSES[name]`. Returns a module whose
    `forward(logits (batch, n_labels), targets (batch, n_labels))` gives a scalar.
    Raises ParameterError for an unknown name or option (naming the valid ones) and for values out
    of range.
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    freq = check_frequencies(class_freq, train_num)
    valid = inspect.signature(LOSSES[name]).parameters.keys() - {"freq"}
    for option in options.keys() - valid:
        raise unknown_name(f"option of loss {name!r}", option, valid | {"loss_weight", "reduction"})
    return MultiLabelLoss(LOSSES[name](freq, **options), len(freq.n), loss_weight, reduction)


def _ntr_shift(freq: Frequencies, kappa: float) -> Tensor:
    """ν_i = −κ b̂_i of Wu et al. 2020: float64 (n_labels,)."""
    return -number("kappa", kappa) * logit_prior(freq)


def _normalised(weighting: nn.Module, by: str | None) -> nn.Module:
    return weighting if by is None else Normalised(weighting, by)
