"""The quality figures against hand computation, loops written from the papers, and the library."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.errors import DataError
from longtail.splitting.iterative import iterative_split, reachable_sizes
from longtail.splitting.quality import quality

# Label a in documents 0-3, b in 0, 1, 4; parts: train 0, 2, 3, 5; val 4; test 1.
LABELS = sp.csr_matrix([[1, 1], [1, 1], [1, 0], [1, 0], [0, 1], [0, 0]])
PART = np.array([0, 2, 0, 0, 1, 0])
THREE = (0.6, 0.2, 0.2)
COULD_MOVE = "a free group could move here, but this method did not find it"
LAST_ONES = "each of its free groups is the last one of some label in its part"
STUCK = "no free group can move here alone without breaking sizes or another label's coverage"


def test_hand_computed_figures():
    """a: 3, 0, 1 of 4 in parts of 4, 1, 1; b: 1, 1, 1 of 3.

    share deviation: a |.75-.6| + |0-.2| + |.25-.2| = .4; b |1/3-.6| + 2|1/3-.2| = 8/15; / 6.
    rLD: a (|.75-2/3| + 2/3 + 1/3) / (2/3) = 1.625; b (|.25-.5| + .5 + .5) / .5 = 2.5; / 6.
    LD: a odds 3, 0, and 1 of 1 counted as 0 of 1, against 2: 1 + 2 + 2; b odds 1/3, 0, 0
    against 1: 2/3 + 1 + 1; / 6.
    DCP: a max(.15, -.2, .05); b max(1/3 - .2); / 2.
    """
    report = quality(LABELS, PART, THREE)
    assert report["label_share_deviation"] == pytest.approx((0.4 + 8 / 15) / 6, abs=1e-9)
    assert report["rld"] == pytest.approx((1.625 + 2.5) / 6, abs=1e-9)
    assert report["ld"] == pytest.approx((5 + 8 / 3) / 6, abs=1e-9)
    assert report["dcp"] == pytest.approx((0.15 + (1 / 3 - 0.2)) / 2, abs=1e-9)
    # the one pair (a, b) is in documents 0 (train) and 1 (test): two groups, so no val is needed
    assert report["pairs"] == {
        "count": 1,
        "share_deviation": pytest.approx((0.1 + 0.2 + 0.3) / 3),
        "missing": {"train": 0, "val": 0, "test": 0},
    }
    assert report["sizes"]["train"] == {
        "fraction": 0.6,
        "docs_wanted": 3.6,
        "docs": 4,
        "groups_wanted": 3.6,
        "groups": 4,
    }
    assert report["groups_apart"] == 0


def test_missing_labels_carry_their_reason():
    report = quality(LABELS, PART, THREE)
    assert report["missing"]["train"] == report["missing"]["test"] == []
    # document 2 could go to val, since 0 and 3 hold a in train: 3/2/1 is near 3.6/1.2/1.2
    assert report["missing"]["val"] == [{"label": 0, "groups": 4, "reason": COULD_MOVE}]
    frozen = quality(LABELS, PART, THREE, fixed=np.array([0, 2, 0, 0, -1, -1]))
    assert frozen["missing"]["val"][0]["reason"] == "all its groups are frozen in other parts"


def test_reason_when_each_group_holds_another_label_alone():
    labels = sp.csr_matrix([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]])
    report = quality(labels, [0, 0, 0], (0.5, 0.5))
    reasons = {m["label"]: m["reason"] for m in report["missing"]["test"]}
    # every document is the last of its own label b, c or d in train
    assert reasons == {0: LAST_ONES}


@st.composite
def with_missing_labels(draw):
    """A small corpus with groups, frozen documents, and any assignment that keeps both."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_docs = draw(st.integers(4, 16))
    labels = rng.random((n_docs, 4)) < 0.3
    group = rng.integers(0, draw(st.sampled_from([n_docs // 2, 3 * n_docs])), n_docs)
    part = rng.choice(3, 3 * n_docs, p=THREE)[group]
    frozen = (rng.random(n_docs) < draw(st.sampled_from([0, 0.3, 0.8])))[group % n_docs]
    return labels, group, part, frozen


@settings(max_examples=200, deadline=None)
@given(with_missing_labels())
def test_every_reason_is_true(case):
    labels, group, part, frozen = case
    fixed = np.where(frozen, part, -1)
    report = quality(sp.csr_matrix(labels.astype(int)), part, THREE, groups=group, fixed=fixed)
    size, n_docs = np.bincount(part, minlength=3), len(part)
    held = np.bincount(part[frozen], minlength=3)
    target = reachable_sizes(np.array(THREE), held, n_docs)
    free_groups = [g for g in np.unique(group) if not frozen[group == g].any()]
    slack = max([(group == g).sum() for g in free_groups], default=0)

    def broken(rows, p):
        """Labels that only these rows carry in part p, of those that p needs."""
        lost = [
            i
            for i in np.flatnonzero(labels[rows].any(axis=0))
            if not labels[(part == p) & ~rows, i].any()
        ]
        support = [len(np.unique(group[labels[:, i]])) for i in lost]
        return any(n >= {0: 1, 2: 2, 1: 3}[p] for n in support)

    def fits(rows, p, q):
        if target[p] > held[p] + 1e-9 and size[p] - rows.sum() < target[p] - slack - 1e-9:
            return False
        most = target[q] if target[q] > held[q] + 1e-9 else THREE[q] * n_docs
        return size[q] + rows.sum() <= max(most + slack, held[q]) + 1e-9

    for q, name in enumerate(("train", "val", "test")):
        for entry in report["missing"][name]:
            carriers = [group == g for g in free_groups if labels[group == g, entry["label"]].any()]
            safe = [rows for rows in carriers if not broken(rows, part[rows][0])]
            if not carriers:
                expected = "all its groups are frozen in other parts"
            elif not safe:
                expected = LAST_ONES
            elif any(fits(rows, part[rows][0], q) for rows in safe):
                expected = COULD_MOVE
            else:
                expected = STUCK
            assert entry["reason"] == expected


def test_groups_count_once_and_straddling_groups_are_counted():
    labels = sp.csr_matrix([[1], [1], [1], [1]])
    together = quality(labels, [0, 0, 0, 2], THREE, groups=["g", "g", "g", None])
    assert together["missing"] == {"train": [], "val": [], "test": []}  # two groups only
    assert together["sizes"]["train"]["groups"] == 1
    assert together["largest_group"] == 3
    assert together["sizes"]["val"]["groups_wanted"] == pytest.approx(0.4)
    assert quality(labels, [0, 1, 0, 2], THREE, groups=["g", "g", "g", None])["groups_apart"] == 1


@st.composite
def assigned(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_docs, k = draw(st.integers(6, 40)), draw(st.integers(2, 5))
    labels = (rng.random((n_docs, draw(st.integers(1, 6)))) < 0.3).astype(int)
    part = np.r_[np.arange(k), rng.integers(0, k, n_docs - k)]  # no part is empty
    shares = rng.dirichlet(np.ones(k))
    return labels, part, shares


@settings(max_examples=100, deadline=None)
@given(assigned())
def test_figures_equal_plain_loops(case):
    labels, part, shares = case
    report = quality(sp.csr_matrix(labels), part, shares)
    n_docs, k = len(part), len(shares)
    deviation, ld, rld, dcp = [], [], [], []
    for column in labels.T[labels.sum(axis=0) > 0]:
        d = column.sum()
        excess = []
        for j in range(k):
            inside, size = column[part == j].sum(), (part == j).sum()
            deviation.append(abs(inside / d - shares[j]))
            rld.append(abs(d / n_docs - inside / size) / (d / n_docs))
            low = inside - (inside == size)
            low_d = d - (d == n_docs)
            ld.append(abs(low / (size - low) - low_d / (n_docs - low_d)))
            excess.append(inside / d - shares[j])
        dcp.append(max(excess))

    def mean(values):
        return np.mean(values) if values else 0.0

    assert report["label_share_deviation"] == pytest.approx(mean(deviation), abs=1e-9)
    assert report["ld"] == pytest.approx(mean(ld), abs=1e-9)
    assert report["rld"] == pytest.approx(mean(rld), abs=1e-9)
    assert report["dcp"] == pytest.approx(mean(dcp), abs=1e-9)
    pair_share = []
    for a in range(labels.shape[1]):
        for b in range(a + 1, labels.shape[1]):
            both = labels[:, a] * labels[:, b]
            if both.sum():
                pair_share += [
                    abs(both[part == j].sum() / both.sum() - shares[j]) for j in range(k)
                ]
    assert report["pairs"]["count"] * k == len(pair_share)
    assert report["pairs"]["share_deviation"] == pytest.approx(mean(pair_share), abs=1e-9)


def test_report_is_json_stable_and_independent_of_row_order():
    rng = np.random.default_rng(0)
    labels = sp.csr_matrix(rng.random((300, 20)) < 0.1)
    groups = [f"g{i}" for i in rng.integers(0, 200, 300)]
    part = iterative_split(labels, THREE, groups=groups)
    rows = rng.permutation(300)
    text = json.dumps(quality(labels, part, THREE, groups=groups))
    other = quality(labels[rows], part[rows], THREE, groups=[groups[i] for i in rows])
    assert json.dumps(other) == text


def test_names_of_parts_and_corpora_without_labels():
    report = quality(sp.csr_matrix((4, 0)), [0, 0, 1, 1], (0.5, 0.5))
    assert list(report["sizes"]) == ["train", "test"]
    assert report["ld"] == report["rld"] == report["dcp"] == report["label_share_deviation"] == 0
    five = quality(sp.csr_matrix((5, 2)), np.arange(5), (0.2,) * 5)
    assert list(five["missing"]) == [f"part {j}" for j in range(5)]


def test_bad_assignments_are_rejected():
    with pytest.raises(DataError, match="leaves 2 documents without a part"):
        quality(LABELS, [0, 1, 2, -1, -1, 0], THREE)
    with pytest.raises(DataError, match="got 7 in row 5"):
        quality(LABELS, [0, 1, 2, 0, 0, 7], THREE)
    with pytest.raises(DataError, match=r"`assignment` must have shape \(6,\), .* got \(2,\)"):
        quality(LABELS, [0, 1], THREE)
