"""Common tests over the registry: what every loss must do, whatever its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from longtail.errors import DataError, ParameterError
from longtail.losses import LOSSES, loss_options, make_loss, sigmoid

# Labels seen never, once, sometimes, and in every document; the last document has no label.
N_DOCS = 40
CLASS_FREQ = [0, 1, 3, 12, 39, 40]
TARGETS = torch.tensor(
    [
        [0, 1, 0, 1, 0, 1],
        [0, 0, 1, 0, 1, 1],
        [0, 0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0],
    ]
)
# Options under which a loss must be plain BCE.
NEUTRAL = {
    "bce": {"pos_weight": [1.0] * 6},
    "weighted_bce": {"temperature": float("inf")},
    "focal": {"gamma": 0},
    "cb": {"gamma": 0, "beta": 0},
    "r_fl": {"gamma": 0, "alpha": 0.5, "beta": 0},
    "ntr_fl": {"gamma": 0, "kappa": 0, "neg_scale": 1},
    "db_0fl": {"alpha": 0.5, "beta": 0, "kappa": 0, "neg_scale": 1},
    "cb_ntr": {"gamma": 0, "beta": 0, "kappa": 0, "neg_scale": 1},
    "db": {"gamma": 0, "alpha": 0.5, "beta": 0, "kappa": 0, "neg_scale": 1},
    "asl": {"gamma_pos": 0, "gamma_neg": 0, "margin": 0},
    "logit_adjusted": {"tau": 0},
}
# Every option path that changes the computation, each held to the same rules as the defaults.
VARIANTS = [(name, {}) for name in LOSSES] + [
    ("bce", {"pos_weight": [0.5, 1, 2, 3, 0, 7]}),
    ("focal", {"gamma": 0.5, "reweight": "inverse"}),
    ("focal", {"gamma": 1, "reweight": "sqrt_inverse", "weight_norm": "instance"}),
    ("cb", {"mode": "average_n"}),
    ("cb", {"mode": "average_w", "weight_norm": "instance"}),
    ("cb_ntr", {"mode": "min_n", "neg_scale": 3.5, "kappa": 1}),
    ("db", {"weight_norm": "instance", "mu": 0.05}),
    ("db", {"gamma": 1.7, "neg_scale": 0.5, "reduction": "sum", "loss_weight": 3}),
    ("asl", {"gamma_pos": 0.5, "gamma_neg": 0.5}),
    ("asl", {"gamma_pos": 1, "gamma_neg": 2, "margin": 0}),
    ("asl", {"gamma_pos": 0.5, "gamma_neg": 0.5, "margin": 0}),
]
every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS)
every_loss = pytest.mark.parametrize("name", LOSSES)


def draw_logits(scale: float = 2.0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    logits = scale * torch.randn(TARGETS.shape, generator=generator, dtype=torch.float64)
    return logits.to(dtype).requires_grad_()


def value_and_grad(
    loss: torch.nn.Module, logits: torch.Tensor, targets: torch.Tensor = TARGETS
) -> tuple[torch.Tensor, torch.Tensor]:
    value = loss(logits, targets)
    (grad,) = torch.autograd.grad(value, logits)
    return value.detach(), grad


@every_variant
def test_gradient_is_the_derivative_of_the_value(name: str, options: dict) -> None:
    loss = make_loss(name, CLASS_FREQ, N_DOCS, **options)
    assert torch.autograd.gradcheck(lambda z: loss(z, TARGETS), draw_logits(), atol=1e-8)


OWN = torch.linspace(0.05, 1.5, TARGETS.numel(), dtype=torch.float64).reshape(TARGETS.shape)


@every_variant
def test_gradient_is_the_derivative_of_the_weighted_value(name: str, options: dict) -> None:
    loss = make_loss(name, CLASS_FREQ, N_DOCS, **options)
    assert torch.autograd.gradcheck(lambda z: loss(z, TARGETS, OWN), draw_logits(), atol=1e-8)


@every_variant
def test_an_entry_counts_by_its_weight(name: str, options: dict) -> None:
    """The gradient of an entry is its weight times that without weights, but for ZLPR's logs."""
    loss, logits = make_loss(name, CLASS_FREQ, N_DOCS, **options), draw_logits()
    _, grad = value_and_grad(loss, logits)
    (own,) = torch.autograd.grad(loss(logits, TARGETS, OWN), logits)
    if name != "zlpr":
        torch.testing.assert_close(own, OWN * grad)
    (ones,) = torch.autograd.grad(loss(logits, TARGETS, torch.ones_like(OWN)), logits)
    assert torch.equal(ones, grad)


@every_variant
def test_an_entry_that_counts_nothing_has_no_slope(name: str, options: dict) -> None:
    """Document 0 as a whole, and what else the weights leave out."""
    loss, logits = make_loss(name, CLASS_FREQ, N_DOCS, **options), draw_logits()
    own = torch.where(OWN > 0.7, OWN, 0)
    value = loss(logits, TARGETS, own)
    (slope,) = torch.autograd.grad(value, logits)
    assert not own[0].any() and value.isfinite()
    assert slope[own == 0].abs().max() == 0
    assert slope[own > 0].isfinite().all() and slope.abs().max() > 0


@pytest.mark.parametrize("name", NEUTRAL)
def test_weights_under_neutral_settings_are_those_of_bce(name: str) -> None:
    logits = draw_logits()
    value = make_loss(name, CLASS_FREQ, N_DOCS, **NEUTRAL[name])(logits, TARGETS, OWN)
    expected = F.binary_cross_entropy_with_logits(logits, TARGETS.double(), OWN)
    torch.testing.assert_close(value, expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_settings_are_bce(name: str) -> None:
    logits = draw_logits(4.0)
    value, grad = value_and_grad(make_loss(name, CLASS_FREQ, N_DOCS, **NEUTRAL[name]), logits)
    expected = F.binary_cross_entropy_with_logits(logits, TARGETS.double())
    torch.testing.assert_close(value, expected.detach(), rtol=1e-7, atol=0)
    torch.testing.assert_close(grad, torch.autograd.grad(expected, logits)[0], rtol=1e-7, atol=0)


def test_zlpr_of_one_label_is_bce_and_every_loss_has_a_neutral_setting() -> None:
    assert set(LOSSES) == {*NEUTRAL, "zlpr"}
    logits, targets = torch.tensor([[1.5], [-0.5]]), torch.tensor([[1.0], [0.0]])
    torch.testing.assert_close(
        make_loss("zlpr", [1], 2)(logits, targets),
        F.binary_cross_entropy_with_logits(logits, targets),
    )


@every_variant
def test_label_order_does_not_matter(name: str, options: dict) -> None:
    order = torch.tensor([3, 5, 0, 2, 4, 1])
    shuffled = dict(options)
    if "pos_weight" in options:
        shuffled["pos_weight"] = [options["pos_weight"][i] for i in order]
    logits = draw_logits()
    value, grad = value_and_grad(make_loss(name, CLASS_FREQ, N_DOCS, **options), logits)
    other = make_loss(name, [CLASS_FREQ[i] for i in order], N_DOCS, **shuffled)
    moved = logits.detach()[:, order].requires_grad_()
    moved_value, moved_grad = value_and_grad(other, moved, TARGETS[:, order])
    torch.testing.assert_close(moved_value, value)
    torch.testing.assert_close(moved_grad, grad[:, order])


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits_are_finite_and_half_precision_is_computed_in_float32(
    name: str, options: dict, dtype: torch.dtype
) -> None:
    logits = draw_logits(2.0, dtype)
    with torch.no_grad():
        logits[:, 1] = 200  # σ is exactly 1 or 0 in float32
        logits[:, 2] = -200
        logits[:, 3] = 20
        logits[:, 4] = 100
        logits[:, 5] = -100
    loss = make_loss(name, CLASS_FREQ, N_DOCS, **options)
    with torch.autocast("cpu", torch.bfloat16):
        value, grad = value_and_grad(loss, logits)
    exact = logits.detach().double().requires_grad_()
    exact_value, exact_grad = value_and_grad(loss, exact)
    assert value.dtype == torch.float32 and grad.dtype == dtype
    assert grad.isfinite().all()
    torch.testing.assert_close(value.double(), exact_value, rtol=2e-6, atol=0)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(grad.double(), exact_grad, rtol=max(2 * eps, 1e-5), atol=6e-8)


@every_variant
def test_each_entry_pulls_its_logit_toward_its_target(name: str, options: dict) -> None:
    _, grad = value_and_grad(make_loss(name, CLASS_FREQ, N_DOCS, **options), draw_logits())
    assert (grad[TARGETS == 1] <= 0).all() and (grad[TARGETS == 0] >= 0).all()
    assert grad.count_nonzero() >= 20  # bce's variant leaves one label out, asl easy negatives


@every_variant
def test_inputs_are_left_alone_and_backward_can_be_repeated(name: str, options: dict) -> None:
    logits, targets = draw_logits(), TARGETS.double()
    before, version = logits.detach().clone(), logits._version
    value = make_loss(name, CLASS_FREQ, N_DOCS, **options)(logits, targets)
    (first,) = torch.autograd.grad(value, logits, retain_graph=True)
    (tripled,) = torch.autograd.grad(3 * value, logits)
    assert torch.equal(logits, before) and logits._version == version
    assert torch.equal(targets, TARGETS.double()) and targets._version == 0
    torch.testing.assert_close(tripled, 3 * first)


@every_variant
def test_sum_over_micro_batches_divided_by_all_entries_is_the_mean(
    name: str, options: dict
) -> None:
    """What gradient accumulation in transformers' Trainer relies on."""
    logits, options = draw_logits(), {**options, "reduction": "sum"}
    summed = make_loss(name, CLASS_FREQ, N_DOCS, **options)
    mean = make_loss(name, CLASS_FREQ, N_DOCS, **{**options, "reduction": "mean"})
    parts = summed(logits[:2], TARGETS[:2]) + summed(logits[2:], TARGETS[2:])
    torch.testing.assert_close(parts / TARGETS.numel(), mean(logits, TARGETS))


@every_variant
def test_small_blocks_give_the_same_result(
    name: str, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, logits = make_loss(name, CLASS_FREQ, N_DOCS, **options), draw_logits()
    expected = value_and_grad(loss, logits)
    monkeypatch.setattr(sigmoid, "BLOCK", 13)  # two rows of six
    torch.testing.assert_close(value_and_grad(loss, logits), expected)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16])
def test_targets_of_any_dtype(name: str, dtype: torch.dtype) -> None:
    loss, logits = make_loss(name, CLASS_FREQ, N_DOCS), draw_logits()
    assert loss(logits, TARGETS.to(dtype)) == loss(logits, TARGETS.double())


@every_loss
@pytest.mark.parametrize("bad", [0.5, -100, 2, float("nan")])
def test_other_targets_than_0_and_1_are_rejected(name: str, bad: float) -> None:
    targets = TARGETS.double().clone()
    targets[3, 4] = bad
    with pytest.raises(DataError, match=r"0 or 1, got .* at row 3, label 4"):
        make_loss(name, CLASS_FREQ, N_DOCS)(draw_logits(), targets)


@every_loss
def test_wrong_shapes_are_rejected(name: str) -> None:
    loss, logits = make_loss(name, CLASS_FREQ, N_DOCS), draw_logits()
    with pytest.raises(DataError, match=r"logits must have shape \(batch, 6\), got \(5, 5\)"):
        loss(logits[:, :5], TARGETS[:, :5])
    with pytest.raises(DataError, match=r"got \(0, 6\)"):
        loss(logits[:0], TARGETS[:0])
    with pytest.raises(DataError, match=r"targets .* shape of logits, \(5, 6\), got \(5, 1\)"):
        loss(logits, TARGETS[:, :1])
    with pytest.raises(DataError, match=r"weights .* shape of logits, \(5, 6\), got \(5, 1\)"):
        loss(logits, TARGETS, OWN[:, :1])


@every_variant
def test_buffers_move_with_the_module_and_stay_out_of_the_state(name: str, options: dict) -> None:
    loss = make_loss(name, CLASS_FREQ, N_DOCS, **options)
    assert loss.state_dict() == {} and not list(loss.parameters())
    assert all(buffer.is_meta for buffer in loss.to("meta").buffers())
    stray = [v for part in loss.modules() for v in vars(part).values() if torch.is_tensor(v)]
    assert not stray  # a tensor that is not a buffer would stay behind


@every_loss
def test_loss_weight_multiplies(name: str) -> None:
    weighted = make_loss(name, CLASS_FREQ, N_DOCS, loss_weight=2.5)
    plain, logits = make_loss(name, CLASS_FREQ, N_DOCS), draw_logits()
    torch.testing.assert_close(weighted(logits, TARGETS), 2.5 * plain(logits, TARGETS))


@every_loss
def test_every_option_is_listed_with_the_default_that_make_loss_uses(name: str) -> None:
    options, logits = loss_options(name), draw_logits()
    assert "freq" not in options
    spelled_out = make_loss(name, CLASS_FREQ, N_DOCS, **options)
    plain = make_loss(name, CLASS_FREQ, N_DOCS)
    assert torch.equal(spelled_out(logits, TARGETS), plain(logits, TARGETS))
    with pytest.raises(ParameterError, match=f"option of loss '{name}' 'none_such'"):
        make_loss(name, CLASS_FREQ, N_DOCS, none_such=1)


def test_the_losses_that_take_mu_say_so() -> None:
    assert {name for name in LOSSES if "mu" in loss_options(name)} == {"r_fl", "db", "db_0fl"}
    assert loss_options("zlpr") == {}
    with pytest.raises(ParameterError, match=r"Unknown loss 'focl'\. Did you mean 'focal'\?"):
        loss_options("focl")


def test_misspelled_names_list_the_valid_ones() -> None:
    with pytest.raises(ParameterError, match=r"'focl'\. Did you mean 'focal'\?.* cb_ntr, db, "):
        make_loss("focl", CLASS_FREQ, N_DOCS)
    with pytest.raises(
        ParameterError,
        match=r"loss 'db' 'gama'\. Did you mean 'gamma'\? "
        "Valid: alpha, beta, gamma, kappa, loss_weight, mu, neg_scale, reduction",
    ):
        make_loss("db", CLASS_FREQ, N_DOCS, gama=2)
    with pytest.raises(ParameterError, match="'focal' 'mu'"):  # belongs to another loss
        make_loss("focal", CLASS_FREQ, N_DOCS, mu=0.5)
    for name, option, valid in [
        ("cb", "mode", "average_n, average_w, class, min_n"),
        ("db", "weight_norm", "batch, instance"),
        ("focal", "reweight", "inverse, sqrt_inverse"),
        ("bce", "reduction", "mean, sum"),
    ]:
        with pytest.raises(ParameterError, match=f"'wrong'.* Valid: {valid}"):
            make_loss(name, CLASS_FREQ, N_DOCS, **{option: "wrong"})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("focal", {"gamma": -1}),
        ("db", {"gamma": float("nan")}),
        ("cb", {"beta": 1}),
        ("r_fl", {"mu": "auto"}),
        ("ntr_fl", {"neg_scale": 0}),
        ("asl", {"margin": 1}),
        ("weighted_bce", {"floor": 3, "cap": 2}),
        ("weighted_bce", {"temperature": 0}),
        ("bce", {"pos_weight": [1, 2]}),
        ("bce", {"pos_weight": [1, 1, 1, 1, 1, float("nan")]}),
        ("bce", {"loss_weight": True}),
        ("focal", {"weight_norm": "instance"}),
    ],
)
def test_values_out_of_range_are_rejected_by_name(name: str, options: dict) -> None:
    with pytest.raises(ParameterError, match=list(options)[-1]):
        make_loss(name, CLASS_FREQ, N_DOCS, **options)


@pytest.mark.parametrize(
    ("class_freq", "train_num", "message"),
    [
        ([1, float("nan")], 9, r"class_freq\[1\] .* got nan"),
        ([1, -1], 9, r"class_freq\[1\]"),
        ([10, 2], 9, r"class_freq\[0\] must be from 0 to train_num = 9, got 10"),
        ([[1, 2]], 9, r"\(n_labels,\), got \(1, 2\)"),
        ([], 9, "n_labels"),
        ([1], 1, "train_num .* got 1"),
        ([1], float("nan"), "train_num"),
    ],
)
def test_impossible_frequencies_are_rejected(
    class_freq: list, train_num: int, message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        make_loss("db", class_freq, train_num)


def test_zlpr_of_some_labels_is_near_that_of_all():
    """Its sum over labels is inside a logarithm, so it is not exact; once it was a share of it."""
    torch.manual_seed(0)
    logits, targets = torch.randn(8, 2000), torch.zeros(8, 2000)
    targets[:, 0] = 1
    for reduction in ("mean", "sum"):
        loss = make_loss("zlpr", [5.0] * 2000, N_DOCS, reduction=reduction)
        drawn = []
        for _ in range(50):
            some = torch.cat([torch.tensor([0]), 1 + torch.randperm(1999)[:199]])
            counts = torch.where(some == 0, 1.0, 1999 / 199).expand(8, -1)
            drawn.append(loss.of_labels(some)(logits[:, some], targets[:, some], counts))
        whole = loss(logits, targets)
        torch.testing.assert_close(torch.stack(drawn).mean(), whole, rtol=0.01, atol=0)


SEPARABLE = [(n, o) for n, o in VARIANTS if n != "zlpr" and "weight_norm" not in o]


@pytest.mark.parametrize(("name", "options"), SEPARABLE)
def test_the_parts_that_labels_have_add_up(name, options):
    """Labels 1, 3, and 5 are all that the documents have, as they must be in every part."""
    loss = make_loss(name, CLASS_FREQ, N_DOCS, **options)
    logits, rows = draw_logits(), [0, 2, 4]

    def part(*columns: int) -> torch.Tensor:
        chosen = torch.tensor(columns)
        return loss.of_labels(chosen)(logits[rows][:, chosen], TARGETS[rows][:, chosen])

    whole = loss(logits[rows], TARGETS[rows])
    parts = [part(0, 1, 3, 5), part(1, 2, 3, 5), part(1, 3, 4, 5)]
    torch.testing.assert_close(sum(parts) - 2 * part(1, 3, 5), whole)
    [slope] = torch.autograd.grad(part(1, 2, 3, 5), logits)
    [expected] = torch.autograd.grad(whole, logits)
    torch.testing.assert_close(slope[:, [1, 2, 3, 5]], expected[:, [1, 2, 3, 5]])
    assert not slope[:, [0, 4]].any()
    torch.testing.assert_close(loss(logits[rows], TARGETS[rows]), whole)
