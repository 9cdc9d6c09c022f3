"""Labels that others contradict: copies of the text, or other annotators of the document."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from longtail.validation.corpus_view import CorpusView
from longtail.validation.label_errors import Suspect


def contradiction(
    given: sp.csr_matrix, n_others: np.ndarray, targets: sp.csr_matrix
) -> sp.csr_matrix:
    """The share of others who contradict the document, label by label.

    Args:
        given: by how many others each label is given, `(n_docs, n_labels)`.
        n_others: how many there are, `(n_docs,)`; without any, nothing is contradicted.
        targets: 0/1 `(n_docs, n_labels)`, what the document has.

    Returns:
        CSR `(n_docs, n_labels)`, 0 to 1.

    >>> given, targets = sp.csr_matrix([[2, 1, 0]]), sp.csr_matrix([[1, 0, 1]])
    >>> contradiction(given, np.array([2]), targets).toarray().tolist()
    [[0.0, 0.5, 1.0]]
    """
    share = sp.diags(1 / np.maximum(n_others, 1)) @ given
    has = sp.diags((n_others > 0).astype(float)) @ targets
    return sp.csr_matrix(share + has - 2 * has.multiply(share))


def by_copies(view: CorpusView) -> sp.csr_matrix:
    """Contradiction by documents with the same text, or nearly the same."""
    targets, n_docs = view.targets.astype(float), len(view.ids)
    copied = np.flatnonzero(view.duplicates >= 0)
    at = (copied, view.duplicates[copied])
    member = sp.csr_matrix((np.ones(len(copied)), at), (n_docs, view.duplicates.max(initial=0) + 1))
    a, b = view.near_duplicates.T
    near = sp.csr_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), (n_docs, n_docs))
    self = sp.diags(np.asarray(member.sum(axis=1)).ravel())
    given = member @ (member.T @ targets) - self @ targets + near @ targets
    n_others = member @ member.sum(axis=0).T - self.diagonal()[:, None] + near.sum(axis=1)
    return contradiction(sp.csr_matrix(given), np.asarray(n_others).ravel(), targets)


def by_annotators(view: CorpusView) -> sp.csr_matrix:
    """Contradiction by the annotators of documents that two or more have judged.

    All of them count as others, those who gave the document its labels as well. Labels that no
    document has are left out.
    """
    n_docs, labels = len(view.ids), view.vocabulary
    if view.judged is None:
        return sp.csr_matrix((n_docs, len(labels)))
    _, judged, judgments = view.judged
    shared = judgments.shared()
    column = {label: i for i, label in enumerate(labels)}
    known = [i for i, label in enumerate(judged) if label in column]
    rows = np.arange(len(shared.document))
    of = sp.csr_matrix((np.ones(len(rows)), (shared.document, rows)), (n_docs, len(rows)))
    given = (of @ shared.targets[:, known]).tocoo()
    at = (given.row, np.array([column[judged[i]] for i in known], dtype=int)[given.col])
    given = sp.csr_matrix((given.data, at), (n_docs, len(labels)))
    return contradiction(given, np.asarray(of.sum(axis=1)).ravel(), view.targets.astype(float))


def worst(
    kind: str, share: sp.csr_matrix, top: int, skip: sp.csr_matrix | None = None
) -> list[Suspect]:
    """The labels that are contradicted most.

    Args:
        kind: name of the rule.
        share: `(n_docs, n_labels)` as of `contradiction`.
        top: suspects, at most.
        skip: 0/1 `(n_docs, n_labels)`, 1 where a label is not to be suspected.
    """
    cells = (share if skip is None else share - share.multiply(skip)).tocoo()
    candidates = np.flatnonzero(cells.data > 0)
    rows, columns, values = (each[candidates] for each in (cells.row, cells.col, cells.data))
    order = np.lexsort((columns, rows, -values))[:top]
    return [Suspect(kind, int(rows[o]), int(columns[o]), float(values[o])) for o in order]


CONFLICTS: dict[str, Callable[[CorpusView], sp.csr_matrix]] = {
    "copies": by_copies,
    "annotators": by_annotators,
}
