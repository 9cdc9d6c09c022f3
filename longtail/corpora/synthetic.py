"""Generates a seeded corpus shaped like the published industrial case, with its true labels."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from longtail.errors import ParameterError

N_DOCS, N_LABELS = 14_354, 124
_ANNOTATORS = ("ada", "ben", "cleo", "dov", "eve")
_CARELESSNESS = np.array(
    [0.5, 0.5, 0.5, 1.0, 2.5]
)  # mean 1: multiples of the share of wrong annotations
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvwz" for vowel in "aeiou"]
_N_CUES, _N_COMMON_WORDS = 8, 600
_STEEPNESS = 1.4  # the rarest of 124 labels have fewer than 10 of 14,354 documents
_COMPANION, _SECOND = 0.75, 0.65  # tuned to 261 documents per label, 2.25 labels per document


def synthetic_corpus(
    n_docs: int = N_DOCS, n_labels: int = N_LABELS, wrong: float = 0.05, seed: int = 0
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Generate labeled records, some of them annotated wrongly, and the true labels.

    Label frequencies fall as rank^-1.4. Every label beyond the first tenth (the head) has one head
    label as its companion, so tail labels mostly come with a head label. A text holds cue words of
    its labels and one stray cue word among common words. A wrong annotation misses a label, has an
    extra one, or has one label in place of another; some annotators are more careless than others.
    The same arguments give the same records on any machine (numpy's frozen `RandomState`).

    Args:
        n_docs: number of documents, at least `n_labels`.
        n_labels: number of labels, at least 2.
        wrong: share of documents with a wrong annotation, 0 to 0.4.
        seed: of all draws, 0 to 2^32 - 1.

    Returns:
        The records (`id`, `text`, `labels`, `annotator`, `annotated_at`), and id to true labels.

    Raises:
        ParameterError: an argument out of range.

    >>> records, truth = synthetic_corpus(n_docs=3, n_labels=2, wrong=0)
    >>> [record["id"] for record in records], truth["doc-0"] == records[0]["labels"]
    (['doc-0', 'doc-1', 'doc-2'], True)
    """
    _check(n_docs, n_labels, wrong, seed)
    rng = np.random.RandomState(seed)
    names = [f"topic-{i:0{len(str(n_labels - 1))}d}" for i in range(n_labels)]
    words = _invented_words(rng, n_labels * _N_CUES + _N_COMMON_WORDS)
    cues = np.array(words[: n_labels * _N_CUES]).reshape(n_labels, _N_CUES)
    common = np.array(words[n_labels * _N_CUES :])
    share = np.arange(1, n_labels + 1) ** -_STEEPNESS
    share /= share.sum()
    true = _true_labels(rng, n_docs, share)
    stray = rng.choice(n_labels, size=n_docs, p=share)
    annotator = rng.randint(len(_ANNOTATORS), size=n_docs)
    at_fault = rng.uniform(size=n_docs) < wrong * _CARELESSNESS[annotator]
    day = rng.randint(365, size=n_docs)
    records, truth = [], {}
    for k, labels in enumerate(true):
        given = _wrong_labels(rng, labels, n_labels) if at_fault[k] else labels
        identity = f"doc-{k:0{len(str(n_docs - 1))}d}"
        truth[identity] = [names[i] for i in sorted(labels)]
        records.append(
            {
                "id": identity,
                "text": _text(rng, labels, int(stray[k]), cues, common),
                "labels": [names[i] for i in sorted(given)],
                "annotator": _ANNOTATORS[annotator[k]],
                "annotated_at": dt.datetime(2025, 1, 1) + dt.timedelta(days=int(day[k])),
            }
        )
    return records, truth


def _check(n_docs: int, n_labels: int, wrong: float, seed: int) -> None:
    if not n_docs >= n_labels >= 2:
        raise ParameterError(
            f"Expected at least 2 labels and as many documents as labels, got {n_labels} labels "
            f"and {n_docs} documents."
        )
    if not 0 <= wrong <= 0.4:
        raise ParameterError(f"wrong must be between 0 and 0.4, got {wrong}.")
    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed must be between 0 and 2^32 - 1, got {seed}.")


def _invented_words(rng: np.random.RandomState, n_words: int) -> list[str]:
    """Distinct words of two to four syllables."""
    found: dict[str, None] = {}
    while len(found) < n_words:
        syllables = rng.choice(_SYLLABLES, size=rng.randint(2, 5))
        found["".join(syllables)] = None
    return list(found)


def _true_labels(rng: np.random.RandomState, n_docs: int, share: np.ndarray) -> list[set[int]]:
    """Draw one label by its rank (each at least once), often its companion, often one more."""
    n_labels = len(share)
    n_head = max(1, n_labels // 10)
    companion = (np.arange(n_labels) + 1) % n_head
    first = np.concatenate(
        [np.arange(n_labels), rng.choice(n_labels, size=n_docs - n_labels, p=share)]
    )
    second = rng.choice(n_labels, size=n_docs, p=share)
    with_companion = rng.uniform(size=n_docs) < _COMPANION
    with_second = rng.uniform(size=n_docs) < _SECOND
    labels = []
    for k in rng.permutation(n_docs):
        chosen = {int(first[k])}
        if with_companion[k]:
            chosen.add(int(companion[first[k]]))
        if with_second[k]:
            chosen.add(int(second[k]))
        labels.append(chosen)
    return labels


def _wrong_labels(rng: np.random.RandomState, labels: set[int], n_labels: int) -> set[int]:
    """`labels` with one missing, one extra, or one in place of another; never empty."""
    kind = rng.randint(3)
    lost = sorted(labels)[rng.randint(len(labels))]
    gained = int(rng.randint(n_labels))
    while gained in labels and len(labels) < n_labels:
        gained = int(rng.randint(n_labels))
    if kind == 0 and len(labels) > 1:
        return labels - {lost}
    return labels | {gained} if kind == 1 else (labels - {lost}) | {gained}


def _text(
    rng: np.random.RandomState, labels: set[int], stray: int, cues: np.ndarray, common: np.ndarray
) -> str:
    """Two to four cue words per label among 10 to 30 common words, and one stray cue word."""
    words = list(rng.choice(common, size=rng.randint(10, 31)))
    for label in sorted(labels):
        words += list(rng.choice(cues[label], size=rng.randint(2, 5)))
    words.append(rng.choice(cues[stray]))
    rng.shuffle(words)
    return " ".join(words).capitalize() + "."
