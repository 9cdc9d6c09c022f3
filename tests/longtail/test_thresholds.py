"""Thresholds: exhaustive search as reference, ties, dtypes, memory maps, the tail-safe rule."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score

from longtail.errors import DataError, ParameterError
from longtail.evaluation import score_blocks
from longtail.thresholds import curve, tune


def micro_f1(scores, targets, thresholds):
    predicted = np.asarray(scores, np.float64) >= thresholds
    true = np.asarray(targets, bool)
    bottom = predicted.sum() + true.sum()
    return 2 * (predicted & true).sum() / bottom if bottom else 0.0


def exhaustive(scores, targets):
    """Best micro-F1 over every distinct score used as `score >= t`."""
    return max(micro_f1(scores, targets, t) for t in np.unique(scores).astype(np.float64))


def problem(seed, n_docs=60, n_labels=7, dtype=np.float32, decimals=None):
    rng = np.random.default_rng(seed)
    targets = rng.random((n_docs, n_labels)) < np.geomspace(0.5, 0.03, n_labels)
    scores = rng.normal(size=targets.shape) + 1.5 * targets
    scores = 1 / (1 + np.exp(-scores))
    if decimals is not None:
        scores = scores.round(decimals)
    targets[0] = True
    return scores.astype(dtype), targets


cases = st.tuples(st.integers(1, 12), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(
        st.sampled_from([np.float16, np.float32, np.float64]).flatmap(
            lambda dtype: hnp.arrays(
                dtype,
                shape,
                elements=st.floats(-4, 4, width=np.dtype(dtype).itemsize * 8),
            )
        ),
        hnp.arrays(bool, shape).filter(lambda targets: targets.any()),
    )
)


@settings(max_examples=200, deadline=None)
@given(cases)
def test_global_equals_exhaustive_search(case):
    scores, targets = case
    thresholds = tune(scores, targets)
    assert np.unique(thresholds).size == 1
    assert micro_f1(scores, targets, thresholds) == exhaustive(scores, targets)


@settings(max_examples=100, deadline=None)
@given(cases)
def test_comparing_in_the_stored_dtype_changes_no_prediction(case):
    scores, targets = case
    for objective in ("global", "per_label"):
        thresholds = tune(scores, targets, objective=objective)
        wide = scores.astype(np.float64) >= thresholds
        narrow = scores >= thresholds.astype(scores.dtype)
        assert (wide == narrow).all()


def test_hand_computed():
    scores = np.array([[0.9, 0.4], [0.6, 0.2], [0.5, 0.1]])
    targets = np.array([[1, 0], [0, 0], [1, 0]])
    # cut below 0.9: 2*1/(1+2) = 2/3; below 0.5: 2*2/(3+2) = 0.8 <- best, lower ones only add wrong
    assert tune(scores, targets) == pytest.approx([0.45, 0.45])
    assert (tune(scores, targets, objective="fixed", value=0.25) == 0.25).all()


def test_of_equally_good_thresholds_the_highest_wins():
    scores = np.array([[0.9], [0.7], [0.5], [0.3]])
    targets = np.array([[1], [0], [0], [1]])
    # below 0.9: 2*1/(1+2) = 2/3; below 0.3: 2*2/(4+2) = 2/3
    assert tune(scores, targets) == pytest.approx([0.8])


def test_tied_scores_are_never_cut_apart():
    scores = np.array([[0.5], [0.5], [0.5], [0.2]])
    targets = np.array([[1], [0], [1], [0]])
    assert tune(scores, targets) == pytest.approx([0.35])


def test_scores_may_move_by_a_millionth_between_runs():
    scores, targets = problem(3, dtype=np.float64, decimals=3)
    noise = np.random.default_rng(0).uniform(-1e-6, 1e-6, scores.shape)
    for objective in ("global", "per_label"):
        thresholds = tune(scores, targets, objective=objective)
        assert ((scores >= thresholds) == (scores + noise >= thresholds)).all()


def test_lowest_score_of_all_keeps_a_margin():
    scores, targets = np.full((3, 1), 0.25), np.ones((3, 1))
    assert scores[0, 0] - 2e-6 < tune(scores, targets)[0] < scores[0, 0]


@pytest.mark.parametrize("objective", ["global", "per_label"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_blocks_and_memory_maps_change_nothing(tmp_path, monkeypatch, objective, dtype):
    scores, targets = problem(1, dtype=dtype)
    whole = tune(scores, targets, objective=objective)
    np.save(tmp_path / "scores.npy", scores)
    stored = np.load(tmp_path / "scores.npy", mmap_mode="r")
    monkeypatch.setattr(score_blocks, "BLOCK_BYTES", 2 * 60 * np.dtype(np.float64).itemsize)
    monkeypatch.setattr(score_blocks, "POSITIVES_AT_ONCE", 3)
    blocked = tune(stored, sp.csr_matrix(targets), objective=objective)
    assert (whole == blocked).all()


def test_private_changes_of_a_copy_on_write_map_survive(tmp_path):
    scores, targets = problem(1)
    np.save(tmp_path / "scores.npy", np.zeros_like(scores))
    stored = np.load(tmp_path / "scores.npy", mmap_mode="c")
    stored[:] = scores
    assert (tune(stored, targets) == tune(scores, targets)).all()
    assert (stored == scores).all()


def test_per_label_follows_the_evidence_of_a_frequent_label():
    rng = np.random.default_rng(0)
    targets = np.zeros((400, 2), bool)
    targets[:200] = True
    scores = np.where(targets, 0.8, 0.7) + rng.uniform(-0.04, 0.04, (400, 2))
    scores[:, 1] -= 0.5  # the second label lives half a point lower
    thresholds = tune(scores, targets, objective="per_label")
    assert 0.7 < thresholds[0] < 0.8
    assert 0.2 < thresholds[1] < 0.3
    assert micro_f1(scores, targets, thresholds) == 1.0


def test_per_label_does_not_chase_a_hopeless_rare_positive():
    """A rare label's only positive ranks last: SCut predicts it everywhere, tail-safe does not."""
    rng = np.random.default_rng(0)
    targets = np.zeros((300, 2), bool)
    targets[:100, 0] = True
    targets[0, 1] = True
    scores = np.where(targets, 0.8, 0.2) + rng.uniform(-0.1, 0.1, targets.shape)
    scores[0, 1] = 0.01
    safe = tune(scores, targets, objective="per_label")
    raw = [tune(scores[:, [label]], targets[:, [label]])[0] for label in (0, 1)]
    assert (scores[:, 1] >= raw[1]).sum() == 300
    assert (scores[:, 1] >= safe[1]).sum() == 0
    assert micro_f1(scores, targets, safe) > micro_f1(scores, targets, raw) + 0.3


def test_labels_with_too_little_support_get_the_global_threshold():
    scores, targets = problem(5)
    targets[:, 6] = False
    targets[:3, 6] = True
    support = targets.sum(axis=0)
    everywhere = tune(scores, targets)[0]
    own = tune(scores, targets, objective="per_label", min_support=4)
    assert own[6] == everywhere
    assert (own[support >= 4] != everywhere).any()
    assert (tune(scores, targets, objective="per_label", min_support=61) == everywhere).all()


def test_per_label_validation_f1_beats_global():
    for seed in range(5):
        scores, targets = problem(seed, n_docs=300)
        kinds = {
            kind: scores >= tune(scores, targets, objective=kind)
            for kind in ("global", "per_label")
        }
        total = {
            kind: f1_score(targets, found, average="micro", zero_division=0)
            + f1_score(targets, found, average="macro", zero_division=0)
            for kind, found in kinds.items()
        }
        assert total["per_label"] > total["global"]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_label_and_document_order_do_not_matter(seed):
    scores, targets = problem(seed)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(60), rng.permutation(7)
    support = targets.sum(axis=0)
    objectives = ["global"] if len(np.unique(support)) < 7 else ["global", "per_label"]
    for objective in objectives:
        straight = tune(scores, targets, objective=objective)
        shuffled = tune(scores[rows][:, columns], targets[rows][:, columns], objective=objective)
        assert (shuffled == straight[columns]).all()


def test_curve_holds_the_optimum_and_true_values():
    scores, targets = problem(2, n_docs=500)
    points = curve(scores, targets)
    assert all(len(column) == len(points["threshold"]) <= 200 for column in points.values())
    assert (np.diff(points["threshold"]) > 0).all()
    assert points["f1"].max() == pytest.approx(exhaustive(scores, targets), abs=1e-12)
    best = points["threshold"][np.flatnonzero(points["f1"] == points["f1"].max())[-1]]
    assert best == tune(scores, targets)[0]
    for i in (0, 57, -1):
        found = scores >= points["threshold"][i]
        assert points["precision"][i] == pytest.approx((found & targets).sum() / found.sum())
        assert points["recall"][i] == pytest.approx((found & targets).sum() / targets.sum())
    assert len(curve(scores, targets, max_points=10)["f1"]) <= 10


@pytest.mark.parametrize("objective", ["global", "per_label"])
@pytest.mark.parametrize("bad, word", [(np.nan, "NaN"), (np.inf, "infinity")])
def test_broken_scores_are_rejected_by_name(objective, bad, word):
    scores, targets = problem(0)
    scores[59, 3] = bad
    targets[59, 3] = False
    with pytest.raises(DataError, match=word):
        tune(scores, targets, objective=objective)


def test_broken_input_is_rejected():
    scores, targets = problem(0)
    with pytest.raises(ParameterError, match="Did you mean 'global'"):
        tune(scores, targets, objective="globl")
    with pytest.raises(DataError, match="no positive"):
        tune(scores, np.zeros_like(targets))
    with pytest.raises(DataError, match=r"targets has shape \(59, 7\), expected \(60, 7\)"):
        tune(scores, targets[1:])
    with pytest.raises(DataError, match="only 0 and 1, got 2"):
        tune(scores, targets * 2)
    with pytest.raises(DataError, match="float array"):
        tune(targets.astype(int), targets)
    with pytest.raises(ParameterError, match="min_support"):
        tune(scores, targets, objective="per_label", min_support=0)
    with pytest.raises(ParameterError, match="value must be a finite"):
        tune(scores, targets, objective="fixed", value=float("nan"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_between_adjacent_numbers_the_score_itself_is_the_threshold(dtype):
    """Halfway between two neighboring numbers rounds to the even one, here the lower one."""
    lower = dtype(0.5)
    scores = np.array([[lower], [np.nextafter(lower, dtype(1))]])
    assert scores[0, 0].view(f"u{lower.itemsize}") % 2 == 0
    threshold = tune(scores, np.array([[0], [1]]))
    assert (scores >= threshold.astype(dtype)).ravel().tolist() == [False, True]
    assert threshold[0] == scores[1, 0]


def test_a_rare_label_pays_for_its_false_positives(monkeypatch):
    """Alone, 1 hit in 30 predictions beats none (F1 2/31), but 1 in 5 is worth its price.

    On 100 clean positives, 1 in 30 costs 200/201 - 202/231 = 0.12 of micro-F1 for 1/31 of macro-F1.
    """
    monkeypatch.setattr("longtail.thresholds.PRIOR_POSITIVES", 0.0)
    scores, targets = np.full((300, 2), 0.01), np.zeros((300, 2), bool)
    scores[:100, 0], targets[:100, 0] = 0.9, True
    scores[:30, 1] = 0.5 - np.arange(30) / 100
    for rank, n_pred in ((29, 0), (4, 5)):
        targets[:, 1] = np.arange(300) == rank
        thresholds = tune(scores, targets, objective="per_label")
        assert (scores >= thresholds).sum(axis=0).tolist() == [100, n_pred]
