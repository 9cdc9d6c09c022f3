"""Finds labels that are probably wrong or missing, given what two simple models expect.

Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty
in Dataset Labels", eq. 2), applied to each label separately as a yes/no question. The scores are
the mean of two predictions that leave the document out, both on TF-IDF reduced by SVD: ridge
regression of the 0/1 labels, and the labels of the 30 most similar documents. One linear solve and
one matrix product give them for all labels and documents, while cross-validation would fit each
label five times; docs/benchmarks/label_errors.md compares the variants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from longtail.validation.neighbors import nearest

CHARACTERS_READ = 50_000  # of each text
MAX_FEATURES = 50_000
RIDGE = 10.0
LEAST_SUPPORT = 5  # documents; a label with fewer cannot be predicted and is skipped
BLOCK = 256  # labels scored at a time, at most
CELLS = 25_600_000  # documents × labels scored at a time: bounds the memory


@dataclass(frozen=True)
class Suspect:
    """One label of one document that is probably an error.

    Attributes:
        kind: the rule that suspects it: of this module, "wrong" if the document has the label, and
            "missing" if it does not; or one of `conflicts`.
        document: row.
        label: column.
        score: orders the suspects of one kind; higher is worse. If "missing", the prediction; if
            "wrong", how far the prediction is below its mean over documents with the label, in
            standard deviations over documents without it.
    """

    kind: str
    document: int
    label: int
    score: float


def suspects(
    features: np.ndarray,
    targets: sp.csr_matrix,
    top: int,
    skip: sp.csr_matrix | None = None,
) -> list[Suspect]:
    """Find the most suspicious labels.

    A label with fewer than five documents, or with fewer than five documents without it, is
    skipped.

    Args:
        features: of the documents, as `text_features` returns them.
        targets: 0/1 `(n_docs, n_labels)`.
        top: suspects of each kind, at most.
        skip: 0/1 `(n_docs, n_labels)`, 1 where a label is not to be suspected.

    Returns:
        The wrong labels, then the missing ones, each worst first.
    """
    support = np.asarray(targets.sum(axis=0)).ravel()
    n_docs = targets.shape[0]
    columns = np.flatnonzero((support >= LEAST_SUPPORT) & (support <= n_docs - LEAST_SUPPORT))
    if not len(columns):
        return []
    found: dict[str, list[Suspect]] = {"wrong": [], "missing": []}
    neighbors = nearest(features)
    for block, regression in leave_one_out(features, targets, columns):
        scores = (regression + (neighbors @ targets[:, block]).toarray()) / 2
        given = targets[:, block].toarray().astype(bool)
        open_cells = True if skip is None else skip[:, block].toarray() == 0
        for kind, (rank, candidate) in doubts(scores, given).items():
            best = _best(rank, candidate & open_cells, top)
            found[kind] += [Suspect(kind, k, int(block[i]), s) for k, i, s in best]
            found[kind] = sorted(found[kind], key=lambda s: (-s.score, s.document, s.label))[:top]
    return found["wrong"] + found["missing"]


def text_features(texts: Sequence[str], n_features: int, seed: int) -> np.ndarray:
    """TF-IDF of each text, reduced by SVD.

    Args:
        texts: the documents.
        n_features: dimensions of the reduced TF-IDF.
        seed: of the reduction.

    Returns:
        `(n_docs, n + 1)` float32 with n <= `n_features`: rows of length 1, and a constant 1.
    """
    vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=MAX_FEATURES, dtype=np.float32)
    try:
        tfidf = vectorizer.fit_transform([text[:CHARACTERS_READ] for text in texts])
    except ValueError:  # not a single word in the whole corpus
        return np.ones((len(texts), 1), dtype=np.float32)
    rank = min(n_features, min(tfidf.shape) - 1)
    if rank >= 1:
        # Threads wait for each other hundreds of times: where other processes compute as well, that
        # took twenty times as long as one thread.
        with threadpool_limits(1, user_api="blas"):
            reduced = TruncatedSVD(rank, n_iter=3, random_state=seed).fit_transform(tfidf)
    else:
        reduced = tfidf.toarray()  # one word or one document: nothing to reduce
    length = np.linalg.norm(reduced, axis=1, keepdims=True)
    reduced = np.divide(reduced, length, out=np.zeros_like(reduced), where=length > 0)
    return np.hstack([reduced, np.ones((len(texts), 1), dtype=np.float32)])


def leave_one_out(
    features: np.ndarray, targets: sp.csr_matrix, columns: np.ndarray, ridge: float = RIDGE
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Predict labels by ridge regression, each document by a fit without it.

    Exact: with hat matrix H, the prediction without document k is (ŷ_k − H_kk y_k) / (1 − H_kk).

    Args:
        features: `(n_docs, n_features)`.
        targets: 0/1 `(n_docs, n_labels)`.
        columns: labels to predict.
        ridge: strength of the penalty.

    Yields:
        A block of `columns`, and its predictions `(n_docs, n_block)`.
    """
    gram = features.T @ features + ridge * np.eye(features.shape[1], dtype=features.dtype)
    projected = np.linalg.solve(gram, features.T).T
    leverage = np.einsum("kf,kf->k", projected, features)[:, None]
    size = min(BLOCK, max(1, CELLS // len(features)))
    for start in range(0, len(columns), size):
        block = columns[start : start + size]
        y = targets[:, block].toarray().astype(features.dtype)
        yield block, (projected @ (features.T @ y) - leverage * y) / (1 - leverage)


def doubts(scores: np.ndarray, given: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Which labels are in doubt, and how much, by the thresholds of confident learning.

    A given label is in doubt if its score is at most the label's mean over documents without it; an
    absent one if its score is at least the mean over documents with it.

    Args:
        scores: `(n_docs, n_labels)`.
        given: `(n_docs, n_labels)` bool; every label must be given to some documents, not to all.

    Returns:
        Kind ("wrong" or "missing") to (rank, candidate), both `(n_docs, n_labels)`.
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
    """The `top` candidates with the highest rank, as (document, label, rank)."""
    rows, columns = np.nonzero(candidate)
    values = rank[rows, columns]
    if len(values) > top:  # there may be millions
        high = np.flatnonzero(values >= np.partition(values, -top)[-top])
        rows, columns, values = rows[high], columns[high], values[high]
    order = np.argsort(-values, kind="stable")[:top]
    return [(int(rows[o]), int(columns[o]), float(values[o])) for o in order]
