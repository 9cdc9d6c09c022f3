"""How reliable annotators are, by the probabilities of a consensus."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from longtail.validation.agreement import Judgments


class Reliability(NamedTuple):
    """One value per group of judgments, NaN where nothing can be said.

    Attributes:
        documents: `(n_groups,)` int, judged.
        found: `(n_groups,)` in [0, 1], expected share of the documents' right labels that the group
            gave (recall).
        right: `(n_groups,)` in [0, 1], expected share of the given labels that are right
            (precision).
    """

    documents: np.ndarray
    found: np.ndarray
    right: np.ndarray


def reliability(judgments: Judgments, probability: sp.csr_matrix, group: np.ndarray) -> Reliability:
    """Compare judgments with a consensus.

    Args:
        judgments: documents that only one annotator judged say little: their consensus is mostly
            that annotator's word.
        probability: `(n_docs, n_labels)` that a document has a label.
        group: `(n_rows,)` int ≥ 0 of each judgment: its annotator, period, or both.
    """
    shape = (int(group.max(initial=-1)) + 1, len(group))
    member = sp.csr_matrix((np.ones(len(group)), (group, np.arange(len(group)))), shape=shape)
    believed = probability[judgments.document]
    given = judgments.targets.astype(float)
    positives, hits, n_given = (
        member @ np.asarray(cells.sum(axis=1)).ravel()
        for cells in (believed, believed.multiply(given), given)
    )
    documents = np.bincount(group, minlength=shape[0])
    return Reliability(documents, _share(hits, positives), _share(hits, n_given))


def _share(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)
