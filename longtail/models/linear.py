"""The baseline: TF-IDF and one linear SVM per label, its C chosen on documents held out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from operator import itemgetter
from typing import Any

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, delayed
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer

from longtail.errors import DataError
from longtail.evaluation.keeping import EVERYTHING, Keep
from longtail.evaluation.selection import validation_f1
from longtail.evaluation.sparse_scores import ScoreMatrix, stacked, taken
from longtail.models.progress import Progress, silent
from longtail.models.sampling import sampled
from longtail.splitting.rounds import Plan
from longtail.validation.duplicates import UNSPACED

MEAN_F1 = itemgetter("mean_f1")
BLOCK = 64  # labels fitted together; bounds the memory beside the coefficients
# Where the scores of so many labels are not all kept, smaller coefficients are not either, as in
# Babbar & Schölkopf 2017, "DiSMEC: Distributed Sparse Machines for Extreme Multi-label
# Classification" (their Δ is 0.01; F1 on val is no lower with 0.03, docs/decisions/0019).
LEAST = 0.03
SEED = 0  # of the documents that are drawn
# Margin of a label that does not occur in train: σ(−20) ≈ 2e-9 is below any threshold.
NEVER = -20.0
# A term is a word of two characters or more. In scripts without spaces between words it is each
# character, as in the search for near-copies, since a whole sentence is no term that comes again.
TERM = rf"(?=\w)[{UNSPACED}]|[^\W{UNSPACED}]{{2,}}"
# float32 halves the memory of the coefficients, and of what fitting reads again and again.
TFIDF: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32, "token_pattern": TERM}


@dataclass(frozen=True)
class Limits:
    """How much is learned from and kept; see `fit_svm`."""

    max_terms: int
    negatives: int
    least: float  # absolute value of coefficients; 0: all are kept


@dataclass(frozen=True)
class LinearModel:
    """TF-IDF weights and one hyperplane per label: margin = tfidf(text) · coef + intercept."""

    terms: list[str]  # (n_terms,) in column order
    idf: np.ndarray  # (n_terms,) float32
    coef: np.ndarray | sp.csr_matrix  # (n_terms, n_labels) float32
    intercept: np.ndarray  # (n_labels,) float32

    @cached_property
    def vectorizer(self) -> TfidfVectorizer:
        """The fitted vectorizer, rebuilt from its terms and weights."""
        vectorizer = TfidfVectorizer(vocabulary=self.terms, **TFIDF)
        vectorizer.idf_ = self.idf
        return vectorizer

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """σ(margin) `(n_docs, n_labels)` float32 of `texts`."""
        margins = self.vectorizer.transform(texts) @ self.coef
        dense = margins.toarray() if sp.issparse(margins) else margins
        dense += self.intercept
        return expit(dense, out=dense)


def fit_svm(
    texts: Sequence[str],
    targets: sp.csr_matrix,
    plan: Plan,
    *,
    costs: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
    max_terms: int = 100_000,
    negatives: int = sys.maxsize,
    value: Callable[[dict[str, float]], Any] = MEAN_F1,
    keep: Keep = EVERYTHING,
    n_jobs: int = 2,
    progress: Progress = silent,
    doubt: sp.csr_matrix | None = None,
) -> tuple[LinearModel, ScoreMatrix, list[dict[str, float]]]:
    """Choose the cost in the plan's first round and fit the SVM; deterministic.

    Terms are words in lower case (see `TERM`) that occur in at least two of the documents learned
    from, with sublinear term frequency.

    Args:
        texts: documents of train and val.
        targets: their labels, 0/1 `(n_docs, n_labels)`.
        plan: who learns from which of them.
        costs: values of C to try; at least one.
        max_terms: number of terms at most, the most frequent ones.
        negatives: documents that a label is learned from, at most, beside those that have it or one
            of the 63 labels next in frequency; see `longtail.models.sampling`.
        value: of a cost's row (see Returns), the highest is chosen, the first of equals.
        keep: what is kept of the scores. If not all, coefficients below 0.03 are not either.
        n_jobs: threads that fit labels at the same time; the result is the same for any number.
        progress: called with the hyperplanes done and in total.
        doubt: CSR float32 `(n_docs, n_labels)` in [0, 1): an entry that is learned from counts
            1 − doubt, as a factor of C; None: all count 1.

    Returns:
        The model, the scores `(n_scored, n_labels)` of `plan.scored`, and a row per cost: `C`, and
        `micro_f1`, `macro_f1`, `mean_f1` of the documents that the first round scores.

    Raises:
        DataError: no term is left.
    """
    n_fits, counter = len(costs) + len(plan.rounds) - 1 + plan.refit, count(1)
    limits = Limits(max_terms, negatives, 0 if keep.is_all(targets.shape[1]) else LEAST)

    def step() -> None:
        progress(next(counter), n_fits * targets.shape[1])

    with Parallel(n_jobs, prefer="threads", return_as="generator") as workers:

        def fit(rows: np.ndarray, tried: Sequence[float]) -> Iterator[LinearModel]:
            mine = [texts[row] for row in rows]
            own = None if doubt is None else doubt[rows].tocsc()
            return _fitted(mine, targets[rows].tocsc(), own, tried, limits, workers, step)

        def scores_of(model: LinearModel, rows: np.ndarray) -> ScoreMatrix:
            mine = [texts[row] for row in rows]
            return keep.scored(lambda some: model.scores(mine[some]), targets[rows])

        (learned, scored), *others = plan.rounds
        rows, chosen = [], 0
        for at, (cost, candidate) in enumerate(zip(costs, fit(learned, costs), strict=True)):
            scores = scores_of(candidate, scored)
            rows.append({"C": cost, **validation_f1(scores, targets[scored])})
            if not at or value(rows[at]) > value(rows[chosen]):
                chosen, model, held_out = at, candidate, [scores]
        for learned, scored in others:
            [model] = fit(learned, costs[chosen : chosen + 1])
            held_out.append(scores_of(model, scored))
        if plan.refit:
            [model] = fit(np.arange(len(texts)), costs[chosen : chosen + 1])
    return model, taken(stacked(held_out), plan.order), rows


def _fitted(
    texts: Sequence[str],
    columns: sp.csc_matrix,
    doubt: sp.csc_matrix | None,
    costs: Sequence[float],
    limits: Limits,
    workers: Parallel,
    step: Callable[[], None],
) -> Iterator[LinearModel]:
    """A model for each cost."""
    vectorizer = TfidfVectorizer(min_df=2, max_features=limits.max_terms, **TFIDF)
    try:
        x = vectorizer.fit_transform(texts)
    except ValueError:
        raise DataError(
            f"No word occurs in two of the {len(texts):,} texts learned from, so there is nothing "
            "to fit; are there too few, or are they empty?"
        ) from None
    terms = vectorizer.get_feature_names_out().tolist()
    for cost in costs:
        planes = _hyperplanes(x, columns, doubt, cost, limits, workers, step)
        yield LinearModel(terms, vectorizer.idf_, *planes)


def _hyperplanes(
    x: sp.csr_matrix,
    targets: sp.csc_matrix,
    doubt: sp.csc_matrix | None,
    cost: float,
    limits: Limits,
    workers: Parallel,
    step: Callable[[], None],
) -> tuple[np.ndarray | sp.csr_matrix, np.ndarray]:
    """Coefficients `(n_terms, n_labels)` and intercepts `(n_labels,)`; calls `step` per label."""
    n_docs, n_labels = targets.shape
    intercept = np.full(n_labels, NEVER, dtype=np.float32)
    freq = np.diff(targets.indptr)
    intercept[freq == n_docs] = -NEVER
    learned = np.flatnonzero((freq > 0) & (freq < n_docs))
    # The labels of a block learn from the same documents, so they should have similar numbers.
    learned = learned[np.argsort(-freq[learned], kind="stable")]
    blocks = [learned[start : start + BLOCK] for start in range(0, len(learned), BLOCK)]
    jobs = (
        delayed(_of_block)(
            x, targets[:, block], None if doubt is None else doubt[:, block], cost, limits, number
        )
        for number, block in enumerate(blocks)
    )
    coef = np.zeros((0 if limits.least else x.shape[1], n_labels), dtype=np.float32)
    columns = []
    for block, (own, bias) in zip(blocks, workers(jobs), strict=True):
        if limits.least:
            columns.append(sp.csc_matrix(np.where(np.abs(own) < limits.least, 0, own)))
        else:
            coef[:, block] = own
        intercept[block] = bias
        for _ in block:
            step()
    for _ in range(n_labels - len(learned)):  # labels that need no hyperplane
        step()
    if not limits.least:
        return coef, intercept
    rest = np.setdiff1d(np.arange(n_labels), learned)
    columns.append(sp.csc_matrix((x.shape[1], len(rest)), dtype=np.float32))
    order = np.argsort(np.concatenate([learned, rest]))
    return sp.hstack(columns, "csc")[:, order].tocsr(), intercept


def _of_block(
    x: sp.csr_matrix,
    targets: sp.csc_matrix,
    doubt: sp.csc_matrix | None,
    cost: float,
    limits: Limits,
    number: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and intercepts of the labels of one block."""
    # Compiled by numba, which only the image of this stage has; others use the fitted model alone.
    from longtail.models.svm import hyperplanes

    weights = None if doubt is None else 1 - doubt.toarray()
    having = np.zeros(targets.shape[0], dtype=bool)
    having[targets.indices] = True
    some = sampled(having, limits.negatives, np.random.default_rng([SEED, number]))
    if some is None:
        return hyperplanes(x, targets.toarray(), cost, weights=weights)
    rows, counts = some
    ones = np.ones((1, targets.shape[1]), dtype=np.float32)
    weights = counts[:, None] * (ones if weights is None else weights[rows])
    return hyperplanes(x[rows], targets[rows].toarray(), cost, weights=weights)
