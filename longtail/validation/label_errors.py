"""Labels that are probably wrong or missing, by what two simple models expect of the text.

Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty
in Dataset Labels", eq. 2), applied to each label by itself as a yes/no question. Our scores are
the mean of two predictions that leave the document out, both on TF-IDF reduced by SVD: ridge
regression of the 0/1 labels, and the labels of the 30 most similar documents. One linear solve
and one matrix product give them for every label and document, where cross-validation would fit
each label five times; docs/benchmarks/label_errors.md compares the variants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

CHARACTERS_READ = 50_000  # of each text
MAX_FEATURES = 50_000
RIDGE = 10.0
LEAST_SUPPORT = 5  # documents; a label with fewer cannot be predicted, so nothing is said about it
BLOCK = 256  # labels scored at a time
NEIGHBORS = 30
ROWS = 1000  # documents compared with all others at a time


@dataclass(frozen=True)
class Suspect:
    """One label of one document. `score` orders the suspects of one kind, higher is worse.

    kind "wrong": the document has the label; score = how far the prediction is under its mean for
    documents with the label, in standard deviations over documents without it. kind "missing": it
    has not; score = the prediction.
    """

    kind: str
    document: int
    label: int
    score: float


def suspects(
    texts: Sequence[str], targets: sp.csr_matrix, top: int, n_features: int, seed: int
) -> list[Suspect]:
    """The `top` wrong and the `top` missing labels, wrong ones first, each worst first.

    `targets` is `(n_docs, n_labels)` 0/1. A label with fewer than five documents, or with fewer
    than five documents without it, is passed over.
    """
    support = np.asarray(targets.sum(axis=0)).ravel()
    n_docs = targets.shape[0]
    columns = np.flatnonzero((support >= LEAST_SUPPORT) & (support <= n_docs - LEAST_SUPPORT))
    if not len(columns):
        return []
    features = text_features(texts, n_features, seed)
    found: dict[str, list[Suspect]] = {"wrong": [], "missing": []}
    neighbors = nearest(features)
    for block, regression in leave_one_out(features, targets, columns):
        scores = (regression + (neighbors @ targets[:, block]).toarray()) / 2
        given = targets[:, block].toarray().astype(bool)
        for kind, (rank, candidate) in doubts(scores, given).items():
            best = _best(rank, candidate, top)
            found[kind] += [Suspect(kind, k, int(block[i]), s) for k, i, s in best]
            found[kind] = sorted(found[kind], key=lambda s: (-s.score, s.document, s.label))[:top]
    return found["wrong"] + found["missing"]


def text_features(texts: Sequence[str], n_features: int, seed: int) -> np.ndarray:
    """TF-IDF of each text reduced to `n_features` at most, rows of length 1, and a constant 1."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=MAX_FEATURES, dtype=np.float32)
    try:
        tfidf = vectorizer.fit_transform([text[:CHARACTERS_READ] for text in texts])
    except ValueError:  # not one word in the whole corpus
        return np.ones((len(texts), 1), dtype=np.float32)
    rank = min(n_features, min(tfidf.shape) - 1)
    if rank >= 1:
        reduced = TruncatedSVD(rank, n_iter=3, random_state=seed).fit_transform(tfidf)
    else:
        reduced = tfidf.toarray()  # one word or one document: nothing to reduce
    length = np.linalg.norm(reduced, axis=1, keepdims=True)
    reduced = np.divide(reduced, length, out=np.zeros_like(reduced), where=length > 0)
    return np.hstack([reduced, np.ones((len(texts), 1), dtype=np.float32)])


def leave_one_out(
    features: np.ndarray, targets: sp.csr_matrix, columns: np.ndarray, ridge: float = RIDGE
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of `columns` with what ridge regression fitted without a document predicts for it.

    Exact: with hat matrix H, the prediction without document k is (ŷ_k − H_kk y_k) / (1 − H_kk).
    Yields the block's columns and predictions `(n_docs, n_block)`.
    """
    gram = features.T @ features + ridge * np.eye(features.shape[1], dtype=features.dtype)
    projected = np.linalg.solve(gram, features.T).T
    leverage = np.einsum("kf,kf->k", projected, features)[:, None]
    for start in range(0, len(columns), BLOCK):
        block = columns[start : start + BLOCK]
        y = targets[:, block].toarray().astype(features.dtype)
        yield block, (projected @ (features.T @ y) - leverage * y) / (1 - leverage)


def nearest(features: np.ndarray, n_neighbors: int = NEIGHBORS) -> sp.csr_matrix:
    """Row k: weights, of sum 1, of the documents most similar to k, without k itself.

    Weight is the squared cosine similarity (negative counts as 0). `features` has rows of length 1
    and the constant; returns `(n_docs, n_docs)` with at most `n_neighbors` entries a row.
    """
    vectors, n_docs = features[:, :-1], len(features)
    n = min(n_neighbors, n_docs - 1)
    blocks = []
    for start in range(0, n_docs, ROWS):
        similarity = vectors[start : start + ROWS] @ vectors.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -1
        found = np.argpartition(-similarity, n - 1, axis=1)[:, :n]
        weight = np.maximum(np.take_along_axis(similarity, found, axis=1), 0) ** 2
        total = weight.sum(axis=1, keepdims=True)
        weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        ends = np.arange(0, found.size + 1, n)
        blocks.append(
            sp.csr_matrix((weight.ravel(), found.ravel(), ends), shape=(len(found), n_docs))
        )
    return sp.csr_matrix(sp.vstack(blocks))


def doubts(scores: np.ndarray, given: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kind → (rank, candidate), both `(n_docs, n_labels)`.

    A given label is doubted where its score is at most the label's mean over documents without
    it; an absent one where its score is at least the mean over documents with it (the thresholds
    of confident learning). Both classes of every label must occur.
    """
    n_given = given.sum(axis=0)
    mean_given = (scores * given).sum(axis=0) / n_given
    n_absent = len(given) - n_given
    mean_absent = (scores * ~given).sum(axis=0) / n_absent
    spread = np.sqrt((np.square(scores - mean_absent) * ~given).sum(axis=0) / n_absent)
    return {
        "wrong": ((mean_given - scores) / (spread + 1e-6), given & (scores <= mean_absent)),
        "missing": (scores, ~given & (scores >= mean_given)),
    }


def _best(rank: np.ndarray, candidate: np.ndarray, top: int) -> list[tuple[int, int, float]]:
    """The `top` candidates of highest rank as (document, label, rank)."""
    rows, columns = np.nonzero(candidate)
    values = rank[rows, columns]
    order = np.argsort(-values, kind="stable")[:top]
    return [(int(rows[o]), int(columns[o]), float(values[o])) for o in order]
