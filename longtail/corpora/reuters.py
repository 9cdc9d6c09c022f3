"""Reuters-21578, ModApte split: turns SGML into labeled records with a frozen train/test split."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from longtail.errors import DataError, ParameterError

_STORY = re.compile(r"<REUTERS\b([^>]*)>(.*?)</REUTERS>", re.DOTALL)
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_TOPIC = re.compile(r"<D>(.*?)</D>", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_REFERENCE_TO_CONTROL = re.compile(r"&#([0-9]|[12][0-9]|3[01]|127);")


def reuters_records(files: Iterable[str]) -> list[dict[str, Any]]:
    """The ModApte documents of Reuters-21578.

    These are the stories with TOPICS="YES" and at least one topic among those that occur in both
    parts (Yang and Liu 1999): 7,770 train, 3,019 test, 90 topics.

    Args:
        files: the texts of the SGML files.

    Returns:
        Records with `id` (NEWID), `text` (title and body), `labels` (sorted topics) and `split`
        (`train` or `test`, from LEWISSPLIT), sorted by number.

    Raises:
        DataError: there is no such story.
    """
    stories = [story for text in files for story in _stories(text)]
    train, test = (
        {topic for story in stories if story["split"] == part for topic in story["labels"]}
        for part in ("train", "test")
    )
    for story in stories:
        story["labels"] = sorted(set(story["labels"]) & train & test)
    kept = [story for story in stories if story["labels"]]
    if not kept:
        raise DataError(
            'No Reuters story with TOPICS="YES" and a topic in both parts (LEWISSPLIT TRAIN and '
            "TEST); expected the SGML files reut2-000.sgm to reut2-021.sgm."
        )
    return sorted(kept, key=lambda story: int(story["id"]))


def freeze_validation(records: list[dict[str, Any]], n_val: int, seed: int) -> list[dict[str, Any]]:
    """Move a random sample of the train documents to `val`.

    The draw is that of scikit-learn's `train_test_split(test_size=n_val, random_state=seed)` over
    the train documents in the order of their numbers.

    Args:
        records: what `reuters_records` returned.
        n_val: documents to move, between 1 and the number of train documents minus 1.
        seed: of the draw, 0 to 2^32 - 1.

    Raises:
        ParameterError: `n_val` or `seed` out of range.
    """
    train = [i for i, record in enumerate(records) if record["split"] == "train"]
    if not 0 < n_val < len(train):
        raise ParameterError(
            f"n_val, the number of validation documents, must be between 1 and {len(train) - 1}, "
            f"got {n_val}."
        )
    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed must be between 0 and 2^32 - 1, got {seed}.")
    drawn = np.random.RandomState(seed).permutation(len(train))[:n_val]
    val = {train[i] for i in drawn}
    return [{**record, "split": "val"} if i in val else record for i, record in enumerate(records)]


def _stories(text: str) -> Iterator[dict[str, Any]]:
    for attributes, story in _STORY.findall(text):
        fields = dict(_ATTRIBUTE.findall(attributes))
        split = fields.get("LEWISSPLIT", "").lower()
        if fields.get("TOPICS") != "YES" or split not in ("train", "test"):
            continue
        yield {
            "id": fields["NEWID"],
            "text": _plain_text(story),
            "labels": _TOPIC.findall(_element(story, "TOPICS") or ""),
            "split": split,
        }


def _plain_text(story: str) -> str:
    """Title and body, or the whole text of a story without these elements (TYPE="UNPROC")."""
    parts = [_element(story, "TITLE"), _element(story, "BODY")]
    found = [part for part in parts if part is not None] or [_element(story, "TEXT") or ""]
    plain = (_CONTROL.sub("", html.unescape(_REFERENCE_TO_CONTROL.sub("", p))) for p in found)
    return "\n".join(part.strip() for part in plain).strip()


def _element(story: str, name: str) -> str | None:
    found = re.search(rf"<{name}\b[^>]*>(.*?)</{name}>", story, re.DOTALL)
    return found.group(1) if found else None
