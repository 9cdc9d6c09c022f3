"""The formulas: single entries computed by hand, and plain chains of stock calls."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longtail.losses import make_loss

# Three documents × three labels; n = 1, 2, 5 of N = 10, so b̂ = −ln 9, −ln 4, 0.
N_DOCS = 10
CLASS_FREQ = [1, 2, 5]
TARGETS = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)
NU = [0.05 * math.log(9), 0.05 * LN4, 0.0]


def entry(name: str, k: int, i: int, z: float, **options: object) -> float:
    """The loss of entry (k, i) alone: all other entries are right beyond doubt and add 0."""
    logits = torch.where(TARGETS == 1, 2000.0, -2000.0).double()
    logits[k, i] = z
    return make_loss(name, CLASS_FREQ, N_DOCS, reduction="sum", **options)(logits, TARGETS).item()


# At x = 0 the loss is ln 2 and σ = 1/2. At x = ln 3, σ = 3/4: a positive has −ln σ = 0.287682 and
# 1−σ = 1/4, a negative −ln(1−σ) = ln 4 = 1.386294. Half of ln 3 is ln 3 again after λ = 2.
@pytest.mark.parametrize(
    ("name", "k", "i", "z", "expected"),
    [
        ("bce", 0, 0, LN3, 0.287682),
        ("bce", 0, 1, LN3, 1.386294),
        # FL: (1/4)² · 0.287682; (3/4)² · 1.386294
        ("focal", 0, 0, LN3, 0.01798013),
        ("focal", 0, 1, LN3, 0.7797905),
        # CB: r = 0.1/0.1 = 1; 0.1/0.19 = 0.526316; 0.1/(1 − 0.9^5 = 0.40951) = 0.244194, × FL
        ("cb", 0, 0, LN3, 0.01798013),
        ("cb", 1, 1, LN3, 0.009463225),
        ("cb", 2, 1, LN3, 0.4104161),
        ("cb", 2, 2, LN3, 0.1904204),
        # R-FL, document 0: Σ 1/n = 1, r = 1, 1/2, 1/5, r̂ = 0.1 + σ(1), σ(−4), σ(−7)
        ("r_fl", 0, 0, LN3, 0.8310586 * 0.01798013),
        ("r_fl", 0, 1, LN3, 0.1179862 * 0.7797905),
        ("r_fl", 0, 2, LN3, 0.1009111 * 0.7797905),
        # document 1: Σ 1/n = 3/2, r = 2/3, 1/3, 2/15: σ(−7/3), σ(−17/3), σ(−23/3)
        ("r_fl", 1, 0, LN3, 0.1883997 * 0.01798013),
        ("r_fl", 1, 1, LN3, 0.1034476 * 0.01798013),
        ("r_fl", 1, 2, LN3, 0.1004680 * 0.7797905),
        # document 2 has no label: r → ∞, r̂ = 1.1
        ("r_fl", 2, 2, LN3, 1.1 * 0.7797905),
        # NTR: x = z − ν; negatives have λ = 2 inside and 1/λ outside, positives neither
        ("ntr_fl", 0, 0, NU[0] + LN3, 0.01798013),
        ("ntr_fl", 0, 1, NU[1] + LN3 / 2, 0.3898952),
        ("ntr_fl", 0, 2, LN3 / 2, 0.3898952),
        ("cb_ntr", 1, 1, NU[1] + LN3, 0.009463225),
        ("cb_ntr", 2, 1, NU[1] + LN3 / 2, 0.526316 * 0.3898952),
        ("db", 0, 0, NU[0] + LN3, 0.8310586 * 0.01798013),
        ("db", 1, 2, LN3 / 2, 0.1004680 * 0.3898952),
        ("db_0fl", 0, 0, NU[0] + LN3, 0.8310586 * 0.2876821),
        ("db_0fl", 0, 1, NU[1] + LN3 / 2, 0.1179862 * 0.6931472),
        # BCE of z + b̂: label 0 at z = 0 has x = −ln 9; −ln σ(x) = ln 10, −ln(1 − σ(x)) = ln(10/9)
        ("logit_adjusted", 0, 0, 0.0, 2.302585),
        ("logit_adjusted", 2, 0, 0.0, 0.1053605),
        ("logit_adjusted", 2, 2, 0.0, LN2),
        # positives weigh √(8/3 / n) = 1.632993, 1.154701, 0.730297; negatives 1
        ("weighted_bce", 0, 0, 0.0, 1.632993 * LN2),
        ("weighted_bce", 1, 1, 0.0, 1.154701 * LN2),
        ("weighted_bce", 2, 0, 0.0, LN2),
        # ASL: p = 3/4, p_m = 0.7: 0.7⁴ · −ln 0.3; positives are plain
        ("asl", 0, 1, LN3, 0.2401 * 1.203973),
        ("asl", 0, 0, LN3, 0.287682),
        ("asl", 0, 1, math.log(0.04 / 0.96), 0.0),  # p = 0.04 lies under the margin
    ],
)
def test_by_hand(name: str, k: int, i: int, z: float, expected: float) -> None:
    assert entry(name, k, i, z) == pytest.approx(expected, rel=2e-6, abs=1e-30)


def test_asl_negative_under_the_margin_is_free_without_focusing_too() -> None:
    assert entry("asl", 0, 1, math.log(0.04 / 0.96), gamma_neg=0) == 0
    assert entry("asl", 0, 1, LN3, gamma_neg=0) == pytest.approx(1.203973, rel=1e-6)  # −ln 0.3


@pytest.mark.parametrize(
    ("name", "k", "i", "options", "factor"),
    [
        # one n for a document: doc 1 has n = 1 and 2, doc 2 none (n = ∞, weight 1 − β)
        ("cb", 1, 2, {"mode": "average_n"}, 0.1 / (1 - 0.9**1.5)),
        ("cb", 1, 2, {"mode": "average_w"}, (1 + 0.1 / 0.19) / 2),
        ("cb", 1, 2, {"mode": "min_n"}, 1.0),
        ("cb", 2, 0, {"mode": "average_n"}, 0.1),
        ("cb", 2, 0, {"mode": "average_w"}, 0.1),
        ("cb", 2, 0, {"mode": "min_n"}, 0.1),
        ("cb", 0, 2, {"beta": 0.5}, 0.5 / (1 - 0.5**5)),
        ("focal", 1, 1, {"reweight": "inverse"}, 4 / 3),  # mean n = 8/3
        ("focal", 2, 2, {"reweight": "inverse"}, 8 / 15),
        ("focal", 2, 2, {"reweight": "sqrt_inverse"}, math.sqrt(8 / 15)),
        ("focal", 2, 1, {"reweight": "inverse", "weight_norm": "instance"}, 1 / 2),
        # the largest weight of a document, or of the batch (document 2 has 1.1), becomes 1
        ("r_fl", 0, 1, {"weight_norm": "instance"}, 0.1179862 / 0.8310586),
        ("r_fl", 0, 1, {"weight_norm": "batch"}, 0.1179862 / 1.1),
        ("cb", 2, 0, {"mode": "min_n", "weight_norm": "instance"}, 1.0),
        ("cb", 2, 0, {"mode": "min_n", "weight_norm": "batch"}, 0.1),
        ("r_fl", 0, 1, {"alpha": 0.3, "beta": 2, "mu": 0.25}, 0.3 + 1 / (1 + math.exp(-0.5))),
    ],
)
def test_weights_by_hand(name: str, k: int, i: int, options: dict, factor: float) -> None:
    assert entry(name, k, i, LN3, **options) == pytest.approx(
        factor * entry("focal", k, i, LN3), rel=1e-6
    )


@pytest.mark.parametrize(
    ("k", "i", "options", "factor"),
    [
        (0, 0, {"temperature": 0.5}, 8 / 3),
        (0, 0, {"temperature": 2}, (8 / 3) ** 0.25),
        (0, 0, {"cap": 1.5}, 1.5),
    ],
)
def test_weighted_bce_options_by_hand(k: int, i: int, options: dict, factor: float) -> None:
    assert entry("weighted_bce", k, i, 0, **options) == pytest.approx(factor * LN2, rel=1e-6)


def test_weighted_bce_floor_and_unseen_labels() -> None:
    """n = 0 counts as 1, so the mean is 6: weights √6, √6 and √(6/16) = 0.61, under a floor."""
    logits, targets = torch.zeros(1, 3), torch.ones(1, 3)
    loss = make_loss("weighted_bce", [0, 1, 16], 20, floor=0.8, reduction="sum")
    assert loss(logits, targets).item() == pytest.approx((2 * math.sqrt(6) + 0.8) * LN2)


def test_unseen_and_ever_present_labels_have_a_finite_prior() -> None:
    """n = 0 counts as 1 and n = N as N − 1: b̂ = ∓ln 9 for N = 10."""
    logits, targets = torch.zeros(1, 2), torch.tensor([[0, 1]])
    loss = make_loss("logit_adjusted", [0, 10], 10, reduction="sum")
    assert loss(logits, targets).item() == pytest.approx(2 * math.log(10 / 9))


def test_weighted_entries_by_hand() -> None:
    """z = 0: every entry of BCE is ln 2, of ZLPR e^±z = 1; the weights are 1/4, 1/2 and 1."""
    logits, targets = torch.zeros(1, 3), torch.tensor([[1, 0, 1]])
    weights = torch.tensor([[0.25, 0.5, 1.0]])
    bce, zlpr = (make_loss(name, [4, 4, 4], 8, reduction="sum") for name in ("bce", "zlpr"))
    assert bce(logits, targets, weights).item() == pytest.approx(1.75 * LN2)
    assert zlpr(logits, targets, weights).item() == pytest.approx(3 * math.log(2.25 * 1.5))


def test_zlpr_by_hand() -> None:
    """z = (ln 2, −ln 3, 0), labels 0 and 2 positive: ln(1 + 1/2 + 1) + ln(1 + 1/3)."""
    logits = torch.tensor([[LN2, -LN3, 0.0], [LN2, LN3, 0.0]])
    targets = torch.tensor([[1, 0, 1], [0, 0, 0]])
    first, without_label = math.log(2.5 * 4 / 3), math.log(1 + 2 + 3 + 1)
    loss = make_loss("zlpr", CLASS_FREQ, N_DOCS)
    assert loss(logits[:1], targets[:1]).item() == pytest.approx(first)
    assert loss(logits, targets).item() == pytest.approx((first + without_label) / 2)


def plain_chain(
    z: Tensor, y: Tensor, n: Tensor, n_docs: int, *, weights: str, ntr: bool, gamma: float
) -> Tensor:
    """The equations of the design, term by term, differentiated by autograd."""
    nu = 0.05 * torch.log(n_docs / n - 1) if ntr else torch.zeros_like(n)
    scale = 2.0 if ntr else 1.0
    p_pos, p_neg = torch.sigmoid(z - nu), torch.sigmoid(scale * (z - nu))
    positive = -((1 - p_pos) ** gamma) * torch.log(p_pos)
    negative = -(p_neg**gamma) * torch.log(1 - p_neg) / scale
    loss = y * positive + (1 - y) * negative
    if weights == "cb":
        loss = loss * (1 - 0.9) / (1 - 0.9**n)
    if weights == "rebalanced":
        per_class = 1 / (len(n) * n)
        per_instance = (y / n).sum(1, keepdim=True) / len(n)
        loss = loss * (0.1 + torch.sigmoid(10 * (per_class / per_instance - 0.9)))
    return loss.mean()


CHAINS = {
    "bce": ("none", False, 0),
    "focal": ("none", False, 2),
    "cb": ("cb", False, 2),
    "r_fl": ("rebalanced", False, 2),
    "ntr_fl": ("none", True, 2),
    "db_0fl": ("rebalanced", True, 0),
    "cb_ntr": ("cb", True, 2),
    "db": ("rebalanced", True, 2),
}


@pytest.mark.parametrize("name", CHAINS)
@given(seed=st.integers(0, 2**32), n_labels=st.integers(1, 40), batch=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_fused_family_equals_a_plain_chain(name: str, seed: int, n_labels: int, batch: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(batch, n_labels, generator=generator, dtype=torch.float64)
    y = (torch.rand(batch, n_labels, generator=generator) < 0.3).double()
    n = torch.randint(1, 500, (n_labels,), generator=generator).double()
    weights, ntr, gamma = CHAINS[name]
    results = []
    for loss in (
        lambda z: plain_chain(z, y, n, 501, weights=weights, ntr=ntr, gamma=gamma),
        lambda z: make_loss(name, n.numpy(), 501)(z, y),
    ):
        leaf = z.clone().requires_grad_()
        value = loss(leaf)
        results.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-12)
