"""Which documents arrived after a version was registered, and how it answers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from components._frame.progress import progress
from components._registry import client as registry
from components._registry import evidence
from components._registry.reference import units_of
from components._registry.worker import Served
from longtail.errors import DataError
from longtail.evaluation.estimated_f1 import Calibration, expected_counts
from longtail.evaluation.metrics import Counts
from longtail.label_matrix import encode
from longtail.validation.label_history import Fates
from longtail.validation.label_translation import translation

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

BATCH = 256
SCORES_AT_ONCE = 200_000  # of one request, whatever the number of labels


@dataclass(frozen=True)
class Arrivals:
    """The documents of a version's corpus, and later ones.

    Attributes:
        known: those that the version was made from.
        new: those that arrived later, in the order of arrival.
        known_units: `(n_known,)` which documents come together.
        new_units: `(n_new,)`.
        unseen: `(n_new,)` bool: the version has trained neither on the document nor on one of its
            unit, such as a copy or another document of its group.
    """

    known: pd.DataFrame
    new: pd.DataFrame
    known_units: npt.NDArray[np.int64]
    new_units: npt.NDArray[np.int64]
    unseen: npt.NDArray[np.bool_]


def find(
    client: MlflowClient, version: ModelVersion, corpus: pd.DataFrame, new: pd.DataFrame | None
) -> Arrivals | None:
    """Separate the documents that the version knows from later ones.

    Args:
        client: of the registry.
        version: of the registry.
        corpus: today's documents.
        new: what is taken for the later ones; None takes those of the corpus that the version's own
            corpus did not have.

    Returns:
        None if `new` is None and the version does not say which documents its corpus had: it was
        registered before that was kept. Given `new`, train and val take the place of that corpus.

    Raises:
        DataError: the list of documents that the version has seen is missing or was changed.
    """
    try:
        digest = version.tags.get("train_ids_digest", "")
        seen = evidence.read_seen_ids(str(version.run_id), digest)
    except evidence.IncomparableError as error:
        raise DataError(str(error)) from None
    known = evidence.read_known_ids(str(version.run_id))
    if known is None and new is None:
        return None
    frame = corpus if new is None else pd.concat([corpus, new], ignore_index=True)
    ids = [evidence.hashed(identifier) for identifier in frame["id"]]
    of_corpus = np.arange(len(frame)) < len(corpus)
    is_seen = of_corpus & np.array([i in seen for i in ids], dtype=bool)
    is_known = is_seen | (of_corpus & np.array([i in (known or ()) for i in ids], dtype=bool))
    is_new = ~is_known if new is None else ~of_corpus
    units = units_of(frame)
    unseen = ~np.isin(units, units[is_seen])
    rows = np.flatnonzero(is_new)
    if new is None:
        rows = rows[_in_order(client, version, [ids[row] for row in rows.tolist()])]
    return Arrivals(
        known=frame[is_known].reset_index(drop=True),
        new=frame.iloc[rows].reset_index(drop=True),
        known_units=units[is_known],
        new_units=units[rows],
        unseen=unseen[rows],
    )


def _in_order(
    client: MlflowClient, version: ModelVersion, ids: Sequence[str]
) -> npt.NDArray[np.int64]:
    """The order of arrival of later documents, by the first later version whose corpus had them.

    The corpus itself is sorted by id. Within a night the order is that of the hashed ids, which
    stays the same however many documents follow.
    """
    night = dict.fromkeys(ids, np.iinfo(np.int64).max)
    after = [
        v for v in registry.versions(client, version.name) if int(v.version) > int(version.version)
    ]
    for later in reversed(after):
        known = registry.or_none(partial(evidence.read_known_ids, str(later.run_id)))
        night |= dict.fromkeys((known or set()).intersection(night), int(later.version))
    return np.array(sorted(range(len(ids)), key=lambda row: (night[ids[row]], ids[row])), np.int64)


@dataclass(frozen=True)
class Answered:
    """What a version says about documents.

    Attributes:
        labels: that the version knows.
        top_scores: `(n_docs,)` the best score of each.
        predicted: 0/1 `(n_docs, n_labels)`.
        expected: counts to be expected from the scores; None without a calibration.
    """

    labels: list[str]
    top_scores: npt.NDArray[np.float64]
    predicted: sp.csr_matrix
    expected: Counts | None

    def renamed(self, fates: Fates) -> Answered:
        """The same predictions under the labels of today, see `gate.Champion.renamed`."""
        found = translation(self.labels, None, fates)
        return replace(self, labels=found.labels, predicted=found.predictions(self.predicted))


def answers(model: Served, texts: Sequence[str], calibration: Calibration | None) -> Answered:
    """Ask the served version about texts, in batches."""
    column = {label: i for i, label in enumerate(model.labels)}
    size = max(1, min(BATCH, SCORES_AT_ONCE // len(column)))
    top_scores: list[float] = []
    predicted: list[sp.csr_matrix] = []
    expected: list[Counts] = []
    with progress("scoring with the champion", "documents") as show:
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            predicted.append(encode(model.ask(batch).labels, model.labels))
            if calibration is None:
                top_scores += [row[0] for row in model.ask(batch, threshold=0.0, top_k=1).scores]
            else:
                whole = model.ask(batch, threshold=0.0)
                top_scores += [row[0] for row in whole.scores]
                scores = np.zeros((len(batch), len(column)))
                for row, (names, values) in enumerate(zip(whole.labels, whole.scores, strict=True)):
                    scores[row, [column[name] for name in names]] = values
                expected.append(expected_counts(scores, predicted[-1], calibration))
            show(len(top_scores), len(texts))
    whole_counts = Counts(*map(np.concatenate, zip(*expected, strict=True))) if expected else None
    matrix = sp.vstack(predicted, format="csr")
    return Answered(list(model.labels), np.array(top_scores), matrix, whole_counts)
