"""What to annotate next: a queue of documents from a pool without labels, by several strategies.

A strategy takes a `Pool`, a size, and a random generator, and returns the rows of the pool that it
wants, the best first. To add one, write the function and list it in STRATEGIES.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, logit

from longtail.errors import ParameterError, unknown_name

RANDOM = "random"
NEW_LABEL = "new_label"
EPS = 1e-7  # float32 scores are 0 or 1 beyond
CANDIDATES = 10  # documents that `kmeans` clusters, and `anchors` ranks, per document of the queue
ANCHORS = 10  # labeled documents that stand for a label
NEIGHBORS = 50  # documents of the pool that an anchor brings


@dataclass(frozen=True)
class Pool:
    """Documents without labels, and what is known of the labels.

    Attributes:
        scores: the model's, `(n_docs, n_labels)`, in [0, 1].
        thresholds: of the labels, `(n_labels,)`, in [0, 1].
        counts: labeled documents per label, `(n_labels,)`.
        features: of the documents, `(n_docs, n_features)`, rows of length 1 or 0.
        known: of the labeled documents, `(n_known, n_features)`, rows of length 1 or 0.
        targets: of the labeled documents, 0/1 CSR `(n_known, n_labels)`.
    """

    scores: np.ndarray
    thresholds: np.ndarray
    counts: np.ndarray
    features: np.ndarray
    known: np.ndarray
    targets: sp.csr_matrix

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, rows: np.ndarray) -> Pool:
        """Some of the documents."""
        return replace(self, scores=self.scores[rows], features=self.features[rows])


Strategy = Callable[[Pool, int, np.random.Generator], np.ndarray]


def draw(
    pool: Pool,
    size: int,
    *,
    strategy: str = "tail_gain",
    random_share: float = 0.2,
    likeness: np.ndarray | None = None,
    new_label_share: float = 0.0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose documents to annotate: at random, for labels without any, and by a strategy.

    Those drawn at random are a fair sample of the whole pool, whatever the strategy: they are drawn
    first, and spread evenly over the queue, so that any beginning of it has its share of them. Next
    come those most similar to a label that no model knows yet, one for each label in turn, ahead of
    those of the strategy.

    Args:
        pool: what to choose from.
        size: documents wanted; a smaller pool gives all that it has.
        strategy: a name in `STRATEGIES`.
        random_share: share of the queue that is drawn at random, 0 to 1, rounded.
        likeness: of documents and labels that the model does not know, `(n_docs, n_new_labels)`.
        new_label_share: share of what is not drawn at random for these labels, 0 to 1, rounded.
        seed: of everything random.

    Returns:
        Rows of the pool in the order of the queue, `(n,)` int, n = min(size, n_docs), and how each
        was drawn, `(n,)` object: `RANDOM`, `NEW_LABEL`, or the strategy.

    Raises:
        ParameterError: unknown strategy, `size` under 1, or a share outside [0, 1].
    """
    if strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    if size < 1 or not (0 <= random_share <= 1 and 0 <= new_label_share <= 1):
        raise ParameterError(
            "size must be at least 1, and random_share and new_label_share between 0 and 1, got "
            f"{size}, {random_share}, {new_label_share}."
        )
    rng, size = np.random.default_rng(seed), min(size, len(pool))
    n_random, n_new = places(size, strategy, random_share, new_label_share)
    sample = rng.permutation(len(pool))[:n_random]
    others = np.setdiff1d(np.arange(len(pool)), sample)
    found = np.empty(0, np.int64)
    if likeness is not None:
        found = others[nearest(likeness[others], n_new)]
        others = np.setdiff1d(others, found)
    n_chosen = size - n_random - len(found)
    chosen = others[STRATEGIES[strategy](pool.at(others), n_chosen, rng)]
    at_random = np.zeros(size, bool)
    at_random[((np.arange(n_random) + 0.5) * size / max(n_random, 1)).astype(int)] = True
    rows, drawn = np.empty(size, np.int64), np.full(size, RANDOM, object)
    rows[at_random], rows[~at_random] = sample, np.concatenate([found, chosen])
    drawn[~at_random] = [NEW_LABEL] * len(found) + [strategy] * len(chosen)
    return rows, drawn


def places(
    size: int, strategy: str, random_share: float, new_label_share: float
) -> tuple[int, int]:
    """Documents of a queue that are drawn at random, and those for new labels.

    >>> places(200, "tail_gain", 0.2, 0.2), places(200, "random", 0.2, 0.2)
    ((40, 32), (200, 0))
    """
    n_random = size if strategy == RANDOM else round(random_share * size)
    return n_random, round(new_label_share * (size - n_random))


def nearest(likeness: np.ndarray, size: int) -> np.ndarray:
    """The documents most similar to a label, one for each label in turn, `(n,)` int.

    >>> nearest(np.array([[0.9, 0.8], [0.5, 0.7], [0.1, 0.2], [0.6, 0.1]]), 3).tolist()
    [0, 3, 1]
    """
    order = np.argsort(-likeness, axis=0, kind="stable")
    return np.array(list(dict.fromkeys(order.ravel().tolist()))[:size], dtype=np.int64)


def likelihoods(pool: Pool) -> np.ndarray:
    """Scores relative to their thresholds, p' = σ(logit p − logit t), `(n_docs, n_labels)`.

    A score at its label's threshold becomes 1/2, which makes labels and models comparable.
    """
    p, t = (np.clip(one, EPS, 1 - EPS) for one in (pool.scores, pool.thresholds))
    return expit(logit(p) - logit(t))


def merits(pool: Pool, strategy: str) -> np.ndarray:
    """How much each label speaks for each document `(n_docs, n_labels)`, the more the better.

    For `tail_gain` the gain before anything is queued, for the others nearness to the threshold.
    """
    likely = likelihoods(pool)
    return likely / (pool.counts + 1.0) if strategy == "tail_gain" else -np.abs(likely - 0.5)


def at_random(pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
    """Any documents."""
    return rng.permutation(len(pool))[:size]


def uncertainty(pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
    """Documents with a label nearest to its own threshold, whichever label that is.

    Uncertainty sampling (Lewis and Gale 1994) with a threshold per label.
    """
    nearest = np.abs(likelihoods(pool) - 0.5).min(axis=1, initial=0.5)
    return np.argsort(nearest, kind="stable")[:size]


def tail_gain(pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
    """Documents expected to bring positives to the labels that have the fewest.

    The gain of document k is Σ_i p'_ki / (n_i + m_i + 1), about what it adds to Σ_i log n_i: n_i is
    the number of positives of label i so far, and m_i the number expected in the documents queued
    already, so that the queue does not go to a single label. Gains only shrink, so the lazy
    evaluation of Minoux (1978) finds the greedy order without computing all gains in every step.
    """
    likely, found = likelihoods(pool), pool.counts + 1.0
    heap = [(-gain, row) for row, gain in enumerate(likely @ (1 / found))]
    heapq.heapify(heap)
    order: list[int] = []
    while heap and len(order) < size:
        _, row = heapq.heappop(heap)
        gain = float(likely[row] @ (1 / found))
        if heap and gain < -heap[0][0]:  # those before it have taken from it: back to its new place
            heapq.heappush(heap, (-gain, row))
            continue
        order.append(row)
        found += likely[row]
    return np.array(order, dtype=np.int64)


def kmeans(pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
    """Uncertain documents that differ from each other: those nearest to the centers of k-means.

    As in Yuan, Lin and Boyd-Graber 2020 (https://arxiv.org/abs/2010.09535), over features of the
    texts instead of a language model's surprise.
    """
    from sklearn.cluster import MiniBatchKMeans  # takes 2 s to load

    candidates = uncertainty(pool, CANDIDATES * size, rng)
    if len(candidates) <= size:
        return candidates
    vectors = pool.features[candidates]
    clustering = MiniBatchKMeans(
        size, n_init=1, tol=0.0, max_no_improvement=None, max_iter=20,
        random_state=int(rng.integers(2**31)),
    ).fit(vectors)  # fmt: skip
    distance = np.linalg.norm(vectors - clustering.cluster_centers_[clustering.labels_], axis=1)
    rank = np.empty(len(candidates), np.int64)  # within its cluster, the nearest first
    order = np.lexsort((np.arange(len(candidates)), distance, clustering.labels_))
    starts = np.searchsorted(clustering.labels_[order], clustering.labels_[order])
    rank[order] = np.arange(len(order)) - starts
    return candidates[np.lexsort((np.arange(len(candidates)), rank))][:size]


def anchors(pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
    """Uncertain documents among those similar to labeled documents of rare labels.

    AnchorAL (Lesci and Vlachos 2024, https://arxiv.org/abs/2404.05623): anchors of each class are
    labeled documents; each brings its nearest neighbors in the pool, and those with the largest
    mean similarity to the anchors that brought them are the subpool from which a strategy chooses.
    Here the classes are the rarer half of the labels that have a positive, since almost every
    document has a frequent one, and anchors are drawn at random instead of by k-means++.
    """
    seen = np.flatnonzero(pool.counts * np.diff(pool.targets.tocsc().indptr))
    rare = seen[pool.counts[seen] <= np.median(pool.counts[seen])] if len(seen) else seen
    total, times = np.zeros(len(pool)), np.zeros(len(pool))
    columns = pool.targets.tocsc()
    for label in rare:
        positives = columns.indices[columns.indptr[label] : columns.indptr[label + 1]]
        mine = rng.permutation(positives)[:ANCHORS]
        similarity = pool.features @ pool.known[mine].T
        nearest = np.argsort(-similarity, axis=0, kind="stable")[:NEIGHBORS]
        np.add.at(total, nearest, np.take_along_axis(similarity, nearest, axis=0))
        np.add.at(times, nearest, 1)
    mean = np.divide(total, times, out=np.full(len(pool), -2.0), where=times > 0)
    subpool = np.sort(np.argsort(-mean, kind="stable")[: CANDIDATES * size])
    return subpool[uncertainty(pool.at(subpool), size, rng)]


# Strategies that look at the features; the others take any, such as those of no column.
BY_FEATURES = frozenset({"kmeans", "anchors"})
STRATEGIES: dict[str, Strategy] = {
    RANDOM: at_random,
    "uncertainty": uncertainty,
    "tail_gain": tail_gain,
    "kmeans": kmeans,
    "anchors": anchors,
}
