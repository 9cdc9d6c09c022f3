"""What people said about suspected labels, and what that settles."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from longtail.validation.label_history import RENAMED, Change, current, fates


@dataclass(frozen=True)
class Review:
    """What a person said about one suspected label of one document.

    Attributes:
        id: of the document.
        label: that was suspected.
        rule: that suspected it.
        score: that it had.
        given: whether the document had the label.
        right: whether the person agreed with the suspicion, and so changed the label.
        annotator: who had annotated the document.
        reviewer: the person.
        reviewed_at: when.
        asked: day on which the question went out, such as 2026-01-31.
        text: digest of the text that the person saw.
    """

    id: str
    label: str
    rule: str
    score: float
    given: bool
    right: bool
    annotator: str | None
    reviewer: str | None
    reviewed_at: dt.datetime | None
    asked: str
    text: str

    @property
    def question(self) -> tuple[str, str, str, str]:
        """What was asked; several people may have answered it."""
        return self.id, self.rule, self.label, self.asked

    @property
    def time(self) -> dt.datetime:
        """When it was reviewed; without a time, the beginning of the day on which it was asked."""
        return self.reviewed_at or dt.datetime.fromisoformat(self.asked)


def digest(text: str) -> str:
    """Tells whether a text has changed."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def renamed(reviews: Sequence[Review], history: Sequence[Change]) -> list[Review]:
    """The reviews under the names that their labels have now; those of others keep theirs.

    Who has a label that was merged has the merged one. Who lacks it may have that for another
    reason, so such a review follows only renames.

    Args:
        reviews: all of them.
        history: the changes of labels, by date.
    """
    known = {True: fates(history), False: fates([c for c in history if c.kind == RENAMED])}
    now = [current([r.label], known[r.given != r.right]) or [r.label] for r in reviews]
    return [replace(r, label=label) for r, [label] in zip(reviews, now, strict=True)]


def settled(
    reviews: Iterable[Review],
    ids: Sequence[str],
    texts: Sequence[str],
    targets: sp.csr_matrix,
    labels: Sequence[str],
) -> sp.csr_matrix:
    """The labels that a person has decided on, so that no rule need suspect them again.

    That holds while the text is the same, and the document has or lacks the label as the latest
    review of it said. All rules put the same question, and a correction contradicts the annotator
    who is corrected: by its own rule alone, each would come back as a conflict of annotators.

    Args:
        reviews: all of them.
        ids: of the documents, `(n_docs,)`.
        texts: of the documents, `(n_docs,)`.
        targets: 0/1 `(n_docs, n_labels)`.
        labels: of the columns.

    Returns:
        0/1 CSR `(n_docs, n_labels)`.
    """
    latest = {(r.id, r.label): r for r in sorted(reviews, key=in_time)}
    row = {name: k for k, name in enumerate(ids)}
    column = {label: i for i, label in enumerate(labels)}
    at = [
        (k, i)
        for r in latest.values()
        if (k := row.get(r.id)) is not None
        and (i := column.get(r.label)) is not None
        and bool(targets[k, i]) == (r.given != r.right)
        and digest(texts[k]) == r.text
    ]
    rows, columns = zip(*at, strict=True) if at else ((), ())
    return sp.csr_matrix((np.ones(len(at), np.int8), (rows, columns)), targets.shape)


def in_time(review: Review) -> tuple[dt.datetime, str, str, str, str]:
    """Sorts reviews by time, and those of the same time always alike."""
    return review.time, review.id, review.rule, review.label, review.reviewer or ""
