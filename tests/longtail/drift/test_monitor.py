"""All measures together: without drift, with drift of each kind planted, and what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import binom, false_discovery_control, fisher_exact

from longtail import drift
from longtail.drift.monitor import label_drift
from longtail.drift.psi import Draws, shift
from longtail.errors import DataError

LIMITS = {"psi": 0.2, "share_moved": 0.1, "unknown_words": 0.05}
LABELS = [f"l{i}" for i in range(20)]
SETTINGS = {"alpha": 0.05, "n_draws": 199, "seed": 0}
KINDS = {"label_prevalence", "label_pairs", "labels_per_document", "words_per_document"}


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
    return drift.Documents(texts, targets, np.arange(n_docs))


def answers(seed: int, n_docs: int = 1000, **changes) -> drift.Answers:
    rng = np.random.default_rng(seed)
    top = rng.beta(changes.get("a", 5), 2, n_docs)
    return drift.Answers(top, rng.poisson(3, n_docs), np.arange(n_docs))


def measured(n_docs: int = 1000, **changes) -> dict:
    sides = documents(1), documents(2, n_docs, **changes)
    scored = answers(3), answers(4, n_docs, **changes)
    return drift.measure(*sides, LABELS, scored, **SETTINGS)


def of_targets(*matrices: sp.csr_matrix) -> dict:
    """What is measured on two sets of labels alone."""
    sides = [drift.Documents(["w"] * m.shape[0], m, np.arange(m.shape[0])) for m in matrices]
    labels = [f"l{i}" for i in range(matrices[0].shape[1])]
    return drift.measure(*sides, labels, None, **SETTINGS)


def test_label_tests_agree_with_scipy_and_are_sorted():
    before, after = documents(1).targets, documents(2, rates=np.full(20, 0.1)).targets
    found = label_drift(before, after, LABELS, alpha=0.05)
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
    assert drift.alarms(found, LIMITS, alpha=0.05) == []
    assert json.loads(json.dumps(found)) == found
    assert found["psi"].keys() == KINDS | {"top_score"}


def test_p_values_are_corrected_for_their_number():
    found = measured(a=4, rates=np.linspace(0.27, 0.02, 20))
    kinds = [*found["psi"].values(), found["unknown_words"]]
    assert [k["q"] for k in kinds] == pytest.approx(
        false_discovery_control([k["p"] for k in kinds])
    )


def test_false_alarms_of_all_measures_together_are_bounded():
    """No drift, small deliveries, where the interval of the size reaches every limit."""
    rng = np.random.default_rng(0)
    whole, scored = documents(1, 700), answers(3, 700)
    limits = {"psi": 1e-9, "share_moved": 0.1, "unknown_words": 0.0}
    hits = 0
    for seed in range(100):
        order = rng.permutation(700)
        sides = []
        for rows in (order[40:], order[:40]):
            texts = [whole.texts[row] for row in rows]
            sides.append(drift.Documents(texts, whole.targets[rows], np.arange(len(rows))))
        both = [drift.Answers(scored.top_scores[r], scored.n_predicted[r], r) for r in
                (order[40:], order[:40])]  # fmt: skip
        settings = SETTINGS | {"seed": seed}
        found = drift.measure(*sides, LABELS, tuple(both), **settings)
        hits += bool(drift.alarms(found, limits, alpha=0.05))
    assert binom.sf(hits - 1, 100, 0.05) > 0.001


def test_a_small_shift_of_many_documents_is_certain_but_no_alarm():
    found = measured(4000, rates=np.linspace(0.3, 0.02, 20) * np.tile([1.12, 0.9], 10))
    assert found["psi"]["label_prevalence"]["q"] <= 0.05
    assert 0 < found["psi"]["label_prevalence"]["high"] < 0.2
    assert not any("label_prevalence" in a for a in drift.alarms(found, LIMITS, alpha=0.05))


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
    assert any(word in alarm for alarm in drift.alarms(measured(**changes), LIMITS, alpha=0.05))


def test_rounding_of_scores_near_one_is_not_drift():
    """A served score differs from the pipeline's by up to 1e-4; most of these are above 0.9999."""
    sides = documents(1, 400), documents(2, 400)
    rng = np.random.default_rng(5)
    top = 1 - 10 ** rng.uniform(-9, -4, (2, 400))
    pair = [drift.Answers(t, np.ones(400), np.arange(400)) for t in (top[0].round(6), top[1])]
    found = drift.measure(*sides, LABELS, tuple(pair), **SETTINGS)
    assert found["psi"]["top_score"]["p"] > 0.05


def test_labels_that_occur_together_for_the_first_time():
    one = sp.csr_matrix(np.eye(4, dtype=np.int8)[[0, 1, 2, 3] * 50])
    both = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 0, 1, 1]] * 50, dtype=np.int8))
    assert of_targets(one, both)["new_pairs"] == 1.0
    assert of_targets(both, both)["new_pairs"] == 0.0


def test_pair_counts_match_by_pair_not_by_position():
    """Two pairs swap their frequencies; the bins must follow the pairs."""
    ab, cd = [1, 1, 0, 0], [0, 0, 1, 1]
    before = sp.csr_matrix(np.array([ab] * 30 + [cd] * 10, dtype=np.int8))
    after = sp.csr_matrix(np.array([cd] * 7 + [ab] * 2 + [[1, 0, 1, 0]] * 3, dtype=np.int8))
    found = of_targets(before, after)
    draws = Draws.of(np.arange(40), np.arange(12), SETTINGS["n_draws"], SETTINGS["seed"])
    # The columns ab, cd, ac of every document.
    counts = np.eye(3)[[0] * 30 + [1] * 10 + [1] * 7 + [0] * 2 + [2] * 3]
    expected = shift(sp.csr_matrix(counts), draws, SETTINGS["alpha"])
    assert found["psi"]["label_pairs"]["psi"] == pytest.approx(expected.psi)
    assert found["psi"]["label_pairs"]["p"] == expected.p < 0.05
    assert found["new_pairs"] == pytest.approx(3 / 12)


def test_documents_without_labels_count_only_where_no_label_is_needed():
    labeled, later = documents(1), documents(2, 100)
    empty = drift.Documents(later.texts, sp.csr_matrix((100, 20), dtype=np.int8), later.units)
    found = drift.measure(labeled, empty, LABELS, None, **SETTINGS)
    assert found["psi"].keys() == {"words_per_document"}
    assert (found["labels"], found["new_pairs"]) == (None, None)
    assert drift.alarms(found, LIMITS, alpha=0.05) == []
    half = drift.Documents(
        later.texts, sp.vstack([later.targets[:50], empty.targets[50:]]).tocsr(), later.units
    )
    some = drift.measure(labeled, half, LABELS, None, **SETTINGS)
    filled = np.diff(later.targets[:50].indptr)
    assert some["means"]["labels_per_document"]["new"] == filled[filled > 0].mean()
    assert some["documents"]["new"] == 100


@pytest.mark.parametrize("side", ["reference", "new"])
def test_an_empty_side_is_named(side: str):
    full, empty = documents(1), documents(1, 0)
    sides = {"reference": full, "new": full} | {side: empty}
    with pytest.raises(DataError, match=f"no {side} document"):
        drift.measure(*sides.values(), LABELS, None, **SETTINGS)
