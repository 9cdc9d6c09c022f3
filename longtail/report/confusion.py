"""Label pairs that the model confuses: one missed and another predicted in the same document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from longtail.label_matrix import decode

MIN_COUNT = 2
EXAMPLES = 3


def confusion_pairs(
    false_negatives: sp.csr_matrix, false_positives: sp.csr_matrix, *, limit: int
) -> list[dict[str, Any]]:
    """Pairs (missed label i, wrongly predicted label j) ranked by lift, highest first.

    lift = n_docs · n_ij / (n_i · n_j): how much more often the two errors occur in the same
    document than if they were independent. Pairs seen fewer than `MIN_COUNT` times are left out:
    a lift from one document means nothing.

    Args:
        false_negatives: CSR 0/1 (n_docs, n_labels).
        false_positives: CSR 0/1 (n_docs, n_labels).
        limit: Pairs to return.

    Returns:
        Per pair `missed` and `predicted` (columns), `n_docs`, `n_missed`, `n_predicted`, `lift`
        and `documents` (up to `EXAMPLES` row numbers).
    """
    together = (false_negatives.T.astype(np.int32) @ false_positives.astype(np.int32)).tocoo()
    kept = together.data >= MIN_COUNT
    missed, wrong, count = together.row[kept], together.col[kept], together.data[kept]
    n_missed = np.asarray(false_negatives.sum(axis=0)).ravel()
    n_wrong = np.asarray(false_positives.sum(axis=0)).ravel()
    lift = false_negatives.shape[0] * count / (n_missed[missed] * n_wrong[wrong]).clip(1)
    order = np.lexsort((wrong, missed, -count, -lift))[:limit]
    by_label = false_negatives.tocsc(), false_positives.tocsc()
    return [
        {
            "missed": int(missed[k]),
            "predicted": int(wrong[k]),
            "n_docs": int(count[k]),
            "n_missed": int(n_missed[missed[k]]),
            "n_predicted": int(n_wrong[wrong[k]]),
            "lift": float(lift[k]),
            "documents": _shared(*by_label, int(missed[k]), int(wrong[k]))[:EXAMPLES],
        }
        for k in order
    ]


def quoted(
    record: Mapping[str, Any], predicted: sp.csr_matrix, labels: Sequence[str], limit: int
) -> dict[str, Any]:
    """A document as the page quotes it.

    Args:
        record: its `id`, `text` and `labels`.
        predicted: 0/1 `(1, n_labels)`.
        labels: of the columns.
        limit: characters.
    """
    text = str(record["text"])
    return {
        "id": str(record["id"]),
        "text": text[:limit],
        "cut": len(text) > limit,
        "labels": list(record["labels"]),
        "predicted": decode(predicted, labels)[0],
    }


def _shared(left: sp.csc_matrix, right: sp.csc_matrix, i: int, j: int) -> list[int]:
    rows = np.intersect1d(
        left.indices[left.indptr[i] : left.indptr[i + 1]],
        right.indices[right.indptr[j] : right.indptr[j + 1]],
    )
    return [int(row) for row in rows]
