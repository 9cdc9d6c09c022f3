"""The corpus as the rules look at it: columns, and whatever several rules need, computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from longtail.label_matrix import encode, vocabulary
from longtail.validation.agreement import Judgments
from longtail.validation.duplicates import duplicate_groups, near_duplicate_pairs, text_keys, words
from longtail.validation.label_cleaning import LabelLists
from longtail.validation.label_variants import (
    Variants,
    case_variants,
    space_variants,
    spelling_variants,
)
from longtail.validation.language import language
from longtail.validation.shifts import Shift, periods, shifts


@dataclass(frozen=True)
class Limits:
    """Where the rules draw their lines.

    Attributes:
        least_words: words of a text, at least.
        most_characters: characters of a text, at most.
        most_labels: labels of a document, at most.
        least_support: documents of a label, at least.
        near_similarity: Jaccard index of two texts' word triples from which they are near-copies.
        usual_language_share: share of the documents from which a language is usual, 0 to 1.
        most_disagreement: mean MASI distance between annotators of a document, at most.
        periods: parts of equal size that the dates are cut into.
        significance: p-value of a shift, corrected for the number of tests.
        least_rate_ratio: rate of a label in a shifted cell over its rate elsewhere, or the inverse.
    """

    least_words: int
    most_characters: int
    most_labels: int
    least_support: int
    near_similarity: float
    usual_language_share: float
    most_disagreement: float
    periods: int
    significance: float
    least_rate_ratio: float


@dataclass(frozen=True)
class Rows:
    """Judgments of annotators beside the corpus's own labels; `dates` is datetime64 or NaT."""

    ids: list[str]
    annotators: list[str]
    labels: LabelLists
    dates: np.ndarray | None = None

    def latest(self) -> list[int]:
        """The rows to use, one per document and annotator: by date, or else the one further down.

        >>> Rows(["a", "b", "a"], ["ann", "ann", "ann"], [["x"], ["y"], ["z"]]).latest()
        [1, 2]
        """
        order = range(len(self.ids))
        if self.dates is not None:
            order = np.lexsort((self.dates, ~np.isnat(self.dates))).tolist()
        last = {(self.ids[row], self.annotators[row]): row for row in order}
        return sorted(last.values())


@dataclass(frozen=True)
class CorpusView:
    """The corpus, with labels already repaired as far as the policy allows.

    A field is None if the corpus does not have that column.

    Attributes:
        ids: of the documents.
        texts: of the documents.
        labels: of the documents, after repairs.
        limits: where the rules draw their lines.
        flags: what the repairs found, code to `(n_docs,)` bool.
        allowed: labels that may occur; None allows any.
        splits: frozen part of each document.
        annotators: who labeled each document.
        dates: `(n_docs,)` datetime64, when it was labeled.
        rows: judgments of several annotators per document.
        split_labels: labels that were split and that documents still have.
        joined_labels: labels that documents have of their own, and others by a rename.
    """

    ids: list[str]
    texts: list[str]
    labels: LabelLists
    limits: Limits
    flags: dict[str, np.ndarray]
    allowed: frozenset[str] | None = None
    splits: list[str | None] | None = None
    annotators: list[str | None] | None = None
    dates: np.ndarray | None = None
    rows: Rows | None = None
    split_labels: frozenset[str] = frozenset()
    joined_labels: frozenset[str] = frozenset()

    def each(self, test: Callable[[list[str]], bool]) -> np.ndarray:
        """Whether each document's labels pass `test`, `(n_docs,)` bool."""
        return np.fromiter((test(labels) for labels in self.labels), bool, len(self.labels))

    @cached_property
    def keys(self) -> list[str]:
        """The texts in the form in which duplicates are compared, see `text_keys`."""
        return text_keys(self.texts)

    @cached_property
    def n_words(self) -> np.ndarray:
        """Number of words in each text, `(n_docs,)` int; see `duplicates.words`."""
        return np.array([len(words(key)) for key in self.keys], dtype=np.int64)

    @cached_property
    def duplicates(self) -> np.ndarray:
        """Group of equal texts, −1 for a text that occurs once, `(n_docs,)` int."""
        return duplicate_groups(self.keys)

    @cached_property
    def near_duplicates(self) -> np.ndarray:
        """Pairs of documents with nearly the same text, `(n_pairs, 2)` int."""
        return near_duplicate_pairs(self.keys, self.limits.near_similarity)

    def differing(self, values: Sequence[Hashable | None]) -> np.ndarray:
        """Near-duplicate pairs whose two values are known and differ, `(n_pairs, 2)` int."""
        unlike = [
            values[a] is not None and values[b] is not None and values[a] != values[b]
            for a, b in self.near_duplicates
        ]
        return self.near_duplicates[np.array(unlike, dtype=bool)]

    @cached_property
    def label_sets(self) -> list[frozenset[str]]:
        """Each document's labels as a set."""
        return [frozenset(labels) for labels in self.labels]

    @cached_property
    def label_freq(self) -> Counter[str]:
        """Documents per label."""
        return Counter(label for labels in self.label_sets for label in labels)

    @cached_property
    def vocabulary(self) -> list[str]:
        """All labels, sorted; the columns of `targets`."""
        return vocabulary(self.labels)

    @cached_property
    def targets(self) -> sp.csr_matrix:
        """The labels as a 0/1 matrix `(n_docs, n_labels)`."""
        return encode(self.labels, self.vocabulary)

    @cached_property
    def languages(self) -> list[str | None]:
        """The language of each text, None if it is unclear."""
        return [language(text) for text in self.texts]

    @cached_property
    def case_variants(self) -> Variants:
        """Label to the more frequent label that differs only in case."""
        return case_variants(self.label_freq)

    @cached_property
    def space_variants(self) -> Variants:
        """Label to the more frequent label that differs only in space, hyphen or underscore."""
        return space_variants(self.label_freq)

    @cached_property
    def spelling_variants(self) -> Variants:
        """Rare label to the frequent label one edit away."""
        columns = {label: set(rows) for label, rows in self._documents_by_label().items()}
        return spelling_variants(
            self.label_freq, lambda a, b: not columns[a].isdisjoint(columns[b])
        )

    def _documents_by_label(self) -> dict[str, np.ndarray]:
        by_label = self.targets.tocsc()
        return {
            label: by_label.indices[by_label.indptr[i] : by_label.indptr[i + 1]]
            for i, label in enumerate(self.vocabulary)
        }

    @cached_property
    def period_shifts(self) -> list[Shift]:
        """Labels that are used differently in one period; empty without dates."""
        if self.dates is None:
            return []
        number, names = self.period_names
        limits = self.limits
        return shifts(self.targets, number, names, limits.significance, limits.least_rate_ratio)

    @cached_property
    def period_names(self) -> tuple[np.ndarray, list[str]]:
        """Each document's period, −1 without a date, and the names of the periods."""
        assert self.dates is not None
        return periods(self.dates, self.limits.periods)

    @cached_property
    def judged(self) -> tuple[list[str], list[str], Judgments] | None:
        """Names of the annotators, labels, and who gave which labels to which document.

        Taken from `rows` if there are any, else from the corpus's own annotators; None without
        either. Rows about documents that are not in the corpus are left out, and of several rows of
        an annotator about a document all but the latest.
        """
        position = {document: k for k, document in enumerate(self.ids)}
        if self.rows is not None:
            r = self.rows
            triples = [(r.ids[row], r.annotators[row], r.labels[row]) for row in self.used_rows]
        elif self.annotators is not None:
            triples = list(zip(self.ids, self.annotators, self.labels, strict=True))  # type: ignore[arg-type]
        else:
            return None
        triples = [t for t in triples if t[0] in position and t[1] is not None]
        names = sorted({who for _, who, _ in triples})
        code = {name: i for i, name in enumerate(names)}
        labels = vocabulary(given for _, _, given in triples)
        judgments = Judgments(
            np.array([position[document] for document, _, _ in triples], dtype=np.int64),
            np.array([code[who] for _, who, _ in triples], dtype=np.int64),
            encode([given for _, _, given in triples], labels),
        )
        return names, labels, judgments

    @cached_property
    def used_rows(self) -> list[int]:
        """The `rows` that `judged` is made of, in its order; empty without any."""
        if self.rows is None:
            return []
        known = set(self.ids)
        return [row for row in self.rows.latest() if self.rows.ids[row] in known]

    @cached_property
    def annotator_shifts(self) -> list[Shift]:
        """Labels that one annotator uses differently; empty without annotators."""
        if self.judged is None:
            return []
        names, _, judgments = self.judged
        limits = self.limits
        return shifts(
            judgments.targets,
            judgments.annotator,
            names,
            limits.significance,
            limits.least_rate_ratio,
        )
