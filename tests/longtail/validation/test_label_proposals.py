"""Proposals on documents with known truth: labels split by coin, and labels joined."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from longtail.validation.label_proposals import centered, merges, splits, told_apart

N_TOPICS, EACH = 8, 60


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray]:
    """Features and topics of documents: a topic is a direction, with noise."""
    rng = np.random.default_rng(0)
    topics = np.repeat(np.arange(N_TOPICS), EACH)
    directions = rng.normal(size=(N_TOPICS, 30))
    return centered(directions[topics] + 1.5 * rng.normal(size=(len(topics), 30))), topics


def targets(*columns: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix(np.column_stack(columns).astype(np.int8))


def test_labels_split_by_coin_are_proposed_and_no_others(world) -> None:
    features, topics = world
    coin = np.random.default_rng(1).random(len(topics)) < 0.5
    of = [topics == topic for topic in range(N_TOPICS)]
    found = merges(features, targets(of[0] & coin, of[0] & ~coin, *of[1:7], of[7] & coin), 10)
    assert [pair.labels for pair in found] == [(0, 1)]
    assert found[0].n_docs == (int((of[0] & coin).sum()), int((of[0] & ~coin).sum()))
    assert found[0].together == 0 and found[0].auc < found[0].upper <= 0.6


def test_a_label_that_joins_two_topics_is_proposed_with_its_clusters(world) -> None:
    features, topics = world
    of = [topics == topic for topic in range(N_TOPICS)]
    found = splits(features, targets(of[0] | of[1], *of[2:]), 10, seed=0)
    assert [split.label for split in found] == [0]
    one, other = (set(rows.tolist()) for rows in found[0].clusters)
    first = set(np.flatnonzero(of[0]).tolist())
    assert max(len(one & first), len(other & first)) >= 55
    assert len(one | other) == 2 * EACH


def test_documents_that_have_both_labels_are_counted_apart(world) -> None:
    features, topics = world
    coin = np.random.default_rng(1).random(len(topics)) < 0.5
    first, second = (topics == 0) & coin, (topics == 0) & ~coin
    second[np.flatnonzero(first)[:5]] = True
    [pair] = merges(features, targets(first, second, topics == 1), 10)
    assert pair.together == 5 and pair.n_docs == (int(first.sum()) - 5, int(second.sum()) - 5)


def test_few_documents_propose_nothing(world) -> None:
    features, topics = world
    few = np.arange(len(topics)) < 12
    coin = np.arange(len(topics)) % 2 == 0
    assert merges(features, targets(few & coin, few & ~coin), 10) == []
    assert merges(features, targets(few), 2) == []
    assert splits(features, targets(few), 10, seed=0) == []


def test_told_apart_by_hand() -> None:
    """Of 2 × 2 pairs of documents all are in order; nearer to the own center than to the other."""
    one = np.array([[1.0, 0.0], [0.8, 0.6]])
    other = np.array([[0.0, 1.0], [-0.6, 0.8]])
    assert told_apart(one, other) == (1.0, 0.0)
    # The same four documents dealt the other way: each is nearer to the other group.
    auc, error = told_apart(one[[0, 1]][[0]].repeat(2, axis=0), one[[0]].repeat(2, axis=0))
    assert auc == 0.5 and error == pytest.approx(np.sqrt((0.25 + 2 * (1 / 3 - 0.25)) / 4))
