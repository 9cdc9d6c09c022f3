"""The bootstrap against a plain loop over repeated documents, and its invariants."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.metrics as sk

from longtail.errors import DataError, ParameterError
from longtail.evaluation import intervals as bootstrap
from longtail.evaluation.intervals import intervals, paired_differences
from longtail.evaluation.metrics import METRICS, SET_METRICS


def sample(seed, n_docs=50, n_labels=8, quality=0.8):
    rng = np.random.default_rng(seed)
    targets = rng.random((n_docs, n_labels)) < np.geomspace(0.5, 0.04, n_labels)
    targets[0] = True
    right = rng.random(targets.shape) < quality
    return np.where(right, targets, rng.random(targets.shape) < 0.2), targets


def draws(n_docs, n_draws, seed):
    rng = np.random.default_rng(seed)
    return [rng.integers(n_docs, size=n_docs) for _ in range(n_draws)]


def naive(name, predicted, targets, rows):
    """One draw by repeating rows; labels without a target in the draw keep their full F1."""
    if not name.startswith("macro") and name != "labels_with_f1":
        return METRICS[name](predicted[rows], targets[rows])
    ratio = {"macro_precision": sk.precision_score, "macro_recall": sk.recall_score}.get(
        name, sk.f1_score
    )
    drawn, full = (
        ratio(t, p, average=None, zero_division=0)
        for p, t in ((predicted[rows], targets[rows]), (predicted, targets))
    )
    values = np.where(targets[rows].any(axis=0), drawn, full)
    return (values > 0).sum() if name == "labels_with_f1" else values.mean()


@pytest.mark.parametrize("name", SET_METRICS)
def test_intervals_equal_a_plain_loop(name):
    predicted, targets = sample(0)
    mask = np.arange(8) >= 3
    found = intervals(
        predicted,
        sp.csr_matrix(targets),
        [name],
        label_masks={"all": np.ones(8, bool), "rare": mask},
        n_draws=40,
        seed=5,
        level=0.9,
    )
    for slice_name, columns in {"all": np.ones(8, bool), "rare": mask}.items():
        p, t = predicted[:, columns], targets[:, columns]
        values = [naive(name, p, t, rows) for rows in draws(50, 40, 5)]
        estimate = METRICS[name](p, t)
        most = columns.sum() if name == "labels_with_f1" else 1
        moved = np.quantile(values, [0.05, 0.95]) + estimate - np.mean(values)
        low, high = np.clip(moved, 0, most)
        assert found[slice_name][name] == pytest.approx(
            {"estimate": estimate, "low": low, "high": high}, abs=1e-12
        )


@pytest.mark.parametrize("name", SET_METRICS)
def test_paired_differences_equal_a_plain_loop(name):
    a, targets = sample(0)
    b = sample(0, quality=0.5)[0]
    found = paired_differences(a, b, targets, [name], n_draws=40, seed=5)["all"][name]
    values = [
        naive(name, a, targets, rows) - naive(name, b, targets, rows) for rows in draws(50, 40, 5)
    ]
    low, high = np.quantile(values, [0.025, 0.975])
    score_a, score_b = METRICS[name](a, targets), METRICS[name](b, targets)
    expected = {"a": score_a, "b": score_b, "difference": score_a - score_b}
    assert found == pytest.approx({**expected, "low": low, "high": high}, abs=1e-12)


def test_block_size_and_other_metrics_change_no_draw(monkeypatch):
    predicted, targets = sample(1)
    whole = intervals(predicted, targets, list(SET_METRICS), n_draws=30)["all"]
    monkeypatch.setattr(bootstrap, "DRAW_BYTES", 7 * 8 * 50)
    blocked = intervals(predicted, targets, ["macro_f1"], n_draws=30)["all"]
    assert blocked["macro_f1"] == pytest.approx(whole["macro_f1"], abs=1e-12)


def test_a_model_does_not_differ_from_itself_and_swapping_changes_the_sign():
    a, targets = sample(2)
    b = sample(2, quality=0.4)[0]
    same = paired_differences(a, a, targets, list(SET_METRICS), n_draws=50)["all"]
    assert all(row["difference"] == row["low"] == row["high"] == 0 for row in same.values())
    there = paired_differences(a, b, targets, ["micro_f1"], n_draws=50)["all"]["micro_f1"]
    back = paired_differences(b, a, targets, ["micro_f1"], n_draws=50)["all"]["micro_f1"]
    assert there["difference"] > 0.1
    assert there["low"] == pytest.approx(-back["high"])


def test_pairing_narrows_the_interval():
    a, targets = sample(3, n_docs=400)
    b = a.copy()
    b[:40, 0] = ~b[:40, 0]
    paired = paired_differences(a, b, targets, ["micro_f1"])["all"]["micro_f1"]
    alone = intervals(a, targets, ["micro_f1"])["all"]["micro_f1"]
    assert paired["low"] > 0
    assert paired["high"] - paired["low"] < 0.7 * (alone["high"] - alone["low"])


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """40 samples of a known population: 95% intervals hold its micro-F1 in 34 or more."""
    predicted, targets = sample(4, n_docs=20_000)
    truth = METRICS["micro_f1"](predicted, targets)
    covered = 0
    for seed in range(40):
        rows = np.random.default_rng(seed).choice(20_000, 300, replace=False)
        row = intervals(predicted[rows], targets[rows], ["micro_f1"], n_draws=200)["all"]
        covered += row["micro_f1"]["low"] <= truth <= row["micro_f1"]["high"]
    assert covered >= 34


def test_rare_labels_do_not_pull_the_macro_interval_off_the_estimate():
    """30 labels with one document each, all right: every draw misses a third, the F1 stays 1."""
    targets = np.vstack([np.eye(30, dtype=bool)] + [np.zeros((70, 30), bool)])
    row = intervals(targets, targets, ["macro_f1", "labels_with_f1"], n_draws=100)["all"]
    assert row["macro_f1"] == {"estimate": 1.0, "low": 1.0, "high": 1.0}
    assert row["labels_with_f1"] == {"estimate": 30.0, "low": 30.0, "high": 30.0}


def test_an_interval_holds_its_estimate_however_rare_the_labels():
    """60 labels with three documents, one of them found: draws can only lose the one."""
    targets = np.vstack([np.repeat(np.eye(60, dtype=bool), 3, axis=0), np.zeros((120, 60), bool)])
    predicted = targets & (np.arange(300) % 3 == 0)[:, None]
    for metric in ("macro_f1", "macro_precision", "labels_with_f1"):
        row = intervals(predicted, targets, [metric])["all"][metric]
        assert row["low"] < row["estimate"] or row["estimate"] == row["high"]
        assert row["low"] <= row["estimate"] <= row["high"] <= max(1, 60 * ("labels" in metric))


def test_an_empty_slice_is_zero_not_nan():
    predicted, targets = sample(0)
    masks = {"none": np.zeros(8, bool)}
    rows = intervals(predicted, targets, list(SET_METRICS), label_masks=masks, n_draws=5)["none"]
    assert all(row == {"estimate": 0.0, "low": 0.0, "high": 0.0} for row in rows.values())


def test_broken_input_is_rejected():
    predicted, targets = sample(0)
    with pytest.raises(ParameterError, match="Did you mean 'micro_f1'"):
        intervals(predicted, targets, ["micro_f"])
    with pytest.raises(ParameterError, match="n_draws"):
        intervals(predicted, targets, ["micro_f1"], n_draws=0)
    with pytest.raises(ParameterError, match="level"):
        intervals(predicted, targets, ["micro_f1"], level=95)
    with pytest.raises(ParameterError, match="label mask 'x'"):
        intervals(predicted, targets, ["micro_f1"], label_masks={"x": np.arange(3)})
    with pytest.raises(DataError, match="no document"):
        intervals(predicted[:0], targets[:0], ["micro_f1"])
