"""Tests in a fresh process whether a registered version answers as expected."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from components._registry.worker import Answer, Served, ServedError

TOLERANCE = 1e-4
# int8 products saturate on processors without VNNI: the same version scores slightly differently.
INT8_TOLERANCE = 0.02
SINGLES = 8


@dataclass(frozen=True)
class Sample:
    """Test documents kept with a version.

    Attributes:
        texts: of the documents.
        labels: the columns of `scores`.
        scores: `(n_docs, n_labels)`, as the pipeline computed them; None where they were dropped.
        tolerance: largest difference between a served score and the one in `scores`.
    """

    texts: list[str]
    labels: list[str]
    scores: list[list[float | None]]
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Smoke:
    """The result of the smoke test: one sentence per fault, and what was measured."""

    faults: list[str]
    measured: dict[str, float]


EDGE_TEXTS: dict[str, list[str]] = {
    "an empty text": [""],
    "10,000 words": ["word " * 10_000],
    "other scripts and emoji": ["Привет 世界 مرحبا שלום ไทย 🙂👩‍👩‍👧‍👦 e\u0301 \u200b\ufeff"],
    "control characters": ["a\x00b\x07\r\n\t<script>alert(1)</script>"],
    "a batch of 64": [f"document number {i}" for i in range(64)],
}


def smoke(uri: str, sample: Sample) -> Smoke:
    """Load a version in a fresh process and run every check.

    Args:
        uri: of the version.
        sample: kept with the version.
    """
    try:
        with Served(uri) as model:
            faults = [fault for check in CHECKS.values() for fault in check(model, sample)]
            return Smoke(faults, _measure(model, sample))
    except ServedError as error:
        return Smoke([str(error)], {})


def _edge_texts(model: Served, sample: Sample) -> list[str]:
    faults = []
    for name, texts in EDGE_TEXTS.items():
        try:
            faults += _form(name, model.ask(texts), texts)
        except ServedError as error:
            faults.append(f"{name}: {error}")
    return faults


def _form(name: str, answer: Answer, texts: Sequence[str]) -> list[str]:
    """Check for one row per text and one score per label, in [0, 1] and descending."""
    if len(answer.labels) != len(texts) or len(answer.scores) != len(texts):
        return [f"{name}: {len(answer.labels)} rows for {len(texts)} texts."]
    for labels, scores in zip(answer.labels, answer.scores, strict=True):
        if len(labels) != len(scores) or not all(0 <= score <= 1 for score in scores):
            return [f"{name}: expected one score in [0, 1] per label."]
        if sorted(scores, reverse=True) != scores:
            return [f"{name}: scores are not in descending order."]
    return []


def _missing_text(model: Served, sample: Sample) -> list[str]:
    try:
        model.ask(["a text", None])
    except ServedError as error:
        clean = re.search("Row [12]:", str(error))  # versions of 0.1.0 count from 0
        return [] if clean else [f"a missing text: the error does not name the row: {error}"]
    return ["a missing text: expected an error that names the row, got an answer."]


def _agreement(model: Served, sample: Sample) -> list[str]:
    """Compare all scores of the sample with those of the pipeline."""
    if model.labels != sample.labels:
        return ["the served labels differ from those of the sample."]
    answer = model.ask(sample.texts, threshold=0.0)
    worst = 0.0
    for labels, scores, expected in zip(answer.labels, answer.scores, sample.scores, strict=True):
        found = dict(zip(labels, scores, strict=True))
        if len(found) != len(expected):
            return [f"the sample: {len(found)} labels, expected {len(expected)}."]
        pairs = zip(sample.labels, expected, strict=True)
        gaps = [abs(found[label] - score) for label, score in pairs if score is not None]
        worst = max([worst, *gaps])
    if worst <= sample.tolerance:
        return []
    return [f"scores differ from those of the pipeline by up to {worst:.2g}."]


def _measure(model: Served, sample: Sample) -> dict[str, float]:
    answers = [model.ask([text]) for text in sample.texts[:SINGLES]]
    return {
        "size_mb": model.size_mb,
        "start_seconds": model.start_seconds,
        "seconds_per_doc": statistics.median(answer.seconds for answer in answers),
        "memory_mb": answers[-1].memory_mb,
    }


CHECKS: dict[str, Callable[[Served, Sample], list[str]]] = {
    "edge texts": _edge_texts,
    "missing text": _missing_text,
    "agreement": _agreement,
}
