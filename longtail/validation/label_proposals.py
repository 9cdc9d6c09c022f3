"""Proposes labels to merge, which annotators use as one, and labels to split, which hide two.

Both look at the texts only. Two labels are used as one if the documents of one cannot be told from
those of the other. A label hides two if its documents fall into two clusters that have little in
common. People decide: labels may mean different things in the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.stats import rankdata
from sklearn.cluster import KMeans

from longtail.validation.findings import excerpt

Features = npt.NDArray[np.floating]
Rows = npt.NDArray[np.int64]

N_FEATURES = 128  # of the reduced TF-IDF that both look at
NEAREST = 10  # labels that a label is compared with
MOST_AUC = 0.6  # upper bound from which labels are told apart well enough
MOST_COSINE = 0.3  # of two clusters' centers, from which they have enough in common
TYPICAL = 50  # characters of a text that is typical of a cluster
Z95 = 1.6449  # one-sided


@dataclass(frozen=True)
class Merge:
    """Two labels whose documents cannot be told apart.

    Attributes:
        labels: columns, the smaller first.
        n_docs: documents that have one of them and not the other.
        together: documents that have both.
        auc: how well the texts tell the one from the other: 0.5 not at all, 1 perfectly.
        upper: of `auc`, with 95% confidence.
    """

    labels: tuple[int, int]
    n_docs: tuple[int, int]
    together: int
    auc: float
    upper: float


@dataclass(frozen=True)
class Split:
    """A label whose documents are two groups.

    Attributes:
        label: column.
        clusters: rows of the documents of each, the most typical first.
        cosine: of the centers of both, −1 to 1.
    """

    label: int
    clusters: tuple[Rows, Rows]
    cosine: float


def proposals(
    features: Features,
    targets: sp.csr_matrix,
    labels: Sequence[str],
    texts: Sequence[str],
    *,
    least: int = 15,
    top: int = 20,
    seed: int = 0,
) -> dict[str, Any]:
    """Both kinds with names and typical texts, as a record for JSON.

    Args:
        features: `(n_docs, n_features)`, as `centered` returns them.
        targets: 0/1 `(n_docs, n_labels)`.
        labels: of the columns.
        texts: of the documents.
        least: documents per side.
        top: of each kind, at most.
        seed: of the clusters.

    Returns:
        `merge` and `split`, each with `count` and the clearest `rows`.
    """
    if not features.shape[1]:  # the texts have no word
        features = np.zeros((len(texts), 1))
    joined, hidden = merges(features, targets, least), splits(features, targets, least, seed)
    pairs = [
        {
            "labels": [excerpt(labels[i]) for i in pair.labels],
            "documents": list(pair.n_docs),
            "together": pair.together,
            "auc": pair.auc,
            "upper": pair.upper,
        }
        for pair in joined[:top]
    ]
    halves = [
        {
            "label": excerpt(labels[split.label]),
            "cosine": split.cosine,
            "clusters": [
                {
                    "documents": len(rows),
                    "typical": [excerpt(texts[k], TYPICAL) for k in rows[:3].tolist()],
                }
                for rows in split.clusters
            ],
        }
        for split in hidden[:top]
    ]
    return {
        "merge": {"count": len(joined), "rows": pairs},
        "split": {"count": len(hidden), "rows": halves},
    }


def merges(features: Features, targets: sp.csr_matrix, least: int) -> list[Merge]:
    """Pairs of labels that are used as one, the clearest first.

    Each label is compared with those whose documents are nearest on average. A document is scored
    by which label's center it is nearer to, its own left out; the AUC of these scores has the
    standard error of Hanley and McNeil (1982, "The meaning and use of the area under a ROC curve").

    Args:
        features: `(n_docs, n_features)`, as `centered` returns them.
        targets: 0/1 `(n_docs, n_labels)`.
        least: documents that each label has without the other.
    """
    documents = _documents(targets)
    columns = [i for i, rows in enumerate(documents) if len(rows) >= least]
    if len(columns) < 2:
        return []
    centers = np.stack([_unit(features[documents[i]].sum(axis=0)) for i in columns])
    cosines = centers @ centers.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :NEAREST]
    pairs = {(min(i, j), max(i, j)) for i, row in enumerate(nearest.tolist()) for j in row}
    found = []
    for i, j in sorted(pairs - {(i, i) for i in range(len(columns))}):
        first, second = documents[columns[i]], documents[columns[j]]
        one, other = np.setdiff1d(first, second), np.setdiff1d(second, first)
        if min(len(one), len(other)) < max(least, 2):
            continue
        auc, error = told_apart(features[one], features[other])
        if auc + Z95 * error <= MOST_AUC:
            together = len(first) - len(one)
            found.append(
                Merge((columns[i], columns[j]), (len(one), len(other)), together, auc,
                      auc + Z95 * error)
            )  # fmt: skip
    return sorted(found, key=lambda pair: (pair.upper, pair.labels))


def told_apart(one: Features, other: Features) -> tuple[float, float]:
    """How well two groups of documents are told apart, as AUC, and its standard error.

    Args:
        one: `(n_one, n_features)`, at least two rows.
        other: `(n_other, n_features)`, at least two rows.
    """
    scores = np.concatenate([_nearer(one, other), -_nearer(other, one)])
    n, m = len(one), len(other)
    auc = float((rankdata(scores)[:n].sum() - n * (n + 1) / 2) / (n * m))
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)
    return auc, float(np.sqrt(max(variance, 0.0) / (n * m)))


def _nearer(own: Features, other: Features) -> Features:
    """How much nearer each document is to its own center, without itself, than to the other."""
    without = own.sum(axis=0) - own
    mine = (own * without).sum(axis=1) / np.maximum(np.linalg.norm(without, axis=1), 1e-12)
    found: Features = mine - own @ _unit(other.sum(axis=0))
    return found


def splits(features: Features, targets: sp.csr_matrix, least: int, seed: int) -> list[Split]:
    """Labels that hide two, the clearest first: two clusters (k-means) with distant centers.

    Args:
        features: `(n_docs, n_features)`, as `centered` returns them.
        targets: 0/1 `(n_docs, n_labels)`.
        least: documents in each cluster.
        seed: of the clusters.
    """
    found = []
    for label, rows in enumerate(_documents(targets)):
        if len(rows) < 2 * least:
            continue
        number = KMeans(2, n_init=4, random_state=seed).fit_predict(features[rows])
        parts = [rows[number == k] for k in (0, 1)]
        if min(map(len, parts)) < least:
            continue
        centers = [_unit(features[part].sum(axis=0)) for part in parts]
        cosine = float(centers[0] @ centers[1])
        if cosine <= MOST_COSINE:
            one, other = (
                part[np.argsort(-(features[part] @ center), kind="stable")]
                for part, center in zip(parts, centers, strict=True)
            )
            found.append(Split(label, (one, other), cosine))
    return sorted(found, key=lambda split: (split.cosine, split.label))


def centered(features: Features) -> npt.NDArray[np.float64]:
    """Rows without their mean, of length one; rows of zeros stay."""
    rows = np.asarray(features, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    found: npt.NDArray[np.float64] = rows / np.maximum(
        np.linalg.norm(rows, axis=1, keepdims=True), 1e-12
    )
    return found


def _documents(targets: sp.csr_matrix) -> list[Rows]:
    """The rows of each label's documents, ascending."""
    columns = targets.tocsc()
    columns.sort_indices()
    bounds = columns.indptr
    return [
        columns.indices[bounds[i] : bounds[i + 1]].astype(np.int64) for i in range(len(bounds) - 1)
    ]


def _unit(vector: Features) -> Features:
    found: Features = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return found
