"""Forms the consensus of several annotators: by majority, or by Dawid and Skene, per label.

Dawid and Skene (1979), "Maximum likelihood estimation of observer error-rates using the EM
algorithm", for each label alone, given or not. Document k truly has label i with probability π_i
(prevalence); annotator a then gives it with probability s_ai (sensitivity), and gives it to a
document that lacks it with probability f_ai (1 − specificity). With A_k, who judged document k, and
y_kai, whether a gave it label i:

    E:  logit p_ki = logit π_i + Σ_{a ∈ A_k} [y_kai log(s_ai / f_ai)
                                              + (1 − y_kai) log((1 − s_ai) / (1 − f_ai))]
    M:  s_ai = (H_ai + c m_ai) / (P_ai + c),    P_ai = Σ_k p_ki,  H_ai = Σ_k p_ki y_kai
        f_ai = (F_ai + e) / (N_ai + e / q_ai),  N_ai = n_a − P_ai,  F_ai = Σ_k y_kai − H_ai
        π_i  = (Σ_k p_ki + 1/2) / (n_docs + 1),  sums over the documents that a (or anyone) judged

Our deviation is the shrinkage (c = 10 documents, e = 5 errors), without which a rare label believes
whoever gave it, or nobody. It makes the M step the maximum a posteriori under Beta priors:

- m_ai is how often a finds labels of about the same frequency: H / P, summed over a band of labels,
  shrunk by c to the annotator's own H / P over all labels, and that to H / P of everyone.
- q_ai = φ_ab r_i: within a band b, errors spread over labels as these are given (r_i, the share of
  judgments that give label i); φ_ab = (F + e) / (E + e) φ_a is how many of them a makes there, with
  φ_a = Σ_i F_ai / Σ_i N_ai r_i, F = Σ_{i ∈ b} F_ai, and E = Σ_{i ∈ b} N_ai φ_a r_i. The weight of
  this prior is counted in errors, since what a document says about f depends on the label.

EM starts near the majority: p is 0.9 + 0.1 × share where at least half gave the label, else the
share of votes. With two annotators per document the likelihood is so flat that it stays nearby.

Most pairs of document and label were given by nobody. Such pairs differ by label and by who judged
the document, so one posterior per label and distinct set of annotators serves all of them: the sums
are exact, and memory grows with what was given, and with annotators × labels. Labels go through in
blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, logit

from longtail.validation.agreement import Judgments, distinct_rows

DOCUMENTS, ERRORS = 10.0, 5.0  # weight of the priors of s and f
BAND = 4.0  # labels given up to so many times as often share a prior
START = 0.9  # probability, at least, of what at least half gave, before the first step
CELLS = 4_000_000  # sets of annotators × labels at a time
_LEAST = 1e-9  # no rate is 0 or 1


@dataclass(frozen=True)
class Consensus:
    """What the annotators together say.

    Attributes:
        probability: CSR `(n_docs, n_labels)` float in [0, 1] that a document has a label, of all
            pairs that anyone gave, zeros included; of other pairs it is taken as 0.
        prevalence: `(n_labels,)` share of the judged documents that have each label.
        sensitivity: `(n_annotators, n_labels)` chance to give a label that is right.
        false_rate: `(n_annotators, n_labels)` chance to give a label that is wrong.
        positives: `(n_annotators, n_labels)` expected number of documents with the label among
            those judged: what the sensitivity rests on.
        iterations: of EM; 0 for a majority.
        converged: whether the probabilities moved by less than the tolerance.
    """

    probability: sp.csr_matrix
    prevalence: np.ndarray
    sensitivity: np.ndarray
    false_rate: np.ndarray
    positives: np.ndarray
    iterations: int
    converged: bool


class _Rates(NamedTuple):
    """The parameters: prevalence `(n_labels,)`, the others `(n_annotators, n_labels)`."""

    prevalence: np.ndarray
    sensitivity: np.ndarray
    false_rate: np.ndarray


class _Sums(NamedTuple):
    """Expected counts: P and H `(n_annotators, n_labels)`, documents per label `(n_labels,)`."""

    positives: np.ndarray
    hits: np.ndarray
    documents: np.ndarray


class _Layout:
    """The judgments, in the order of labels.

    A pair is a document and a label that someone gave it; `given` are the single judgments.
    """

    def __init__(self, judgments: Judgments) -> None:
        rows, self.n_labels = judgments.targets.shape
        entries = judgments.targets.tocoo()
        chosen = entries.data > 0
        row, label = entries.row[chosen], entries.col[chosen]
        documents, code = np.unique(judgments.document, return_inverse=True)
        self.documents, self.n_docs = documents, len(documents)
        self.n_annotators = int(judgments.annotator.max(initial=-1)) + 1
        shape = (self.n_docs, self.n_annotators)
        member = sp.csr_matrix((np.ones(rows), (code, judgments.annotator)), shape=shape)
        member.data[:] = 1
        kinds, kind = distinct_rows(member)
        self.sets, self.n_in_set = kinds, np.bincount(kind, minlength=kinds.shape[0])
        self.n_judged = np.asarray(member.sum(axis=0)).ravel()
        key = label.astype(np.int64) * self.n_docs + code[row]
        order = np.argsort(key, kind="stable")
        pairs, self.pair, self.votes = np.unique(
            key[order], return_inverse=True, return_counts=True
        )
        self.annotator = judgments.annotator[row[order]]
        self.label, self.document = np.divmod(pairs, max(self.n_docs, 1))
        self.kind, self.set = kind, kind[self.document]
        self.voters = np.diff(member.indptr)[self.document]
        cells = (self.n_annotators, self.n_labels)
        place = self.annotator * self.n_labels + self.label[self.pair]
        self.n_given = np.bincount(place, minlength=cells[0] * cells[1]).reshape(cells)

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Ranges of labels, and of the pairs that have one of them."""
        step = max(1, CELLS // max(len(self.n_in_set), 1))
        for start in range(0, self.n_labels, step):
            stop = min(start + step, self.n_labels)
            yield slice(start, stop), slice(*np.searchsorted(self.label, [start, stop]))

    def matrix(self, values: np.ndarray, n_docs: int) -> sp.csr_matrix:
        """Values of the pairs as CSR `(n_docs, n_labels)`, zeros kept."""
        where = (self.documents[self.document], self.label)
        return sp.csr_matrix((values, where), shape=(n_docs, self.n_labels))


def majority(judgments: Judgments, n_docs: int) -> sp.csr_matrix:
    """The share of a document's annotators who gave it a label.

    Args:
        judgments: at most one row per document and annotator.
        n_docs: number of documents.

    Returns:
        CSR `(n_docs, n_labels)` float in (0, 1].
    """
    layout = _Layout(judgments)
    return layout.matrix(layout.votes / layout.voters, n_docs)


def decide(probability: sp.csr_matrix) -> sp.csr_matrix:
    """The labels to take: those with a probability of at least 1/2, and at least one per document.

    Where all are below, the most probable label is taken; of several, the one that the documents
    together are most likely to have, then the first.

    Args:
        probability: `(n_docs, n_labels)`, of `majority` or `dawid_skene`.

    Returns:
        0/1 CSR `(n_docs, n_labels)` int8; a row without any probability stays empty.

    >>> decide(sp.csr_matrix([[0.9, 0.5, 0.1], [0.2, 0, 0.4], [0, 0, 0]])).toarray().tolist()
    [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    """
    cells = sp.coo_matrix(probability)
    total = np.bincount(cells.col, cells.data, minlength=cells.shape[1])
    order = np.lexsort((cells.col, -total[cells.col], -cells.data.round(9), cells.row))
    row, label, value = cells.row[order], cells.col[order], cells.data[order]
    first = np.concatenate([[True], row[1:] != row[:-1]])[: len(row)]
    taken = (value >= 0.5) | (first & (value > 0))
    where = (row[taken], label[taken])
    return sp.csr_matrix((np.ones(len(where[0]), np.int8), where), shape=cells.shape)


def dawid_skene(
    judgments: Judgments, n_docs: int, most_iterations: int = 200, tolerance: float = 1e-3
) -> Consensus:
    """Estimate by EM which labels are right and how reliable each annotator is.

    Args:
        judgments: at most one row per document and annotator; documents with a single judgment
            take part.
        n_docs: number of documents.
        most_iterations: of EM, at most.
        tolerance: EM ends once no probability moves by more.

    Returns:
        Probabilities and rates. Renumbering the annotators or the documents only renumbers them.
    """
    layout = _Layout(judgments)
    share = layout.votes / np.maximum(layout.voters, 1)
    probability = np.where(share >= 0.5, START + (1 - START) * share, share)
    sums = _first_sums(layout, probability)
    rates, iteration, moved = _rates(layout, sums), 0, np.inf
    while iteration < most_iterations and moved > tolerance:
        before = probability
        probability, sums = _expect(layout, rates)
        rates = _rates(layout, sums)
        moved = float(np.abs(probability - before).max(initial=0))
        iteration += 1
    return Consensus(
        layout.matrix(probability, n_docs), *rates, sums.positives, iteration, moved <= tolerance
    )


def _first_sums(layout: _Layout, probability: np.ndarray) -> _Sums:
    """The sums if nobody missed a label that nobody gave."""
    shape = (len(layout.n_in_set), layout.n_labels)
    in_set = sp.csr_matrix((probability, (layout.set, layout.label)), shape=shape)
    positives = (layout.sets.T @ in_set).toarray()
    return _Sums(positives, _hits(layout, probability), np.asarray(in_set.sum(axis=0)).ravel())


def _hits(layout: _Layout, probability: np.ndarray) -> np.ndarray:
    shape = (layout.n_annotators, layout.n_labels)
    place = layout.annotator * layout.n_labels + layout.label[layout.pair]
    hits = np.bincount(place, probability[layout.pair], minlength=shape[0] * shape[1])
    return hits.reshape(shape)


def _expect(layout: _Layout, rates: _Rates) -> tuple[np.ndarray, _Sums]:
    """The E step: probabilities of the pairs, and the sums over all documents."""
    silence = np.log1p(-rates.sensitivity) - np.log1p(-rates.false_rate)
    change = np.log(rates.sensitivity) - np.log(rates.false_rate) - silence  # given, not silent
    weight = change[layout.annotator, layout.label[layout.pair]]
    spoken = np.bincount(layout.pair, weight, minlength=len(layout.votes))
    probability = np.empty(len(layout.votes))
    positives = np.empty_like(silence)
    documents = np.empty(layout.n_labels)
    for labels, pairs in layout.blocks():
        silent = layout.sets @ silence[:, labels] + logit(rates.prevalence[labels])
        width = silent.shape[1]
        place = layout.set[pairs] * width + layout.label[pairs] - labels.start
        probability[pairs] = expit(silent.ravel()[place] + spoken[pairs])
        n_given = np.bincount(place, minlength=silent.size).reshape(silent.shape)
        expected = expit(silent) * (layout.n_in_set[:, None] - n_given)
        expected += np.bincount(place, probability[pairs], silent.size).reshape(silent.shape)
        positives[:, labels] = layout.sets.T @ expected
        documents[labels] = expected.sum(axis=0)
    return probability, _Sums(positives, _hits(layout, probability), documents)


def _rates(layout: _Layout, sums: _Sums) -> _Rates:
    """The M step, with the priors of the module's docstring."""
    negatives = layout.n_judged[:, None] - sums.positives
    false = np.maximum(layout.n_given - sums.hits, 0)
    n_given = layout.n_given.sum(axis=0)
    _, band = np.unique(np.log(np.maximum(n_given, 1)) // np.log(BAND), return_inverse=True)
    shape = (len(band), int(band.max(initial=-1)) + 1)
    in_band = sp.csr_matrix((np.ones(len(band)), (np.arange(len(band)), band)), shape=shape)
    found = _usual_sensitivity(sums, in_band)[:, band]
    share = n_given / max(layout.n_judged.sum(), 1)
    wrong = _ratio(false.sum(axis=1), negatives @ share)[:, None] * share
    wrong *= ((false @ in_band + ERRORS) / ((negatives * wrong) @ in_band + ERRORS))[:, band]
    wrong = np.clip(wrong, _LEAST, 0.5)
    rates = (
        (sums.documents + 0.5) / (layout.n_docs + 1),
        (sums.hits + DOCUMENTS * found) / (sums.positives + DOCUMENTS),
        (false + ERRORS) / (negatives + ERRORS / wrong),
    )
    return _Rates(*(np.clip(rate, _LEAST, 1 - _LEAST) for rate in rates))


def _usual_sensitivity(sums: _Sums, in_band: sp.csr_matrix) -> np.ndarray:
    """m_ai by band, `(n_annotators, n_bands)`, shrunk to the annotator's own and to everyone's."""
    positives, hits = sums.positives, sums.hits
    everyone = _ratio(hits.sum(), positives.sum())
    own = (hits.sum(axis=1) + DOCUMENTS * everyone) / (positives.sum(axis=1) + DOCUMENTS)
    return (hits @ in_band + DOCUMENTS * own[:, None]) / (positives @ in_band + DOCUMENTS)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=np.asarray(below) > 0)
