"""Findings of a corpus that several people judged and reviewed, by the real functions."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from longtail.annotation.agreed_labels import agreed_labels
from longtail.annotation.review import Review
from longtail.annotation.review_tally import tallies
from longtail.label_matrix import encode, vocabulary
from longtail.validation.corpus_view import CorpusView, Limits, Rows
from longtail.validation.findings import agreement_findings, statistics
from longtail.validation.label_errors import text_features
from longtail.validation.label_proposals import centered, proposals

LIMITS = Limits(
    least_words=1, most_characters=10**6, most_labels=1000, least_support=1, near_similarity=0.8,
    usual_language_share=0.1, most_disagreement=1.0, periods=4, significance=0.01,
    least_rate_ratio=2.0,
)  # fmt: skip
PEOPLE = ("ann <b>", "bob", "cee")
TWIN = "twin <i>"


def judged_findings(frame: pd.DataFrame, people: tuple[str, ...] = PEOPLE) -> dict[str, Any]:
    """Everybody judges every third document; the last of `people` errs in half of them.

    Whoever errs gives the next label of the vocabulary in place of the document's first one, so
    that neighbors in the vocabulary are confused. The documents of the last label have `TWIN`
    instead by coin.
    """
    rng = np.random.default_rng(0)
    names = vocabulary(frame["labels"])
    coin = rng.random(len(frame)) < 0.5
    labels = [
        [TWIN if name == names[-1] and heads else name for name in own]
        for own, heads in zip(frame["labels"], coin, strict=True)
    ]
    rows = []
    for k in range(0, len(frame), 3):
        for who, person in enumerate(people):
            own = list(labels[k])
            if rng.random() < (0.5 if who == len(people) - 1 else 0.1) and own[0] in names:
                own[0] = names[(names.index(own[0]) + 1) % len(names)]
            day = np.datetime64("2026-01-01", "us") + np.timedelta64(k, "D")
            rows.append((frame["id"][k], person, sorted(set(own)), day))
    ids, annotators, given, days = (list(column) for column in zip(*rows, strict=True))
    view = CorpusView(
        ids=frame["id"].tolist(), texts=frame["text"].tolist(), labels=labels, limits=LIMITS,
        flags={}, rows=Rows(ids, annotators, given, np.array(days)),
    )  # fmt: skip
    features = centered(text_features(view.texts, 32, 0)[:, :-1])
    known = vocabulary(labels)
    return {
        "rules": [],
        "statistics": statistics(view),
        "agreement": agreement_findings(view),
        "consensus": agreed_labels(view, "labels").record,
        "proposals": proposals(features, encode(labels, known), known, view.texts, least=5),
        "reviews": tallies(reviews(people)),
    }


def reviews(people: tuple[str, ...] = PEOPLE) -> list[Review]:
    """Sixty answers, two thirds of them right."""
    return [
        Review(
            id=f"d{k}", label=people[0], rule=("wrong", "missing")[k % 2], score=1.0, given=True,
            right=k % 3 > 0, annotator=people[k % len(people)], reviewer=None,
            reviewed_at=dt.datetime(2026, 1, 1) + dt.timedelta(days=k), asked="2026-01-01", text="",
        )
        for k in range(60)
    ]  # fmt: skip
