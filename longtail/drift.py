"""Measures how far new documents have moved from those that a model was trained on.

Distributions are compared by the population stability index (PSI), Σ (p − q) · ln(p / q) over bins,
where p is the new share and q the reference's. By convention 0.1 is a small shift and 0.2 a large
one. Half a document is added to every bin, so an empty bin is not an infinite shift. Small samples
vary by chance: with b bins and n documents, PSI is about (b − 1) / n without any drift. That
expectation is subtracted (`psi`), which is not part of the convention.

Single labels are compared by Fisher's exact test, corrected after Benjamini and Hochberg (1995).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.stats import false_discovery_control, fisher_exact

from longtail.errors import DataError

N_BINS = 10
N_PAIRS = 100
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Documents:
    """Texts, their labels, and how the model scored them.

    Attributes:
        texts: the documents, `n_docs` of them.
        targets: 0/1 CSR `(n_docs, n_labels)`.
        top_scores: `(n_scored,)` highest score of each scored document, in [0, 1].
        n_predicted: `(n_scored,)` number of labels predicted for each scored document. The scored
            documents may be others of the same kind: those of the reference must not be documents
            that the model was trained on.
    """

    texts: Sequence[str]
    targets: sp.csr_matrix
    top_scores: npt.NDArray[np.floating]
    n_predicted: npt.NDArray[np.integer]


def measure(
    reference: Documents, new: Documents, labels: Sequence[str], *, alpha: float = 0.05
) -> dict[str, Any]:
    """Measure every kind of drift; the result can be written as JSON.

    Args:
        reference: documents that the model was trained on.
        new: documents to compare with them.
        labels: the columns of both target matrices.
        alpha: false discovery rate of the tests per label, in (0, 1).

    Returns:
        `documents` counts, `psi` by distribution, `means`, the share of `unknown_words` and of
        `new_pairs`, and `labels` (see `label_drift`).

    Raises:
        DataError: a side is empty.
    """
    for name, side in (("reference", reference), ("new", new)):
        if not len(side.texts):
            raise DataError(f"There is no {name} document, so drift cannot be measured.")
    lengths = [np.array([len(WORD.findall(t)) for t in side.texts]) for side in (reference, new)]
    per_document = [np.diff(side.targets.indptr) for side in (reference, new)]
    sides = ([reference, new], ("reference", "new"))
    return {
        "documents": {name: len(side.texts) for side, name in zip(*sides, strict=True)},
        "psi": {
            "label_prevalence": psi(*(_per_label(side) for side in (reference, new))),
            "label_pairs": psi(*_pair_counts(reference, new)),
            "labels_per_document": psi(*_binned(*per_document)),
            "words_per_document": psi(*_binned(*lengths)),
            "top_score": psi(*_binned(reference.top_scores, new.top_scores)),
        },
        "means": {
            "labels_per_document": _means(*per_document),
            "words_per_document": _means(*lengths),
            "top_score": _means(reference.top_scores, new.top_scores),
            "predicted_labels": _means(reference.n_predicted, new.n_predicted),
        },
        "unknown_words": unknown_share(reference.texts, new.texts),
        "new_pairs": _new_pairs(reference, new),
        "labels": label_drift(reference.targets, new.targets, labels, alpha=alpha),
    }


def psi(reference: npt.ArrayLike, new: npt.ArrayLike) -> float:
    """PSI of two count vectors `(n_bins,)`, minus what chance alone would give; at least 0.

    >>> psi([500, 300, 200], [50, 30, 20]), round(psi([500, 300, 200], [20, 30, 50]), 2)
    (0.0, 0.52)
    """
    counts = np.array([reference, new], dtype=float) + 0.5
    q, p = counts / counts.sum(axis=1, keepdims=True)
    chance = (len(p) - 1) * (1 / counts[0].sum() + 1 / counts[1].sum())
    return float(max(0.0, np.sum((p - q) * np.log(p / q)) - chance))


def label_drift(
    reference: sp.csr_matrix, new: sp.csr_matrix, labels: Sequence[str], *, alpha: float
) -> dict[str, Any]:
    """Labels whose prevalence moved, at a false discovery rate of `alpha`, strongest first."""
    before, after = (np.asarray(side.sum(axis=0)).ravel() for side in (reference, new))
    n_before, n_after = reference.shape[0], new.shape[0]
    p = np.array(
        [
            fisher_exact([[a, n_after - a], [b, n_before - b]])[1]
            for b, a in zip(before, after, strict=True)
        ]
    )
    q = false_discovery_control(p) if len(p) else p
    moved = [i for i in np.argsort(p, kind="stable") if q[i] <= alpha]
    rows = [
        {
            "label": labels[i],
            "reference": before[i] / n_before,
            "new": after[i] / n_after,
            "q": float(q[i]),
        }
        for i in moved
    ]
    return {"share_moved": len(moved) / max(1, len(labels)), "moved": rows}


def unknown_share(reference: Sequence[str], new: Sequence[str]) -> float:
    """Share of the words in `new` that occur in no text of `reference`, ignoring case.

    >>> unknown_share(["Open a file"], ["open the file", "a file"])
    0.2
    """
    known = {word for text in reference for word in WORD.findall(text.lower())}
    words = Counter(word for text in new for word in WORD.findall(text.lower()))
    unknown = sum(count for word, count in words.items() if word not in known)
    return unknown / max(1, words.total())


def alarms(measured: Mapping[str, Any], limits: Mapping[str, float]) -> list[str]:
    """One sentence for every limit that was exceeded.

    Args:
        measured: what `measure` returned.
        limits: `psi` for every PSI, `share_moved` for the share of labels, `unknown_words` for the
            share of words.
    """
    found = [
        f"The distribution of {name} has moved: PSI {value:.2f}, limit {limits['psi']:.2f}."
        for name, value in measured["psi"].items()
        if value > limits["psi"]
    ]
    share = measured["labels"]["share_moved"]
    if share > limits["share_moved"]:
        found.append(
            f"{100 * share:.0f}% of the labels became more or less frequent, "
            f"limit {100 * limits['share_moved']:.0f}%."
        )
    unknown = measured["unknown_words"]
    if unknown > limits["unknown_words"]:
        found.append(
            f"{100 * unknown:.0f}% of the words are new to the model, "
            f"limit {100 * limits['unknown_words']:.0f}%."
        )
    return found


def _per_label(side: Documents) -> npt.NDArray[np.integer]:
    return np.asarray(side.targets.sum(axis=0)).ravel()


def _pairs(side: Documents) -> sp.csr_matrix:
    """How often two labels occur together, upper triangle `(n_labels, n_labels)`."""
    matrix = side.targets.astype(np.int64)
    return sp.triu(matrix.T @ matrix, k=1, format="csr")


def _pair_counts(reference: Documents, new: Documents) -> tuple[npt.NDArray, npt.NDArray]:
    """Counts of the reference's most frequent pairs, and of all others in one last bin."""
    before, after = _pairs(reference).tocoo(), _pairs(new)
    top = np.argsort(-before.data, kind="stable")[:N_PAIRS]
    counts = before.data[top]
    pairs = sp.csr_matrix(
        (np.arange(1, len(top) + 1), (before.row[top], before.col[top])), after.shape
    )
    places = pairs.multiply(after > 0).tocsr()
    matched = np.zeros(len(top), dtype=np.int64)
    matched[places.data - 1] = after.multiply(places > 0).tocsr().data
    rest = (before.data.sum() - counts.sum(), after.data.sum() - matched.sum())
    return np.append(counts, rest[0]), np.append(matched, rest[1])


def _new_pairs(reference: Documents, new: Documents) -> float:
    """Share of the label pairs in `new`, repetitions counted, that `reference` never had."""
    before, after = _pairs(reference), _pairs(new)
    known = after.multiply(before > 0).sum()
    return float(1 - known / after.sum()) if after.nnz else 0.0


def _binned(reference: npt.NDArray, new: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """Counts of both sides in the deciles of the reference."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, N_BINS + 1)[1:-1]))
    sides = (np.searchsorted(edges, side, side="right") for side in (reference, new))
    before, after = (np.bincount(side, minlength=len(edges) + 1) for side in sides)
    return before, after


def _means(reference: npt.NDArray, new: npt.NDArray) -> dict[str, float]:
    return {"reference": float(np.mean(reference)), "new": float(np.mean(new))}
