"""Losses for long-tailed multi-label classification: a registry of builders and `make_loss`.

The formulas are those of Huang et al. 2021 (https://arxiv.org/abs/2109.04712) and the papers it
builds on. Each builder takes the label frequencies of train and its own options, and returns the
module that sums the loss over the entries of a batch. To add a loss, write a builder and list it in
LOSSES.
"""

from __future__ import annotations

import inspect
import math
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
    Normalized,
    PerLabel,
    PositiveWeight,
    Rebalanced,
    relative_rarity,
)

__all__ = ["LOSSES", "loss_options", "make_loss", "suggest_mu"]

REWEIGHTS = {"inverse": 1.0, "sqrt_inverse": 0.5}


def bce(freq: Frequencies, *, pos_weight: Sequence[float] | None = None) -> nn.Module:
    """Binary cross-entropy; `pos_weight` `(n_labels,)` multiplies the loss of positives."""
    if pos_weight is None:
        return SigmoidLoss(gamma=0)
    try:
        weights = torch.as_tensor(pos_weight, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        weights = torch.empty(0)
    if weights.shape != freq.n.shape or not (weights.isfinite() & (weights >= 0)).all():
        raise ParameterError(
            f"pos_weight must be {len(freq.n)} finite numbers >= 0, one per label, "
            f"got {pos_weight!r}."
        )
    return SigmoidLoss(gamma=0, weighting=PositiveWeight(weights))


def weighted_bce(
    freq: Frequencies, *, temperature: float = 1.0, floor: float = 0.5, cap: float = 10.0
) -> nn.Module:
    """BCE with positives weighted by (mean count / n_i)^(1/(2·temperature)), within [floor, cap].

    Temperature 1 is the inverse square root, 0.5 the inverse, infinity plain BCE. Weights under
    0.5 keep a label from being learned, hence the floor.
    """
    if temperature != math.inf:
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
    if str(reweight) not in REWEIGHTS:
        raise unknown_name("reweight", str(reweight), REWEIGHTS)
    weighting = PerLabel(relative_rarity(freq, REWEIGHTS[reweight]))
    return SigmoidLoss(gamma=gamma, weighting=_normalized(weighting, weight_norm))


def cb(
    freq: Frequencies,
    *,
    gamma: float = 2.0,
    beta: float = 0.9,
    mode: str = "class",
    weight_norm: str | None = None,
) -> nn.Module:
    """Class-balanced focal loss: FL × r_i (see `ClassBalanced` for the modes)."""
    weighting = _normalized(ClassBalanced(freq, beta, mode), weight_norm)
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
    weighting = _normalized(Rebalanced(freq, alpha, beta, mu), weight_norm)
    return SigmoidLoss(gamma=gamma, weighting=weighting)


def ntr_fl(
    freq: Frequencies, *, gamma: float = 2.0, kappa: float = 0.05, neg_scale: float = 2.0
) -> nn.Module:
    """FL with negative-tolerant regularisation (NTR): ν_i = −κ b̂_i, λ = `neg_scale`.

    The loss of negatives is divided by λ, as the equation says. The code behind the published
    NTR-FL figures omits that division.
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
    weighting = _normalized(ClassBalanced(freq, beta, mode), weight_norm)
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
    weighting = _normalized(Rebalanced(freq, alpha, beta, mu), weight_norm)
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
    """Asymmetric loss (see `AsymmetricLoss`); it ignores the frequencies."""
    return AsymmetricLoss(gamma_pos, gamma_neg, margin)


def zlpr(freq: Frequencies) -> nn.Module:
    """Zero-bounded log-sum-exp and pairwise rank loss (see `ZLPR`); it ignores the frequencies."""
    return ZLPR(len(freq.n))


def logit_adjusted(freq: Frequencies, *, tau: float = 1.0) -> nn.Module:
    """BCE of z + τ b̂_i (Menon et al. 2021, https://arxiv.org/abs/2007.07314).

    Deviation: theirs is for softmax over classes. Here each label is a two-class problem whose log
    prior ratio is b̂_i. Score with σ(z), which is then balanced between the two classes.
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


def loss_options(name: str) -> dict[str, Any]:
    """The options of the loss `name` with their defaults, from the signature of its builder.

    Raises:
        ParameterError: the name is unknown; the message lists the valid ones.

    >>> loss_options("cb")
    {'gamma': 2.0, 'beta': 0.9, 'mode': 'class', 'weight_norm': None}
    >>> "mu" in loss_options("db"), "mu" in loss_options("cb")
    (True, False)
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    parameters = inspect.signature(LOSSES[name]).parameters
    return {option: p.default for option, p in parameters.items() if option != "freq"}


def make_loss(
    name: str,
    class_freq: Sequence[float] | np.ndarray | Tensor,
    train_num: int,
    /,
    *,
    loss_weight: float = 1.0,
    reduction: str = "mean",
    **options: Any,
) -> MultiLabelLoss:
    """Build a loss for the label frequencies of a training part.

    Args:
        name: a key of `LOSSES`.
        class_freq: `(n_labels,)` positives of each label in train, from 0 to `train_num`.
        train_num: number of train documents, at least 2.
        loss_weight: multiplies the result; at least 0.
        reduction: `mean` over the batch · n_labels entries, or `sum`.
        options: options of the loss, see `loss_options`.

    Returns:
        A module that maps logits and targets, both `(batch, n_labels)`, to a scalar.

    Raises:
        ParameterError: an unknown name or option (the message lists the valid ones), or a value out
            of range.

    >>> loss = make_loss("bce", [2, 1], 4)
    >>> round(loss(torch.zeros(1, 2), torch.tensor([[1, 0]])).item(), 3)  # log 2
    0.693
    """
    valid = loss_options(name).keys()
    freq = check_frequencies(class_freq, train_num)
    for option in options.keys() - valid:
        raise unknown_name(f"option of loss {name!r}", option, valid | {"loss_weight", "reduction"})
    return MultiLabelLoss(LOSSES[name](freq, **options), len(freq.n), loss_weight, reduction)


def _ntr_shift(freq: Frequencies, kappa: float) -> Tensor:
    """ν_i = −κ b̂_i of Wu et al. 2020: float64 (n_labels,)."""
    return -number("kappa", kappa) * logit_prior(freq)


def _normalized(weighting: nn.Module, by: str | None) -> nn.Module:
    return weighting if by is None else Normalized(weighting, by)
