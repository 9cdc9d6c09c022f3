"""EM by hand, against a dense loop, on simulated annotators, and what must not matter."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.consensus import (
    SCENARIOS,
    Habit,
    Scenario,
    by_dawid_skene,
    by_majority,
    f1s,
    simulate,
)
from longtail.annotation import consensus
from longtail.annotation.consensus import dawid_skene, decide, majority
from longtail.annotation.reliability import reliability
from longtail.validation.agreement import Judgments

Row = tuple[int, int, set[int]]


def judgments(rows: list[Row], n_labels: int) -> Judgments:
    targets = np.zeros((len(rows), n_labels), dtype=np.int8)
    for k, (_, _, labels) in enumerate(rows):
        targets[k, sorted(labels)] = 1
    document, annotator = (np.array([row[i] for row in rows], dtype=int) for i in (0, 1))
    return Judgments(document, annotator, sp.csr_matrix(targets))


def random_rows(seed: int, n_docs: int = 60, n_annotators: int = 5, n_labels: int = 8) -> list[Row]:
    """One to four annotators per document; labels of very different frequency."""
    rng = np.random.default_rng(seed)
    share = 0.6 / np.arange(1, n_labels + 1) ** 1.5
    rows: list[Row] = []
    for document in range(n_docs):
        true = rng.random(n_labels) < share
        for who in rng.permutation(n_annotators)[: rng.integers(1, 5)]:
            kept = true & (rng.random(n_labels) > 0.1 * (1 + who))
            wrong = rng.random(n_labels) < 0.02 * (1 + who)
            rows.append((document, int(who), set(np.flatnonzero(kept | wrong).tolist())))
    return rows


def test_one_step_by_hand() -> None:
    """Ada and Ben judge two documents; one label, given by both, then by Ada alone.

    The start is p = 1 and 0.9 + 0.1 / 2, so P = 1.95 for both, H = 1.95 (Ada) and 1 (Ben).
    """
    step = dawid_skene(judgments([(0, 0, {0}), (0, 1, {0}), (1, 0, {0}), (1, 1, set())], 1), 2, 1)
    c, e = consensus.DOCUMENTS, consensus.ERRORS
    everyone = 2.95 / 3.9
    found, wrong, share = [], [], 3 / 4
    for hits, n_given in ((1.95, 2), (1.0, 1)):
        own = (hits + c * everyone) / (1.95 + c)
        band = (hits + c * own) / (1.95 + c)
        found.append((hits + c * band) / (1.95 + c))
        false, negatives = n_given - hits, 0.05
        rate = false / (negatives * share) * share
        rate = min(max(rate * (false + e) / (negatives * rate + e), 1e-9), 0.5)
        wrong.append((false + e) / (negatives + e / rate))
    prior = math.log(2.45 / 3) - math.log(1 - 2.45 / 3)  # (1.95 + 0.5) / (2 + 1)
    both = sum(math.log(s / f) for s, f in zip(found, wrong, strict=True))
    alone = math.log(found[0] / wrong[0]) + math.log((1 - found[1]) / (1 - wrong[1]))
    expected = [1 / (1 + math.exp(-prior - logit)) for logit in (both, alone)]
    assert step.probability.toarray().ravel() == pytest.approx(expected, rel=1e-9)
    assert step.iterations == 1 and not step.converged


def dense_em(j: Judgments, n_docs: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The formulas of the module, cell by cell over all documents and labels."""
    n_annotators, n_labels = int(j.annotator.max()) + 1, j.targets.shape[1]
    judged = np.zeros((n_docs, n_annotators), dtype=bool)
    y = np.zeros((n_docs, n_annotators, n_labels))
    judged[j.document, j.annotator] = True
    y[j.document, j.annotator] = j.targets.toarray()
    seen = np.flatnonzero(judged.any(axis=1))
    judged, y = judged[seen], y[seen]
    p = y.sum(axis=1) / judged.sum(axis=1)[:, None]
    p = np.where(p >= 0.5, 0.9 + 0.1 * p, p)
    c, e = consensus.DOCUMENTS, consensus.ERRORS
    given = y.sum(axis=0)
    bands = [int(math.log(max(n, 1)) // math.log(consensus.BAND)) for n in given.sum(axis=0)]
    share = given.sum(axis=0) / judged.sum()
    s, f = np.zeros((n_annotators, n_labels)), np.zeros((n_annotators, n_labels))
    for step in range(steps + 1):
        big = np.array([p[judged[:, a]].sum(axis=0) for a in range(n_annotators)])
        hits = np.einsum("kai,ki->ai", y, p)
        for a in range(n_annotators):
            own = (hits[a].sum() + c * hits.sum() / big.sum()) / (big[a].sum() + c)
            no, false = judged[:, a].sum() - big[a], given[a] - hits[a]
            phi = false.sum() / (no * share).sum()
            for i in range(n_labels):
                band = [x for x in range(n_labels) if bands[x] == bands[i]]
                m = (hits[a, band].sum() + c * own) / (big[a, band].sum() + c)
                s[a, i] = (hits[a, i] + c * m) / (big[a, i] + c)
                expected = (no[band] * phi * share[band]).sum()
                q = min(phi * share[i] * (false[band].sum() + e) / (expected + e), 0.5)
                f[a, i] = (false[i] + e) / (no[i] + e / q)
        prior = (p.sum(axis=0) + 0.5) / (len(seen) + 1)
        if step == steps:
            break
        for k in range(len(seen)):
            yes, no_ = prior.copy(), 1 - prior
            for a in np.flatnonzero(judged[k]):
                yes *= np.where(y[k, a] > 0, s[a], 1 - s[a])
                no_ *= np.where(y[k, a] > 0, f[a], 1 - f[a])
            p[k] = yes / (yes + no_)
    full = np.zeros((n_docs, n_labels))
    full[seen] = np.where(y.any(axis=1), p, 0)
    return full, s, f


@pytest.mark.parametrize("seed", range(3))
def test_a_dense_loop_gives_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consensus, "CELLS", 50)  # several blocks of labels
    j = judgments(random_rows(seed), 8)
    result = dawid_skene(j, 62, 7, 0.0)
    probability, sensitivity, false_rate = dense_em(j, 62, 7)
    assert result.probability.toarray() == pytest.approx(probability, abs=1e-9)
    assert result.sensitivity == pytest.approx(sensitivity, abs=1e-9)
    assert result.false_rate == pytest.approx(false_rate, abs=1e-9)


def test_majority_is_the_share_of_votes_and_half_is_enough() -> None:
    j = judgments([(0, 0, {0, 1}), (0, 1, {0}), (2, 0, {1}), (2, 1, {2}), (2, 2, {1, 0})], 3)
    share = majority(j, 3)
    assert share.toarray() == pytest.approx(
        np.array([[1, 1 / 2, 0], [0, 0, 0], [1 / 3, 2 / 3, 1 / 3]])
    )
    assert decide(share).toarray().tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]


def test_a_tie_below_one_half_goes_to_the_more_frequent_label() -> None:
    third = [[1 / 3, 1 / 3, 1 / 3], [0, 0, 1.0]]
    assert decide(sp.csr_matrix(third)).toarray().tolist() == [[0, 0, 1], [0, 0, 1]]


def test_nothing_judged_and_no_labels_are_no_problem() -> None:
    empty = judgments([], 3)
    assert dawid_skene(empty, 4).probability.shape == (4, 3)
    assert majority(empty, 4).nnz == 0
    nobody = judgments([(0, 0, set()), (0, 1, set())], 0)
    assert decide(dawid_skene(nobody, 1).probability).shape == (1, 0)


# Five points over majority where errors follow the frequency of labels; no loss where they do not.
@pytest.mark.parametrize(
    ("name", "gain", "tail_gain"),
    [
        ("one careless", 5.0, 3.0),
        ("one never gives TAIL", 5.0, 10.0),
        ("one changed the guideline", 1.0, -1.0),
        ("one careless, all errors uniform", 0.0, -1.0),
        ("two of a pool of five", -0.5, -1.0),
    ],
)
def test_dawid_skene_beats_majority(name: str, gain: float, tail_gain: float) -> None:
    simulation = simulate(SCENARIOS[name], seed=11, n_docs=3000, n_labels=40)
    ours, theirs = (f1s(simulation, by(simulation)) for by in (by_dawid_skene, by_majority))
    assert ours[1] - theirs[1] >= gain
    assert ours[2] - theirs[2] >= tail_gain


def test_estimated_reliability_is_the_true_one() -> None:
    rng = np.random.default_rng(3)
    habits = [Habit(*rng.uniform((0.05, 0.02), (0.6, 0.5))) for _ in range(10)]
    simulation = simulate(Scenario(habits, 3, 0.5), seed=3, n_docs=3000, n_labels=40)
    j = simulation.judgments
    result = dawid_skene(j, 3000)
    estimated = reliability(j, result.probability, j.annotator)
    true = reliability(j, simulation.truth.astype(float), j.annotator)
    for name in ("found", "right"):
        a, b = getattr(estimated, name), getattr(true, name)
        assert np.corrcoef(a, b)[0, 1] > 0.95
        assert np.abs(a - b).max() < 0.1
    assert estimated.documents.sum() == len(j.document)


def test_reliability_by_hand() -> None:
    j = judgments([(0, 0, {0}), (0, 1, {0, 1}), (1, 0, set())], 2)
    believed = sp.csr_matrix([[1.0, 0.25], [0.0, 0.5]])
    measured = reliability(j, believed, j.annotator)
    assert measured.documents.tolist() == [2, 1]
    assert measured.found == pytest.approx([1 / 1.75, 1.0])
    assert measured.right == pytest.approx([1.0, 0.625])
    assert np.isnan(reliability(j, 0 * believed, np.array([0, 0, 1])).right[1])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_names_and_order_do_not_matter(seed: int, random) -> None:
    rows = random_rows(seed, n_docs=15, n_annotators=4, n_labels=5)
    who, document = list(range(4)), list(range(15))
    random.shuffle(who)
    random.shuffle(document)
    renamed = [(document[k], who[a], labels) for k, a, labels in rows]
    random.shuffle(renamed)
    before, after = (dawid_skene(judgments(r, 5), 15, 20, 0.0) for r in (rows, renamed))
    moved = after.probability.toarray()[document]
    assert moved == pytest.approx(before.probability.toarray(), abs=1e-6)
    n = before.sensitivity.shape[0]
    assert after.sensitivity[who[:n]] == pytest.approx(before.sensitivity, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=25), st.integers(2, 4))
def test_unanimous_annotators_are_believed(labels: list[set[int]], n_annotators: int) -> None:
    rows = [(k, a, given) for k, given in enumerate(labels) for a in range(n_annotators)]
    j = judgments(rows, 6)
    wanted = j.targets[::n_annotators].toarray().tolist()
    assert decide(dawid_skene(j, len(labels)).probability).toarray().tolist() == wanted
    assert decide(majority(j, len(labels))).toarray().tolist() == wanted


def test_memory_grows_with_what_was_given() -> None:
    """20,000 documents × 2,000 labels: a dense matrix of the posteriors would need 320 MB."""
    rng = np.random.default_rng(0)
    n_docs, n_labels = 20_000, 2000
    labels = rng.integers(n_labels, size=(3 * n_docs, 3))
    targets = sp.csr_matrix(
        (np.ones(labels.size, np.int8), labels.ravel(), np.arange(0, labels.size + 1, 3)),
        shape=(3 * n_docs, n_labels),
    )
    targets.sum_duplicates()
    j = Judgments(np.tile(np.arange(n_docs), 3), np.repeat(np.arange(3), n_docs), targets)
    tracemalloc.start()
    dawid_skene(j, n_docs, most_iterations=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
