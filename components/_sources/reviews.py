"""Reviews of suspected labels: told from other annotations, and kept beside the corpus."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any

from components._formats.queue_file import SUSPECTED
from components._formats.reviews import FILE as FILE
from components._formats.reviews import read_reviews, write_reviews
from components._sources.rows import Rows
from longtail.annotation.review import Review, digest
from longtail.errors import DataError

SHOWN_ONLY = "current"  # what a task of `longtail review` shows; it does not come back
FIELDS: dict[str, type | tuple[type, ...]] = {
    "rule": str, "label": str, "score": (int, float), "given": bool, "asked": str
}  # fmt: skip
Key = tuple[str, str, str, str, str]


def separated(rows: Rows) -> Rows:
    """The rows without the questions of `longtail review`, which become reviews.

    Raises:
        DataError: a question is not as `longtail review` wrote it.
    """
    if SUSPECTED not in rows.columns:
        return rows
    columns = {
        name: values for name, values in rows.columns.items() if name not in (SUSPECTED, SHOWN_ONLY)
    }
    reviews = [
        Review(
            id=rows.columns["id"][i],
            label=question["label"],
            rule=question["rule"],
            score=float(question["score"]),
            given=question["given"],
            right=question["given"] != (question["label"] in rows.columns["labels"][i]),
            annotator=None,
            reviewer=columns["annotator"][i] if "annotator" in columns else None,
            reviewed_at=columns["annotated_at"][i] if "annotated_at" in columns else None,
            asked=question["asked"],
            text=digest(rows.columns["text"][i]),
        )
        for i in range(len(rows))
        for question in _questions(rows, i)
    ]
    return replace(rows, columns=columns, reviews=[*rows.reviews, *reviews])


def _questions(rows: Rows, i: int) -> Iterator[dict[str, Any]]:
    value = rows.columns[SUSPECTED][i]
    if value is None or value == "":  # a task of another queue, in the same project
        return
    try:
        questions = json.loads(value)
        for question in questions:
            if not all(isinstance(question[name], kind) for name, kind in FIELDS.items()):
                raise TypeError
            if not math.isfinite(question["score"]):
                raise ValueError
            json.dumps(question, ensure_ascii=False).encode()  # half a character cannot be written
            dt.date.fromisoformat(question["asked"])
            yield question
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise DataError(
            f"{rows.where(i)}, column {SUSPECTED!r}: expected the questions that `longtail review` "
            f"wrote, got {value!r:.80}. Leave that column as it is; if it is one of your own, "
            "rename it."
        ) from None


def without_stale(columns: Mapping[str, Sequence[Any]], rows: Rows) -> Rows:
    """The rows without reviewed documents that have changed or gone since; says how many there are.

    A corpus that is still empty takes them all.
    """
    asked = {review.id for review in rows.reviews}
    known = dict(zip(columns["id"], columns["text"], strict=True)) if asked else {}
    seen = zip(rows.columns.get("id", ()), rows.columns.get("text", ()), strict=True)
    stale = {name for name, text in seen if known and name in asked and known.get(name) != text}
    if not stale:
        return rows
    print(
        f"{rows.source}: left out: {len(stale):,} reviews of texts that have changed since, or are "
        "not in the corpus any more."
    )
    keep = [name not in stale for name in rows.columns["id"]]
    return replace(
        rows,
        columns={name: list(compress(values, keep)) for name, values in rows.columns.items()},
        lines=None if rows.lines is None else list(compress(rows.lines, keep)),
        judgments=rows.judgments and _without(rows.judgments, stale),
    )


def _without(judgments: dict[str, list[Any]], ids: Set[str]) -> dict[str, list[Any]]:
    keep = [name not in ids for name in judgments["id"]]
    return {name: list(compress(values, keep)) for name, values in judgments.items()}


def add(
    path: Path,
    batches: Sequence[Rows],
    annotators: Mapping[str, str | None],
    unwanted: Callable[[list[str]], Set[str]],
) -> None:
    """Add reviews to the file at `path`; says how many are new.

    A later review by the same person replaces the earlier one of the same question. A file to which
    nothing is new keeps its bytes.

    Args:
        path: the file; made if it is not there.
        batches: with the reviews to add.
        annotators: who had annotated each document before it was reviewed.
        unwanted: the ids, of those given, whose reviews are not kept.
    """
    reviews = [review for rows in batches for review in rows.reviews]
    old = read_reviews(path) if reviews else []
    kept = {_key(review): review for review in old}
    blamed = {review.question: review.annotator for review in old}
    refused = unwanted([review.id for review in reviews])
    n_new = 0
    for review in sorted(reviews, key=lambda review: review.time):
        blame = blamed.get(review.question, annotators.get(review.id))
        review = replace(review, annotator=blame)
        before = kept.get(_key(review))
        if review.id in refused or before == review or (before and before.time > review.time):
            continue
        kept[_key(review)] = review
        n_new += 1
    if n_new:
        write_reviews(kept.values(), path)
        print(f"{path}: {n_new:,} reviews are new or changed, {len(kept):,} in all.")


def _key(review: Review) -> Key:
    return *review.question, review.reviewer or ""
