"""Neighbors against a full comparison, and what the clusters save."""

from __future__ import annotations

import numpy as np
import pytest

from longtail.validation import neighbors
from longtail.validation.neighbors import nearest


def documents(n_docs: int, n_features: int = 32, seed: int = 0) -> np.ndarray:
    """Rows of length 1 around one topic for every forty documents, and the constant."""
    rng = np.random.default_rng(seed)
    topics = rng.normal(size=(n_docs // 40, n_features))
    rows = topics[rng.integers(len(topics), size=n_docs)] + rng.normal(size=(n_docs, n_features))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.hstack([rows, np.ones((n_docs, 1))]).astype(np.float32)


def test_nearest_leaves_the_document_itself_out() -> None:
    vectors = np.array([[1, 0, 1], [0.8, 0.6, 1], [0, 1, 1], [-1, 0, 1]], dtype=np.float32)
    weights = nearest(vectors, 2).toarray()
    assert np.diag(weights).tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(weights[0], [0, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(weights[1], [0, 0, 0.36, 0] + np.array([0.64, 0, 0, 0]), atol=1e-6)
    np.testing.assert_allclose(weights[3].sum(), 0, atol=1e-6)


def test_up_to_the_limit_neighbors_are_those_of_a_full_comparison() -> None:
    features = documents(400)
    cosine = (features[:, :-1] @ features[:, :-1].T).astype(float)
    np.fill_diagonal(cosine, -1)
    weight = np.where(cosine >= np.sort(cosine)[:, [-30]], np.maximum(cosine, 0) ** 2, 0)
    expected = weight / weight.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(nearest(features).toarray(), expected, atol=1e-6)


def test_by_clusters_most_neighbors_are_found_and_none_is_made_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = documents(4000)
    exact, found = nearest(features), nearest(features, exact=0)
    assert found.diagonal().sum() == 0
    common = exact.multiply(found > 0)
    assert common.nnz >= 0.85 * exact.nnz
    assert common.sum() >= 0.9 * 4000  # the strongest neighbors carry the weight
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found != nearest(features, exact=0)).nnz == 0
    monkeypatch.setattr(neighbors, "SIMILARITIES", 5000)  # the block size must not matter
    assert abs(nearest(features, exact=0) - found).max() < 1e-6


def test_clusters_compare_a_small_share_of_all_pairs() -> None:
    """Twice the documents, about 2^1.5 times the work: no one cluster takes them all."""
    work = []
    for n_docs in (10_000, 20_000):
        clusters = neighbors._nearest_clusters(documents(n_docs)[:, :-1], int(np.sqrt(n_docs)))
        own, probed = np.bincount(clusters[:, 0]), np.bincount(clusters.ravel())
        work.append(int((own * probed[: len(own)]).sum()))
    assert work[0] <= 0.25 * 10_000**2
    assert work[1] <= 3.3 * work[0]


def test_documents_without_words_have_no_neighbors() -> None:
    features = documents(800)
    features[::3, :-1] = 0
    for exact in (0, 1000):
        weights = nearest(features, exact=exact)
        assert weights[::3].nnz == weights[:, ::3].nnz == 0
