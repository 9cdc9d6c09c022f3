"""Finds the documents most similar to each document: exactly, or by clusters if there are many.

The clusters are an inverted file index (Sivic and Zisserman 2003; Jégou, Douze and Schmid 2011,
without their compression): k-means puts n documents into √n clusters, and each document is compared
only with those in the clusters nearest to it. Time grows with n^1.5 instead of n².
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import MiniBatchKMeans

NEIGHBORS = 30
EXACT = 20_000  # documents up to which each is compared with all others
PROBES = 16  # clusters searched per document
SIMILARITIES = 4_000_000  # held at a time


def nearest(
    features: np.ndarray, n_neighbors: int = NEIGHBORS, exact: int = EXACT
) -> sp.csr_matrix:
    """Weights of the documents most similar to each document, other than itself.

    A weight is the squared cosine similarity (negative counts as 0), scaled to a sum of 1. With
    more than `exact` documents some of the neighbors are missed, and the next ones take their
    place; docs/benchmarks/label_errors.md says how many.

    Args:
        features: `(n_docs, n_features + 1)`, rows of length 1 and the constant.
        n_neighbors: entries per row, at most.
        exact: documents up to which each is compared with all others.

    Returns:
        CSR `(n_docs, n_docs)`.
    """
    vectors, n_docs = features[:, :-1], len(features)
    if n_docs <= exact:
        clusters = np.zeros((n_docs, 1), dtype=np.int64)
    else:
        clusters = _nearest_clusters(vectors, int(np.sqrt(n_docs)))
    similarity, found = _most_similar(vectors, clusters, min(n_neighbors, n_docs - 1))
    weight = np.maximum(similarity, 0) ** 2
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    rows, ranks = np.nonzero(weight)
    at = (rows, found[rows, ranks])
    return sp.csr_matrix((weight[rows, ranks], at), shape=(n_docs, n_docs))


def _nearest_clusters(vectors: np.ndarray, k: int) -> np.ndarray:
    """The clusters nearest to each document, its own first, `(n_docs, PROBES)` int."""
    # No early stop: it goes by a sum that threads add up in any order.
    clustering = MiniBatchKMeans(
        k, init="random", n_init=1, max_iter=3, batch_size=8192, tol=0.0, random_state=0,
        max_no_improvement=None, compute_labels=False,
    )  # fmt: skip
    centers = clustering.fit(vectors).cluster_centers_.astype(vectors.dtype)
    length = np.linalg.norm(centers, axis=1, keepdims=True)
    centers = np.divide(centers, length, out=np.zeros_like(centers), where=length > 0)
    found = []
    for start in range(0, len(vectors), SIMILARITIES // k):
        distance = -(vectors[start : start + SIMILARITIES // k] @ centers.T)
        probed = np.argpartition(distance, PROBES - 1, axis=1)[:, :PROBES]
        ranks = np.argsort(np.take_along_axis(distance, probed, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(probed, ranks, axis=1))
    return np.concatenate(found)


def _most_similar(
    vectors: np.ndarray, clusters: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compare each document with those whose own cluster is among its `clusters`.

    Returns:
        The largest cosine similarities `(n_docs, n)`, −1 where there are fewer, and whose they are.
    """
    n_docs = len(clusters)
    similarity = np.full((n_docs, n), -1, dtype=vectors.dtype)
    found = np.zeros((n_docs, n), dtype=np.int64)
    # Clusters beyond the last one that is anybody's own have nobody inside.
    own, probed = _documents_by_cluster(clusters[:, :1]), _documents_by_cluster(clusters)
    for inside, asking in zip(own, probed, strict=False):
        rows_at_a_time = max(1, SIMILARITIES // max(1, len(inside)))
        for start in range(0, len(asking), rows_at_a_time):
            rows = asking[start : start + rows_at_a_time]
            new = vectors[rows] @ vectors[inside].T
            _, here, itself = np.intersect1d(rows, inside, True, return_indices=True)
            new[here, itself] = -1
            best = _highest(new, n)  # first, so that only these are copied
            both = np.hstack([similarity[rows], np.take_along_axis(new, best, axis=1)])
            names = np.hstack([found[rows], inside[best]])
            best = _highest(both, n)
            similarity[rows] = np.take_along_axis(both, best, axis=1)
            found[rows] = np.take_along_axis(names, best, axis=1)
    return similarity, found


def _highest(values: np.ndarray, n: int) -> np.ndarray:
    """Columns of the n highest values of each row, or of all, in any order."""
    if values.shape[1] <= n:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(values, -n, axis=1)[:, -n:]


def _documents_by_cluster(clusters: np.ndarray) -> list[np.ndarray]:
    """The documents, ascending, that have each cluster in their row of `clusters`."""
    order = np.argsort(clusters, axis=None, kind="stable")
    sizes = np.bincount(clusters.ravel())
    return np.split(order // clusters.shape[1], np.cumsum(sizes)[:-1])
