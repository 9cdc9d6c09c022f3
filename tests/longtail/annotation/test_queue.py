"""Common tests over STRATEGIES, and what is special in each."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.annotation.queue import (
    BY_FEATURES,
    NEW_LABEL,
    RANDOM,
    STRATEGIES,
    Pool,
    draw,
    likelihoods,
    merits,
    tail_gain,
)
from longtail.errors import ParameterError


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def pool_of(scores: list[list[float]], counts: list[int], thresholds: float = 0.5) -> Pool:
    """A pool without features."""
    own, n = np.array(scores), len(counts)
    nothing = np.zeros((0, 0))
    return Pool(
        own, np.full(n, thresholds), np.array(counts), np.zeros((len(own), 0)), nothing,
        sp.csr_matrix((0, n), dtype=np.int8),
    )  # fmt: skip


def made_pool(n_docs: int, n_labels: int, n_known: int, seed: int, kind: str) -> Pool:
    rng = np.random.default_rng(seed)
    targets = rng.random((n_known, n_labels)) < 0.3
    scores = rng.random((n_docs, n_labels)).astype(np.float32)
    features = unit(rng.normal(size=(n_docs, 4)))
    if kind == "nothing labeled":
        targets[:] = False
    if kind == "equal":
        scores[:], features[:] = 0.5, features[:1]
    if kind == "certain":
        scores = scores.round()
    return Pool(
        scores, np.full(n_labels, 0.4), targets.sum(axis=0), features,
        unit(rng.normal(size=(n_known, 4))), sp.csr_matrix(targets.astype(np.int8)),
    )  # fmt: skip


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=25, deadline=None)
@given(
    n_docs=st.integers(1, 60),
    n_labels=st.integers(1, 5),
    n_known=st.integers(0, 20),
    size=st.integers(1, 80),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["usual", "nothing labeled", "equal", "certain"]),
)
def test_a_queue_has_its_size_and_no_document_twice(
    strategy: str, n_docs: int, n_labels: int, n_known: int, size: int, seed: int, kind: str
) -> None:
    pool = made_pool(n_docs, n_labels, n_known, seed, kind)
    rows, drawn = draw(pool, size, strategy=strategy, random_share=0.2, seed=seed)
    assert len(rows) == len(set(rows.tolist())) == min(size, n_docs)
    assert ((rows >= 0) & (rows < n_docs)).all()
    expected = len(rows) if strategy == RANDOM else round(0.2 * len(rows))
    assert (drawn == RANDOM).sum() == expected and set(drawn) <= {RANDOM, strategy}
    again, _ = draw(pool, size, strategy=strategy, random_share=0.2, seed=seed)
    assert again.tolist() == rows.tolist()


def test_the_random_share_is_a_fair_sample_spread_over_the_queue() -> None:
    pool = made_pool(50, 3, 10, 0, "usual")
    times = np.zeros(50)
    for seed in range(200):
        likeness = np.random.default_rng(seed).random((50, 2))
        rows, drawn = draw(
            pool, 20, random_share=0.25, likeness=likeness, new_label_share=0.3, seed=seed
        )
        at_random = drawn == RANDOM
        times[rows[at_random]] += 1
        assert np.diff(np.flatnonzero(at_random)).tolist() == [4, 4, 4, 4]
    # 200 draws of 5 of 50: 20 each, with a standard deviation of 4.2.
    assert times.sum() == 1000 and abs(times - 20).max() < 4.5 * 4.25


def test_new_labels_take_turns_and_never_a_document_twice() -> None:
    pool = pool_of([[0.9], [0.8], [0.7], [0.6], [0.5], [0.4]], [0])
    likeness = np.array([[0.1, 0.9], [0.2, 0.1], [0.3, 0.8], [0.9, 0.7], [0.8, 0.2], [0.0, 0.0]])
    rows, drawn = draw(
        pool, 5, random_share=0.0, likeness=likeness, new_label_share=0.6, strategy="tail_gain"
    )
    # The nearest to the first label, to the second, then again; 0 to 2 are what tail_gain likes.
    assert rows.tolist() == [3, 0, 4, 1, 2]
    assert drawn.tolist() == [NEW_LABEL] * 3 + ["tail_gain"] * 2
    nothing = draw(pool, 5, random_share=0.0, likeness=likeness[:, :0], new_label_share=0.6)
    assert nothing[0].tolist() == draw(pool, 5, random_share=0.0)[0].tolist()
    rows, drawn = draw(pool, 6, random_share=0.5, likeness=likeness, new_label_share=1.0)
    assert sorted(rows.tolist()) == list(range(6))
    assert sorted(drawn) == [NEW_LABEL] * 3 + [RANDOM] * 3
    assert set(draw(pool, 4, strategy=RANDOM, likeness=likeness, new_label_share=0.5)[1]) == {
        RANDOM
    }


def test_a_score_at_its_threshold_is_one_half() -> None:
    pool = pool_of([[0.2, 0.5], [0.2, 0.8]], [0, 0], 0.2)
    np.testing.assert_allclose(likelihoods(pool), [[0.5, 0.8], [0.5, 16 / 17]])


def test_tail_gain_by_hand() -> None:
    # Gains at first: 1.0, 0.9, 0.7. With the first in the queue, n + m + 1 is (1.9, 1.1), so that
    # the second is left with 0.8/1.9 + 0.1/1.1 = 0.51, the third with 0.1/1.9 + 0.6/1.1 = 0.60.
    rng = np.random.default_rng(0)
    pool = pool_of([[0.9, 0.1], [0.8, 0.1], [0.1, 0.6]], [0, 0])
    assert tail_gain(pool, 3, rng).tolist() == [0, 2, 1]
    # Where the second label has 9 positives, its document comes last.
    assert tail_gain(pool_of(pool.scores.tolist(), [0, 9]), 3, rng).tolist() == [0, 1, 2]
    np.testing.assert_allclose(
        merits(pool_of(pool.scores.tolist(), [0, 9]), "tail_gain")[2], [0.1, 0.06]
    )


@settings(max_examples=50, deadline=None)
@given(n_docs=st.integers(1, 40), n_labels=st.integers(1, 6), seed=st.integers(0, 999))
def test_tail_gain_takes_the_largest_gain_each_time(n_docs: int, n_labels: int, seed: int) -> None:
    pool = made_pool(n_docs, n_labels, 15, seed, "usual")
    likely, found = likelihoods(pool), pool.counts + 1.0
    left = set(range(n_docs))
    for row in tail_gain(pool, n_docs, np.random.default_rng(0)):
        gains = {k: float((likely[k] / found).sum()) for k in left}
        assert gains[row] >= max(gains.values()) - 1e-9
        left.remove(row)
        found = found + likely[row]
    assert not left


def test_tail_gain_finds_rare_positives() -> None:
    """Truth known: scores tell a positive from a negative by two standard deviations."""
    rng = np.random.default_rng(0)
    share = np.geomspace(0.3, 0.003, 20)
    truth = rng.random((3000, 20)) < share
    z = np.log(share / (1 - share)) + 2 * truth + rng.normal(size=truth.shape)
    scores = 1 / (1 + np.exp(-z))
    pool = pool_of(scores.tolist(), (share * 500).astype(int).tolist(), 0.3)
    found = {}
    for strategy in STRATEGIES.keys() - BY_FEATURES:
        rows, _ = draw(pool, 200, strategy=strategy)
        found[strategy] = truth[rows][:, 10:].sum()
    assert found["tail_gain"] > 2 * found[RANDOM]
    assert found["tail_gain"] > found["uncertainty"]


def test_uncertainty_goes_by_each_labels_own_threshold() -> None:
    pool = pool_of([[0.5, 0.5], [0.1, 0.5], [0.9, 0.95]], [1, 1])
    own = Pool(pool.scores, np.array([0.1, 0.9]), *[getattr(pool, name) for name in
               ("counts", "features", "known", "targets")])  # fmt: skip
    chosen = STRATEGIES["uncertainty"](own, 3, np.random.default_rng(0))
    assert chosen.tolist() == [1, 2, 0]


def test_kmeans_takes_one_of_each_kind_first() -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.eye(4), 10, axis=0)
    pool = Pool(
        np.full((40, 2), 0.5), np.full(2, 0.5), np.ones(2, int),
        unit(kinds + 0.01 * rng.normal(size=kinds.shape)), kinds[:0],
        sp.csr_matrix((0, 2), dtype=np.int8),
    )  # fmt: skip
    chosen = STRATEGIES["kmeans"](pool, 4, np.random.default_rng(1))
    assert sorted(kinds[chosen].argmax(axis=1).tolist()) == [0, 1, 2, 3]


def test_anchors_look_near_the_documents_of_rare_labels() -> None:
    """Of 400 documents, the 30 near the one of the rare label are the subpool."""
    features = np.zeros((400, 3))
    features[:30, 0], features[30:, 1] = 1.0, 1.0
    known = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 0, 1.0]])
    targets = sp.csr_matrix(np.array([[1, 0], [0, 1], [0, 1]], np.int8))
    pool = Pool(
        np.random.default_rng(0).random((400, 2)), np.full(2, 0.5), np.array([1, 2]), features,
        known, targets,
    )  # fmt: skip
    chosen = STRATEGIES["anchors"](pool, 3, np.random.default_rng(0))
    assert (chosen < 30).all()


def test_what_is_asked_wrong_is_said() -> None:
    pool = pool_of([[0.5]], [1])
    with pytest.raises(ParameterError, match="Unknown strategy 'tailgain'. Did you mean"):
        draw(pool, 1, strategy="tailgain")
    for size, share, new in ((0, 0.2, 0), (1, -0.1, 0), (1, 1.5, 0), (1, 0.2, -0.1), (1, 0.2, 1.1)):
        with pytest.raises(ParameterError, match="size must be at least 1, and random_share"):
            draw(pool, size, random_share=share, new_label_share=new)
