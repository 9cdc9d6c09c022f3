"""Overfitted tokens: words that cause a label's false positives, and documents that could help."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer

from longtail.report.evidence import Evidence
from longtail.report.worst import gather

WORDS_PER_LABEL = 5
CANDIDATES = 3
MIN_LETTERS = 2
WORD = r"(?u)\b\w\w+\b"

Attributed = Callable[[str, int], Sequence[tuple[str, float | None]]]


def overfitted_tokens(
    evidence: Evidence, attributed: Attributed, *, n_labels: int, n_docs: int
) -> list[dict[str, Any]]:
    """The words behind the false positives of the labels with the most of them.

    Each label's most confident false positives are attributed, and a word's attribution is
    averaged over those documents. Training documents that have the words but not the label are
    candidates for hard negatives, those with the most of the words first.

    Args:
        evidence: Test and training documents, labels and scores.
        attributed: Text and column -> (piece, attribution or None) pairs.
        n_labels: Labels to examine.
        n_docs: False positives to attribute per label.

    Returns:
        Per label `label` (column), `n_wrong`, `n_explained`, `words` (each with `word`,
        `attribution`, and the training documents `with_label` and `without_label`) and
        `hard_negatives` (train row numbers).
    """
    wrong = evidence.false_positives.tocsc()
    n_wrong = np.diff(wrong.indptr)
    order = np.lexsort((np.arange(len(n_wrong)), -n_wrong))[:n_labels]
    driving = {
        int(label): _driving_words(evidence, wrong, int(label), attributed, n_docs)
        for label in order
        if n_wrong[label]
    }
    words = sorted({word for found in driving.values() for word in found})
    if not words:
        return []
    present = _presence(evidence.train["text"], words)
    column = {word: i for i, word in enumerate(words)}
    return [
        {
            "label": label,
            "n_wrong": int(n_wrong[label]),
            "n_explained": int(min(n_docs, n_wrong[label])),
            **_in_training(evidence, present, column, label, found),
        }
        for label, found in driving.items()
        if found
    ]


def _driving_words(
    evidence: Evidence, wrong: sp.csc_matrix, label: int, attributed: Attributed, n_docs: int
) -> dict[str, float]:
    rows = wrong.indices[wrong.indptr[label] : wrong.indptr[label + 1]]
    scores = gather(evidence.model.scores, rows, np.full(len(rows), label))
    chosen = rows[np.lexsort((rows, -scores))][:n_docs]
    texts = evidence.test["text"].to_numpy()
    found: dict[str, float] = defaultdict(float)
    for row in chosen:
        for piece, value in attributed(texts[row], label):
            word = piece.lower()
            if value is not None and len(word) >= MIN_LETTERS and word.isalnum():
                found[word] += value / len(chosen)
    best = sorted(found, key=lambda word: (-found[word], word))[:WORDS_PER_LABEL]
    return {word: found[word] for word in best if found[word] > 0}


def _presence(texts: pd.Series, words: Sequence[str]) -> sp.csc_matrix:
    """Whether each training text has each word: CSC 0/1 (n_train, n_words)."""
    counter = CountVectorizer(vocabulary=words, binary=True, token_pattern=WORD, dtype=np.int32)
    return counter.transform(texts).tocsc()


def _in_training(
    evidence: Evidence,
    present: sp.csc_matrix,
    column: Mapping[str, int],
    label: int,
    found: Mapping[str, float],
) -> dict[str, Any]:
    name = evidence.labels[label]
    has_label = np.fromiter((name in labels for labels in evidence.train["labels"]), bool)
    own = present[:, [column[word] for word in found]].tocsr()
    with_label = np.asarray(own[has_label].sum(axis=0)).ravel()
    without = np.asarray(own[~has_label].sum(axis=0)).ravel()
    n_words = np.asarray(own.sum(axis=1)).ravel() * ~has_label
    ranked = np.lexsort((np.arange(len(n_words)), -n_words))[:CANDIDATES]
    return {
        "words": [
            {
                "word": word,
                "attribution": value,
                "with_label": int(with_label[i]),
                "without_label": int(without[i]),
            }
            for i, (word, value) in enumerate(found.items())
        ],
        "hard_negatives": [int(row) for row in ranked if n_words[row]],
    }
