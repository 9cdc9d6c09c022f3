"""Labels of `data/labels.yaml` that a model does not know, and the texts most like them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components._formats.columns import listed
from components._formats.labels_file import FILE, AllowedLabels, read_allowed
from components._frame.params import load_params
from components._train.params import Params

SHOWN = 3  # labels named as reasons of a document


@dataclass(frozen=True)
class NewLabels:
    """Labels that a model does not know.

    Attributes:
        names: of all of them.
        sought: those that texts were compared with.
        likeness: of each text of a pool to each of these, `(n_docs, n_sought)`.
    """

    names: list[str]
    sought: list[str]
    likeness: np.ndarray

    def reasons(self, row: int) -> list[str]:
        """What a document was chosen for, the label for which it ranks highest first."""
        rank = 1 + (self.likeness > self.likeness[row]).sum(axis=0)
        return [
            f"{self.sought[i]}: number {rank[i]:,} of the pool by likeness to its name and "
            "description; the model does not know it"
            for i in np.argsort(rank, kind="stable")[:SHOWN]
        ]


def new_labels(texts: Sequence[str], known: Sequence[str], most: int, seed: int) -> NewLabels:
    """The labels of `data/labels.yaml` that a model does not know; says on stderr which.

    Args:
        texts: of the pool.
        known: labels of the model.
        most: labels that are compared with the texts. Which, of more, is drawn anew with another
            number of texts, so that each has its turn.
        seed: of that.
    """
    allowed = read_allowed(FILE)
    names = allowed.unlearned(known)
    rng = np.random.default_rng((seed, len(texts)))
    sought = sorted(rng.permutation(names)[:most].tolist()) if names else []
    if not sought:
        return NewLabels(names, [], np.zeros((len(texts), 0)))
    print(
        f"queue: {len(names):,} labels that the model does not know: {listed(names)}; some texts "
        "are chosen by likeness to what they are called.",
        file=sys.stderr,
    )
    return NewLabels(names, sought, likeness(texts, sought, allowed))


def likeness(texts: Sequence[str], labels: Sequence[str], allowed: AllowedLabels) -> np.ndarray:
    """Cosine of each text's and each label's mean token vector, `(n_docs, n_labels)`, in [-1, 1].

    A label is read as its name, and its description if it has one. The encoder is that of `train`
    as it was before any training; features of texts are computed once.
    """
    from sklearn.preprocessing import normalize

    from components._train.features import features_of, pretrained  # takes seconds to load
    from longtail.models.features import as_words, extract_features

    params = load_params("train", Params)
    model = pretrained(list(labels), params)
    width = model.encoder.config.hidden_size
    told = allowed.descriptions
    words = [f"{as_words(name)}. {told[name]}" if name in told else as_words(name)
             for name in labels]  # fmt: skip
    # In half precision, as they are kept, the square of a length may be too large.
    ours = features_of(model, texts, params, fast=True)[:, :width].astype(np.float32)
    theirs = extract_features(model, words)[:, :width]
    return normalize(ours) @ normalize(theirs).T
