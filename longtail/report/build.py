"""Turns all evidence into one JSON-able dict, the source of pages, figures and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from longtail.models.beginning import beginning
from longtail.report import sections
from longtail.report.attributions import Attribution, Explainable, attribute
from longtail.report.confusion import confusion_pairs, quoted
from longtail.report.evidence import Evidence
from longtail.report.ingredients import ingredients, without_metrics
from longtail.report.tokens import overfitted_tokens
from longtail.report.worst import worst_errors

FORMAT = 2
TOKEN_STEPS = 8  # per document; a mean over documents tolerates rougher attributions
MISSED, MORE = 0.1, 4  # attributions off by a larger share are repeated once, with more steps


@dataclass(frozen=True)
class Options:
    """Sizes of the report.

    Args:
        n_draws: Bootstrap draws over documents.
        seed: Of the draws.
        level: Coverage of the intervals, in (0, 1).
        worst_errors: Errors shown with attributions.
        attribution_steps: Integration steps per error; four times as many if that is too rough.
        token_labels: Labels examined for overfitted tokens.
        token_docs: False positives attributed per such label.
        confusion_pairs: Pairs of labels listed.
        calibration_bins: Reliability bins; divides `score_histogram.N_BINS`.
        excerpt_chars: Characters quoted per document.
    """

    n_draws: int
    seed: int
    level: float
    worst_errors: int
    attribution_steps: int
    token_labels: int
    token_docs: int
    confusion_pairs: int
    calibration_bins: int
    excerpt_chars: int


@dataclass(frozen=True)
class Facts:
    """What was found before the evaluation; JSON-able and shown unchanged, unless noted.

    Args:
        frequencies: `statistics`, the corpus by part.
        thresholds: `objective` and `models`, each with its metrics on `val`.
        cooccurrence: Counts of label pairs in train, (n_labels, n_labels).
        split: How the corpus was split, with `quality` and that of the `reference`.
        findings: `rules` of the data checks.
        summary: What training chose.
        history: `columns` and `rows`, one per epoch.
        suspects: `rows` of suspected label errors and their `total`.
        lineage: Name of each input -> facts about it.
    """

    frequencies: Mapping[str, Any]
    thresholds: Mapping[str, Any]
    cooccurrence: sp.spmatrix
    split: Mapping[str, Any] = field(default_factory=dict)
    findings: Any = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)
    suspects: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)


def build(
    evidence: Evidence, facts: Facts, model: Explainable, max_length: int, options: Options
) -> dict[str, Any]:
    """Everything that the page shows; the same input gives the same dict.

    Args:
        evidence: Test documents, labels and scores.
        facts: What was found before the evaluation.
        model: The network whose errors are explained.
        max_length: Tokens that `model` reads per text.
        options: Sizes of the report.

    Raises:
        DataError: Scores or logits are NaN.
        AssertionError: A partition of labels or documents does not add up to the totals.
    """
    n_docs, n_labels = evidence.targets.shape
    lengths, length_names = _lengths(evidence.test["text"], model, max_length)
    slices = sections.slices(
        evidence,
        length_names,
        n_draws=options.n_draws,
        seed=options.seed,
        level=options.level,
    )
    for rows in slices.values():
        sections.check_sums(rows, n_labels, n_docs, evidence.targets.nnz)
    predicted = sections.predicted_labels(evidence)
    brought = ingredients(evidence, level=options.level)
    return {
        "format": FORMAT,
        "models": [{"name": m.name, "title": m.title} for m in evidence.models],
        "totals": _totals(evidence, options)
        | {"truncated": int((lengths > max_length).sum()), "max_length": max_length},
        "headline": sections.headline(slices),
        "ingredients": brought,
        "metrics": sections.flat_metrics(evidence.models, slices, predicted)
        | {"without": without_metrics(brought)},
        "slices": slices,
        "predicted_labels": predicted,
        "labels": sections.label_table(evidence),
        "statistics": facts.frequencies.get("statistics", {}),
        "cooccurrence": sections.cooccurrence(
            evidence.labels, evidence.class_freq, facts.cooccurrence
        ),
        "thresholds": sections.threshold_summary(
            facts.thresholds, evidence.models, evidence.groups
        ),
        **sections.curves_and_calibration(evidence, n_bins=options.calibration_bins),
        **_examples(evidence, model, max_length, options),
        "history": facts.history,
        "suspects": facts.suspects,
        "split": facts.split,
        "findings": facts.findings,
        "summary": facts.summary,
        "lineage": facts.lineage,
    }


def _totals(evidence: Evidence, options: Options) -> dict[str, Any]:
    n_docs, n_labels = evidence.targets.shape
    return {
        "n_docs": n_docs,
        "n_labels": n_labels,
        "support": evidence.targets.nnz,
        "head": evidence.head,
        "tail": evidence.tail,
        "level": options.level,
        "n_draws": options.n_draws,
    }


def _lengths(texts: pd.Series, model: Explainable, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each text, (n_docs,) int, and the name of its length class, (n_docs,) str.

    Of a text beyond `limit`, not all tokens are counted.
    """
    if not len(texts):
        return np.zeros(0, dtype=int), np.zeros(0, dtype=str)
    encoded = model.tokenizer(
        [beginning(model.tokenizer, text, limit) for text in texts],
        truncation=False,
        return_attention_mask=False,
        verbose=False,
    )
    lengths = np.array([len(ids) for ids in encoded["input_ids"]])
    half = limit // 2  # the names sort from short to long
    names = np.where(
        lengths <= half,
        f"1 to {half} tokens",
        np.where(
            lengths <= limit,
            f"{half + 1} to {limit} tokens",
            f"over {limit} tokens (truncated)",
        ),
    )
    return lengths, names


def _examples(
    evidence: Evidence, model: Explainable, max_length: int, options: Options
) -> dict[str, Any]:
    """The sections that quote documents, and `documents`: test row -> the document quoted."""

    @cache
    def explain(text: str, label: int, steps: int) -> Attribution:
        return attribute(model, text, label, steps=steps, max_length=max_length, fast=True)

    texts = evidence.test["text"].to_numpy()
    errors = worst_errors(evidence, limit=options.worst_errors)
    for row in errors:
        pair, steps = (texts[row["document"]], row["label"]), options.attribution_steps
        found = explain(*pair, steps)
        if found.gap > MISSED * found.total:
            found = explain(*pair, MORE * steps)
        row["attribution"] = _shown(found, options.excerpt_chars)
    tokens = overfitted_tokens(
        evidence,
        lambda text, label: explain(text, label, TOKEN_STEPS).pieces,
        n_labels=options.token_labels,
        n_docs=options.token_docs,
    )
    pairs = confusion_pairs(
        evidence.false_negatives, evidence.false_positives, limit=options.confusion_pairs
    )
    _name(evidence, errors, tokens, pairs, options.excerpt_chars)
    quoted = {row["document"] for row in errors} | {d for row in pairs for d in row["documents"]}
    return {
        "errors": errors,
        "tokens": tokens,
        "confusion": pairs,
        "documents": {str(row): _document(evidence, row, options) for row in sorted(quoted)},
    }


def _shown(found: Attribution, limit: int) -> dict[str, Any]:
    """An attribution cut after `limit` characters of text, rounded."""
    pieces, length = [], 0
    for text, value in found.pieces:
        if length >= limit:
            break
        pieces.append([text[: limit - length], None if value is None else round(value, 4)])
        length += len(text)
    cut = sum(len(text) for text, _ in found.pieces) > limit
    return {
        "pieces": pieces,
        "cut": cut,
        "logit": found.logit,
        "baseline_logit": found.baseline_logit,
        "gap": found.gap,
        "total": found.total,
    }


def _document(evidence: Evidence, row: int, options: Options) -> dict[str, Any]:
    predicted = evidence.model.predicted[[row]]
    record = {name: evidence.test[name].iloc[row] for name in ("id", "text", "labels")}
    return quoted(record, predicted, evidence.labels, options.excerpt_chars)


def _name(
    evidence: Evidence,
    errors: list[dict[str, Any]],
    tokens: list[dict[str, Any]],
    pairs: list[dict[str, Any]],
    limit: int,
) -> None:
    """Replace column and train row numbers by names and excerpts, in place."""
    for row in [*errors, *tokens]:
        row["label"] = evidence.labels[row["label"]]
    for row in pairs:
        row["missed"] = evidence.labels[row["missed"]]
        row["predicted"] = evidence.labels[row["predicted"]]
    for row in tokens:
        records = [evidence.train.iloc[i] for i in row["hard_negatives"]]
        row["hard_negatives"] = [
            {"id": str(r["id"]), "text": str(r["text"])[: limit // 3], "labels": list(r["labels"])}
            for r in records
        ]
