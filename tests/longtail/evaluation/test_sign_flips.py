"""The sign-flip test against a plain loop over swapped predictions, and its error rates."""

import numpy as np
import pytest
import scipy.sparse as sp

from longtail.errors import DataError, ParameterError
from longtail.evaluation import sign_flips
from longtail.evaluation.metrics import METRICS, SET_METRICS
from longtail.evaluation.sign_flips import critical_value, null_differences, paired_differences


def sample(seed, n_docs=50, n_labels=8, quality=0.8):
    rng = np.random.default_rng(seed)
    targets = rng.random((n_docs, n_labels)) < np.geomspace(0.5, 0.04, n_labels)
    targets[0] = True
    right = rng.random(targets.shape) < quality
    return np.where(right, targets, rng.random(targets.shape) < 0.2), targets


def signs_of(keys, n_draws):
    """The sign of every key in every draw, drawn one key at a time."""
    rows = [np.hstack(list(sign_flips._signs([key], n_draws, (1, 1))))[0] for key in keys]
    return dict(zip(keys, rows, strict=True))


@pytest.mark.parametrize("name", SET_METRICS)
def test_null_differences_equal_a_plain_loop_over_swapped_predictions(name):
    a, targets = sample(0)
    b = sample(0, quality=0.5)[0]
    groups = [f"g{row // 3}" for row in range(50)]
    masks = {"all": np.ones(8, bool), "rare": np.arange(8) >= 3}
    found = null_differences(a, b, targets, [name], label_masks=masks, groups=groups, n_draws=21)
    signs = signs_of(sorted(set(groups)), 21)
    for slice_name, columns in masks.items():
        truth = targets[:, columns]
        null = found[slice_name][name]
        assert null.a == pytest.approx(METRICS[name](a[:, columns], truth))
        assert null.b == pytest.approx(METRICS[name](b[:, columns], truth))
        for draw in range(21):
            keep = np.array([signs[group][draw] > 0 for group in groups])[:, None]
            left, right = np.where(keep, a, b)[:, columns], np.where(keep, b, a)[:, columns]
            expected = METRICS[name](left, truth) - METRICS[name](right, truth)
            assert null.differences[draw] == pytest.approx(expected, abs=1e-12)


def test_the_mean_of_micro_and_macro_f1_is_a_metric():
    a, targets = sample(1)
    micro, macro, mean = (METRICS[f"{name}_f1"](a, targets) for name in ("micro", "macro", "mean"))
    assert mean == (micro + macro) / 2


def test_a_group_is_swapped_alike_in_every_comparison():
    """So that the differences of many nights can be followed draw by draw."""
    a, targets = sample(2)
    groups = [f"doc{row}" for row in range(50)]
    b = a.copy()
    b[7] = ~b[7]
    alone = null_differences(a, b, targets, ["micro_f1"], groups=groups)["all"]["micro_f1"]
    rows = np.r_[7, 20:50]
    other = null_differences(
        a[rows], b[rows], targets[rows], ["micro_f1"], groups=[groups[row] for row in rows]
    )["all"]["micro_f1"]
    assert (np.sign(alone.differences) == np.sign(other.differences)).all()
    assert 0.45 < np.mean(alone.differences > 0) < 0.55


def test_block_size_changes_no_draw(monkeypatch):
    a, targets = sample(1)
    b = sample(1, quality=0.4)[0]
    whole = null_differences(a, b, targets, ["macro_f1"])["all"]["macro_f1"]
    monkeypatch.setattr(sign_flips, "BLOCK_BYTES", 64 * 50 * 3)
    blocked = null_differences(a, b, targets, ["macro_f1"])["all"]["macro_f1"]
    assert (whole.differences == blocked.differences).all()


def test_a_model_does_not_differ_from_itself_and_swapping_changes_the_sign():
    a, targets = sample(2)
    b = sample(2, quality=0.4)[0]
    same = paired_differences(a, a, targets, list(SET_METRICS))["all"]
    assert all(row["difference"] == row["low"] == row["high"] == 0 for row in same.values())
    there = paired_differences(a, b, targets, ["micro_f1"])["all"]["micro_f1"]
    back = paired_differences(b, a, targets, ["micro_f1"])["all"]["micro_f1"]
    assert there["difference"] == -back["difference"] > 0.1
    assert there["low"] == pytest.approx(-back["high"], abs=0.02)  # the same test, other draws


def passed(a, b, targets, metric, groups=None):
    row = paired_differences(a, b, targets, [metric], groups=groups, level=0.92, n_draws=499)
    return row["all"][metric]["low"] > 0


def rare_world(rng, n_docs):
    """Two models that are equally good: 60 labels, most with one to three positives."""
    targets = rng.random((n_docs, 60)) < rng.choice([0.01, 0.02, 0.03, 0.2], 60)
    sides = [targets & (rng.random(targets.shape) < 0.5) for _ in range(2)]
    return sides[0], sides[1], targets


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1", "mean_f1"])
def test_equal_models_pass_at_the_nominal_rate_however_rare_the_labels(metric):
    """Nominal 4 %: 400 trials pass in at most 28 (7 %). A bootstrap passed macro-F1 in 20 %."""
    rng = np.random.default_rng(5)
    assert sum(passed(*rare_world(rng, 100), metric) for _ in range(400)) <= 28


def test_copies_count_once():
    """Groups of ten copies: 4 % pass if the groups are known, over 15 % if they are not."""
    rng = np.random.default_rng(6)
    known = unknown = 0
    for _ in range(200):
        a, b, targets = (np.repeat(part, 10, axis=0) for part in rare_world(rng, 30))
        known += passed(a, b, targets, "micro_f1", groups=np.repeat(np.arange(30), 10).tolist())
        unknown += passed(a, b, targets, "micro_f1")
    assert known <= 16
    assert unknown >= 30


def test_rounding_errors_do_not_break_ties():
    """Models that differ on four documents: one of 16 patterns is at least 6 %, never 4 %."""
    rng = np.random.default_rng(8)
    for _ in range(200):
        a, b, targets = rare_world(rng, 60)
        b[4:] = a[4:]
        assert not passed(a, b, targets, "macro_f1")
        assert not passed(a, b, targets, "mean_f1")


def test_pairing_finds_a_small_true_difference():
    a, targets = sample(3, n_docs=400)
    b = a.copy()
    b[:150, 0] = targets[:150, 0]
    row = paired_differences(b, a, targets, ["micro_f1"])["all"]["micro_f1"]
    assert 0 < row["low"] < row["difference"] < row["high"]


def test_the_critical_value_makes_the_test_exact():
    """Of 99 draws and the observed one, each is the largest with the same probability."""
    null = np.arange(1.0, 100.0)
    assert critical_value(null, 0.01) == 99.0  # only beyond all draws: p = 1 / 100
    assert critical_value(null, 0.05) == 95.0  # five of a hundred are beyond 95
    assert critical_value(null, 0.0599) == 95.0
    with pytest.raises(ParameterError, match="too few"):
        critical_value(null, 0.009)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        critical_value(null, 1.0)


def test_broken_input_is_rejected():
    a, targets = sample(0)
    with pytest.raises(ParameterError, match="Did you mean 'micro_f1'"):
        paired_differences(a, a, targets, ["micro_f"])
    with pytest.raises(DataError, match="expected 50 \\(one per document\\)"):
        paired_differences(a, a, targets, ["micro_f1"], groups=["x"])
    with pytest.raises(DataError, match="no document"):
        paired_differences(a[:0], a[:0], targets[:0], ["micro_f1"])
    with pytest.raises(ParameterError, match="label mask 'x'"):
        paired_differences(a, a, targets, ["micro_f1"], label_masks={"x": np.ones(3, bool)})


def test_sparse_and_dense_agree():
    a, targets = sample(0)
    b = sample(0, quality=0.5)[0]
    dense = paired_differences(a, b, targets, ["mean_f1"])
    sparse = paired_differences(*(sp.csr_matrix(m) for m in (a, b, targets)), ["mean_f1"])
    assert dense == sparse
