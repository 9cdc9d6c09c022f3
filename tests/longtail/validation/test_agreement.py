"""Agreement against nltk and by hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from nltk.metrics import AnnotationTask, masi_distance
from nltk.metrics.distance import binary_distance

from longtail.validation.agreement import (
    Judgments,
    _mean_distance,
    annotator_agreement,
    disagreements,
    label_alphas,
    masi_distances,
    overall_alpha,
    swapped_labels,
)


def judgments(rows: list[tuple[int, int, set[int]]], n_labels: int) -> Judgments:
    targets = np.zeros((len(rows), n_labels), dtype=np.int8)
    for k, (_, _, labels) in enumerate(rows):
        targets[k, sorted(labels)] = 1
    document, annotator = (np.array([row[i] for row in rows]) for i in (0, 1))
    return Judgments(document, annotator, sp.csr_matrix(targets))


def random_rows(seed: int) -> list[tuple[int, int, set[int]]]:
    rng = np.random.default_rng(seed)
    rows = []
    for document in range(40):
        for who in rng.permutation(5)[: rng.integers(1, 5)]:
            labels = set(rng.choice(6, rng.integers(1, 4), replace=False).tolist())
            rows.append((document, int(who), labels))
    rng.shuffle(rows)  # type: ignore[arg-type]
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_nltk(seed: int) -> None:
    rows = random_rows(seed)
    task = AnnotationTask([(w, d, frozenset(x)) for d, w, x in rows], distance=masi_distance)
    assert overall_alpha(judgments(rows, 6)) == pytest.approx(task.alpha(), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_label_alphas_are_those_of_nltk(seed: int) -> None:
    rows = random_rows(seed)
    alphas = label_alphas(judgments(rows, 6))
    for label in range(6):
        task = AnnotationTask([(w, d, label in x) for d, w, x in rows], distance=binary_distance)
        assert alphas[label] == pytest.approx(task.alpha(), abs=1e-12)


def test_masi_is_that_of_nltk_and_equal_empty_sets_are_equal() -> None:
    sets = [{0}, {0, 1}, {1, 2}, {2}, {0, 1, 2}, set()]
    targets = judgments([(0, 0, s) for s in sets], 3).targets
    distances = masi_distances(targets, targets)
    for i, a in enumerate(sets[:5]):
        for j, b in enumerate(sets[:5]):
            assert distances[i, j] == pytest.approx(masi_distance(a, b))
    assert distances[5].tolist() == [1, 1, 1, 1, 1, 0]


def test_by_hand() -> None:
    rows = [(0, 0, {0}), (0, 1, {0}), (1, 0, {0}), (1, 1, {1}), (1, 2, {0}), (2, 2, {1})]
    given = judgments(rows, 3)
    np.testing.assert_allclose(disagreements(given, 4), [0, 2 / 3, 0, 0])
    expected = {0: (2, (1 + 0.5) / 2), 1: (2, (1 + 0) / 2), 2: (1, 0.5)}
    assert annotator_agreement(given) == expected
    # Five judgments of shared documents: four {0}, one {1}; 8 of 20 ordered pairs differ.
    # Observed: document 0 nothing (weight 2), document 1 two thirds (weight 3): 0.4.
    assert overall_alpha(given) == pytest.approx(1 - 0.4 / 0.4)
    assert np.isnan(label_alphas(given)[2])


def many_kinds(n_kinds: int) -> tuple[sp.csr_matrix, np.ndarray]:
    rng = np.random.default_rng(0)
    share = np.minimum(0.5, 1 / np.arange(1, 201))
    kinds = sp.csr_matrix((rng.random((n_kinds, 200)) < share).astype(np.int8))
    return kinds, rng.integers(1, 4, n_kinds)


def test_expected_disagreement_of_many_kinds_is_within_its_error() -> None:
    kinds, count = many_kinds(1500)
    exact = _mean_distance(kinds, count)
    np.testing.assert_allclose(
        exact, (count @ masi_distances(kinds, kinds) @ count) / (count.sum() * (count.sum() - 1))
    )
    sampled = _mean_distance(kinds, count, most_pairs=1_000_000)
    assert sampled != exact
    assert sampled == pytest.approx(exact, abs=3 * 0.5 / 1000)
    # Two judgments only: whichever pair is drawn, it is of the two, never one with itself.
    two = judgments([(0, 0, {0}), (0, 1, {1})], 2).targets
    assert _mean_distance(two, np.array([1, 1]), most_pairs=3) == 1


def test_expected_disagreement_needs_little_memory() -> None:
    kinds, count = many_kinds(20_000)
    tracemalloc.start()
    _mean_distance(kinds, count)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20


def test_swapped_labels() -> None:
    rows = []
    for document in range(4):
        rows += [(document, 0, {0, 2}), (document, 1, {1, 2})]
    rows += [(4, 0, {2}), (4, 1, {3})]
    [swap] = swapped_labels(judgments(rows, 4))
    assert (swap.labels, swap.count) == ((0, 1), 4)
    assert swap.lift == pytest.approx(4 / (4 * 4 / 10))


def test_nobody_shares_a_document() -> None:
    alone = judgments([(0, 0, {0}), (1, 1, {1})], 2)
    assert np.isnan(overall_alpha(alone))
    assert np.isnan(label_alphas(alone)).all()
    assert annotator_agreement(alone) == {}
    assert swapped_labels(alone) == []
    assert disagreements(alone, 2).tolist() == [0, 0]
