"""Drift measures: by hand, without drift, and with drift of each kind planted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import false_discovery_control, fisher_exact

from longtail import drift
from longtail.errors import DataError

LIMITS = {"psi": 0.2, "share_moved": 0.1, "unknown_words": 0.05}
LABELS = [f"l{i}" for i in range(20)]


def documents(seed: int, n_docs: int = 1000, **changes) -> drift.Documents:
    rng = np.random.default_rng(seed)
    rates = np.linspace(0.3, 0.02, 20) if "rates" not in changes else changes["rates"]
    n_words = changes.get("n_words", 8)
    texts = [
        " ".join(
            f"{changes.get('prefix', 'w')}{i}" for i in rng.integers(0, 50, rng.poisson(n_words))
        )
        for _ in range(n_docs)
    ]
    targets = sp.csr_matrix((rng.random((n_docs, 20)) < rates).astype(np.int8))
    top = rng.beta(changes.get("a", 5), 2, n_docs)
    return drift.Documents(texts, targets, top, rng.poisson(3, n_docs))


def measured(**changes) -> dict:
    return drift.measure(documents(1), documents(2, **changes), LABELS)


def test_psi_by_hand():
    counts = np.array([[60.5, 40.5], [20.5, 80.5]])
    q, p = counts / 101
    expected = ((p - q) * np.log(p / q)).sum() - 2 / 101
    assert drift.psi([60, 40], [20, 80]) == pytest.approx(expected)
    assert drift.psi([60, 40], [600, 400]) == 0.0
    assert drift.psi([0, 5], [5, 0]) < np.inf


def test_psi_without_drift_stays_near_zero_at_any_size():
    """Chance alone moves PSI by (b - 1)(1/n + 1/m); that is subtracted."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(10))
    pairs = [rng.multinomial(n, shares, 2) for n in [100] * 500]
    assert np.mean([drift.psi(*pair) for pair in pairs]) < 0.06


def test_label_tests_agree_with_scipy_and_are_sorted():
    before, after = documents(1).targets, documents(2, rates=np.full(20, 0.1)).targets
    found = drift.label_drift(before, after, LABELS, alpha=0.05)
    a, b = np.asarray(before.sum(0)).ravel(), np.asarray(after.sum(0)).ravel()
    p = [fisher_exact([[x, 1000 - x], [y, 1000 - y]])[1] for x, y in zip(a, b, strict=True)]
    q = false_discovery_control(p)
    assert {row["label"] for row in found["moved"]} == {
        LABELS[i] for i in np.flatnonzero(q <= 0.05)
    }
    values = [row["q"] for row in found["moved"]]
    assert values == sorted(values)
    assert found["share_moved"] == len(values) / 20


def test_no_drift_raises_no_alarm_and_is_json():
    found = measured()
    assert drift.alarms(found, LIMITS) == []
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"rates": np.linspace(0.02, 0.3, 20)}, "label_prevalence"),
        ({"rates": np.linspace(0.02, 0.3, 20)}, "% of the labels"),
        ({"rates": np.full(20, 0.4)}, "labels_per_document"),
        ({"n_words": 20}, "words_per_document"),
        ({"a": 1}, "top_score"),
        ({"prefix": "x"}, "words are new"),
    ],
)
def test_planted_drift_is_named(changes: dict, word: str):
    assert any(word in alarm for alarm in drift.alarms(measured(**changes), LIMITS))


def test_labels_that_occur_together_for_the_first_time():
    one = sp.csr_matrix(np.eye(4, dtype=np.int8)[[0, 1, 2, 3] * 50])
    both = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 0, 1, 1]] * 50, dtype=np.int8))
    top = np.full(200, 0.5)
    sides = [drift.Documents(["w"] * m.shape[0], m, top, top.astype(int)) for m in (one, both)]
    assert drift.measure(*sides, list("abcd"))["new_pairs"] == 1.0
    assert drift.measure(sides[1], sides[1], list("abcd"))["new_pairs"] == 0.0


def test_pair_counts_match_by_pair_not_by_position():
    """Two pairs swap their frequencies; the bins must follow the pairs."""
    ab, cd = [1, 1, 0, 0], [0, 0, 1, 1]
    before = sp.csr_matrix(np.array([ab] * 30 + [cd] * 10, dtype=np.int8))
    after = sp.csr_matrix(np.array([cd] * 7 + [ab] * 2 + [[1, 0, 1, 0]] * 3, dtype=np.int8))
    top = np.full(40, 0.5)
    sides = [drift.Documents(["w"] * m.shape[0], m, top, top.astype(int)) for m in (before, after)]
    found = drift.measure(*sides, list("abcd"))
    assert found["psi"]["label_pairs"] == drift.psi([30, 10, 0], [2, 7, 3])
    assert found["new_pairs"] == pytest.approx(3 / 12)


def test_unknown_words_are_counted_with_repetition():
    assert drift.unknown_share(["The cat sat"], ["the dog, the DOG sat"]) == pytest.approx(2 / 5)
    assert drift.unknown_share(["a"], [""]) == 0.0


@pytest.mark.parametrize("side", ["reference", "new"])
def test_an_empty_side_is_named(side: str):
    full, empty = documents(1), documents(1, 0)
    sides = {"reference": full, "new": full} | {side: empty}
    with pytest.raises(DataError, match=f"no {side} document"):
        drift.measure(*sides.values(), LABELS)
