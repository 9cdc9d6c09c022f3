"""Measures every kind of drift, and says which limits were exceeded.

Distributions are compared by PSI (`longtail.drift.psi`), and the words by the share that is new.
An alarm needs two things: the shift is not chance (a p-value corrected for the number of
distributions after Benjamini and Hochberg (1995), so that at most a share `alpha` of the
measurements without drift raises any alarm), and the interval of its size reaches the limit. So a
small delivery whose shift is certain is not silenced because its size is uncertain, and a large one
raises no alarm for a shift that is certain but small.

Single labels are compared by Fisher's exact test, corrected in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
import scipy.sparse as sp

from longtail.drift.psi import Draws, shift
from longtail.drift.words import lengths, unknown_words
from longtail.errors import DataError

N_BINS = 10
N_PAIRS = 100
# Of top scores: those of the pipeline and of a served version differ a little, and near 1, where
# many scores are almost equal, any such difference would look like drift.
SCORE_DIGITS = 3

Integers = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Documents:
    """Texts and their labels.

    Attributes:
        texts: the documents, `n_docs` of them.
        targets: 0/1 CSR `(n_docs, n_labels)`; a document without a label is not labeled yet.
        units: `(n_docs,)` which documents come together, such as versions of one document.
    """

    texts: Sequence[str]
    targets: sp.csr_matrix
    units: Integers


@dataclass(frozen=True)
class Answers:
    """What the model said about documents that it was not trained on.

    Attributes:
        top_scores: `(n_docs,)` highest score of each document, in [0, 1].
        n_predicted: `(n_docs,)` number of labels predicted for each document.
        units: `(n_docs,)` see `Documents`.
    """

    top_scores: npt.NDArray[np.floating]
    n_predicted: Integers
    units: Integers


def measure(
    reference: Documents,
    new: Documents,
    labels: Sequence[str],
    answers: tuple[Answers, Answers] | None,
    *,
    alpha: float,
    n_draws: int,
    seed: int,
) -> dict[str, Any]:
    """Measure every kind of drift; the result can be written as JSON.

    What needs labels is measured on the documents that have some, and left out where a side has
    none.

    Args:
        reference: documents that the model was made from.
        new: documents to compare with them.
        labels: the columns of both target matrices.
        answers: the model's on documents that it was not trained on, of the reference's kind and
            new ones; None leaves out what needs them.
        alpha: share of measurements without drift that may raise an alarm, in (0, 0.5); also the
            false discovery rate of the tests per label.
        n_draws: draws of the null distribution; the smallest p-value is 1 / (n_draws + 1).
        seed: of the draws.

    Returns:
        `documents` counts, `psi` by distribution (see `psi.Shift`), `means`, `unknown_words` (see
        `words.Unknown`), the share of `new_pairs`, and `labels` (see `label_drift`). Next to each
        p-value `p` is `q`, corrected for their number.

    Raises:
        DataError: a side is empty.
    """
    for name, side in (("reference", reference), ("new", new)):
        if not len(side.texts):
            raise DataError(f"There is no {name} document, so drift cannot be measured.")
    draws = Draws.of(reference.units, new.units, n_draws, seed)
    numbers: dict[str, list[npt.NDArray]] = {
        "words_per_document": [lengths(side.texts) for side in (reference, new)]
    }
    shifts = {"words_per_document": shift(_binned(*numbers["words_per_document"]), draws, alpha)}
    if answers is not None:
        numbers["top_score"] = [side.top_scores.round(SCORE_DIGITS) for side in answers]
        numbers["predicted_labels"] = [side.n_predicted for side in answers]
        scored = Draws.of(answers[0].units, answers[1].units, n_draws, seed)
        shifts["top_score"] = shift(_binned(*numbers["top_score"]), scored, alpha)
    sides = [_labeled(side) for side in (reference, new)]
    pairs = moved = None
    if all(len(side.texts) for side in sides):
        targets = [side.targets for side in sides]
        own = Draws.of(sides[0].units, sides[1].units, n_draws, seed)
        pairs = [_pairs(side) for side in targets]
        moved = label_drift(targets[0], targets[1], labels, alpha=alpha)
        numbers["labels_per_document"] = [np.diff(side.indptr) for side in targets]
        shifts |= {
            "label_prevalence": shift(sp.vstack(targets), own, alpha),
            "label_pairs": shift(_most_frequent(*pairs), own, alpha),
            "labels_per_document": shift(_binned(*numbers["labels_per_document"]), own, alpha),
        }
    words = unknown_words([*reference.texts, *new.texts], draws)
    *q, q_words = scipy.stats.false_discovery_control(
        [*(found.p for found in shifts.values()), words.p]
    )
    return {
        "documents": {"reference": len(reference.texts), "new": len(new.texts)},
        "psi": {
            name: asdict(found) | {"q": float(corrected)}
            for (name, found), corrected in zip(shifts.items(), q, strict=True)
        },
        "means": {name: _means(*values) for name, values in numbers.items()},
        "unknown_words": asdict(words) | {"q": float(q_words)},
        "new_pairs": None if pairs is None else _new_pairs(*pairs),
        "labels": moved,
    }


def label_drift(
    reference: sp.csr_matrix, new: sp.csr_matrix, labels: Sequence[str], *, alpha: float
) -> dict[str, Any]:
    """Labels whose prevalence moved, at a false discovery rate of `alpha`, strongest first."""
    before, after = (np.asarray(side.sum(axis=0)).ravel() for side in (reference, new))
    n_before, n_after = reference.shape[0], new.shape[0]
    # Rare labels share their few counts, and the exact test is slow.
    pairs, of = np.unique(np.stack([before, after], axis=1), axis=0, return_inverse=True)
    found = [
        scipy.stats.fisher_exact([[a, n_after - a], [b, n_before - b]])[1]
        for b, a in pairs.tolist()
    ]
    p = np.array(found)[of]
    q = scipy.stats.false_discovery_control(p) if len(p) else p
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


def alarms(measured: Mapping[str, Any], limits: Mapping[str, float], *, alpha: float) -> list[str]:
    """One sentence for every limit that was exceeded.

    Args:
        measured: what `measure` returned.
        limits: `psi` for every PSI, `share_moved` for the share of labels, `unknown_words` for the
            share of words.
        alpha: largest corrected p-value of a shift that is not chance.
    """
    found = [
        f"The distribution of {name} has moved: PSI {psi['psi']:.2f} "
        f"({psi['low']:.2f} to {psi['high']:.2f}), limit {limits['psi']:.2f}."
        for name, psi in measured["psi"].items()
        if psi["q"] <= alpha and psi["high"] > limits["psi"]
    ]
    share = measured["labels"]["share_moved"] if measured["labels"] else 0.0
    if share > limits["share_moved"]:
        found.append(
            f"{100 * share:.0f}% of the labels became more or less frequent, "
            f"limit {100 * limits['share_moved']:.0f}%."
        )
    words = measured["unknown_words"]
    if words["q"] <= alpha and words["share"] > limits["unknown_words"]:
        found.append(
            f"{100 * words['share']:.0f}% of the words are new to the model "
            f"({100 * words['expected']:.0f}% without drift), "
            f"limit {100 * limits['unknown_words']:.0f}%."
        )
    return found


def _labeled(side: Documents) -> Documents:
    """The documents that have a label."""
    rows = np.flatnonzero(np.diff(side.targets.tocsr().indptr))
    texts = [side.texts[row] for row in rows.tolist()]
    return Documents(texts, side.targets.tocsr()[rows], side.units[rows])


def _pairs(targets: sp.csr_matrix) -> sp.csr_matrix:
    """Each document's label pairs i < j, 0/1 `(n_docs, n_labels²)`, in column i · n_labels + j."""
    n_docs, n_labels = targets.shape
    counts = np.diff(targets.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts * (counts - 1) // 2)])
    indices = np.zeros(indptr[-1], dtype=np.int64)
    for count in np.unique(counts[counts > 1]).tolist():  # documents with as many labels at once
        rows = np.flatnonzero(counts == count)
        columns = targets.indices[targets.indptr[rows][:, None] + np.arange(count)]
        columns = np.sort(columns.astype(np.int64), axis=1)
        one, other = np.triu_indices(count, k=1)
        places = indptr[rows][:, None] + np.arange(len(one))
        indices[places] = columns[:, one] * n_labels + columns[:, other]
    return sp.csr_matrix((np.ones(len(indices)), indices, indptr), (n_docs, n_labels**2))


def _most_frequent(reference: sp.csr_matrix, new: sp.csr_matrix) -> sp.csr_matrix:
    """Counts `(n_docs, at most N_PAIRS + 1)` of the most frequent pairs and of all others.

    They are the most frequent ones of both samples together, so that the choice does not know which
    documents are new.
    """
    both = sp.vstack([reference, new]).tocsr()
    kinds, column, total = np.unique(both.indices, return_inverse=True, return_counts=True)
    place = np.full(len(kinds), min(N_PAIRS, len(kinds)))
    place[np.argsort(-total, kind="stable")[:N_PAIRS]] = np.arange(min(N_PAIRS, len(kinds)))
    shape = (both.shape[0], N_PAIRS + 1)
    return sp.csr_matrix((both.data, place[column], both.indptr), shape)


def _new_pairs(reference: sp.csr_matrix, new: sp.csr_matrix) -> float:
    """Share of the label pairs in `new`, repetitions counted, that `reference` never had."""
    known = np.isin(new.indices, np.unique(reference.indices))
    return float(1 - known.mean()) if len(known) else 0.0


def _binned(reference: npt.NDArray, new: npt.NDArray) -> sp.csr_matrix:
    """Which decile of both samples together each document is in, 0/1 `(n_docs, at most 10)`."""
    values = np.concatenate([reference, new])
    edges = np.unique(np.quantile(values, np.linspace(0, 1, N_BINS + 1)[1:-1]))
    column = np.searchsorted(edges, values, side="right")
    shape = (len(values), len(edges) + 1)
    return sp.csr_matrix((np.ones(len(values)), (np.arange(len(values)), column)), shape)


def _means(reference: npt.NDArray, new: npt.NDArray) -> dict[str, float]:
    return {"reference": float(np.mean(reference)), "new": float(np.mean(new))}
