"""Turns the findings into a record for JSON, bounded in size whatever the corpus."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from longtail.validation.agreement import (
    Judgments,
    annotator_agreement,
    label_alphas,
    overall_alpha,
    pair_alphas,
    swap_documents,
    swapped_labels,
)
from longtail.validation.corpus_view import CorpusView
from longtail.validation.label_variants import Variants
from longtail.validation.rules import RULES, Flags
from longtail.validation.shifts import Shift, periods
from longtail.validation.verdict import status

EXAMPLES = 20  # entries of every list
ROWS = 200  # labels and annotators in the agreement tables
SWAP_EXAMPLES = 3  # documents per swapped pair
EXCERPT = 160  # characters


def excerpt(text: str, length: int = EXCERPT) -> str:
    """The beginning of `text` on one line, cut to `length` characters with an ellipsis.

    >>> excerpt("A title   and more", 12)
    'A title and…'
    """
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length and len(text) <= 4 * length else line[: length - 1] + "…"


def rule_findings(
    view: CorpusView, flags: Mapping[str, Flags], policy: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Every rule with its policy, status, count, share and up to 20 documents."""
    found = []
    for code, rule in RULES.items():
        flag = flags.get(code)
        rows = np.flatnonzero(flag) if flag is not None else np.zeros(0, int)
        found.append(
            {
                "code": code,
                "finds": rule.finds,
                "policy": policy[code],
                "status": status(code, flag, policy),
                "count": len(rows),
                "share": len(rows) / max(len(view.ids), 1),
                "examples": [_document(view, int(k)) for k in rows[:EXAMPLES]],
            }
        )
    return found


def _document(view: CorpusView, k: int) -> dict[str, Any]:
    labels = [excerpt(label) for label in view.labels[k]]
    return {
        "id": excerpt(view.ids[k]),
        "labels": labels[:EXAMPLES],
        "text": excerpt(view.texts[k]),
    }


def statistics(view: CorpusView) -> dict[str, Any]:
    """Number of documents and labels, and their distributions."""
    per_document = np.array([len(labels) for labels in view.label_sets])
    per_label = np.array(list(view.label_freq.values()))
    languages = Counter(name or "unclear" for name in view.languages)
    return {
        "documents": len(view.ids),
        "labels": len(per_label),
        "labels_per_document": _spread(per_document),
        "documents_per_label": _spread(per_label),
        "words_per_document": _spread(view.n_words),
        "languages": dict(languages.most_common(EXAMPLES)),
    }


def _spread(values: np.ndarray) -> dict[str, float] | None:
    if not len(values):
        return None
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "min": int(values.min()),
        "max": int(values.max()),
    }


def duplicate_findings(view: CorpusView) -> dict[str, Any]:
    """Counts of equal texts, of conflicts among them, and up to 20 conflicts."""
    copies: dict[int, list[int]] = {}
    for k in np.flatnonzero(view.duplicates >= 0):
        copies.setdefault(int(view.duplicates[k]), []).append(int(k))
    groups = list(copies.values())
    conflicts = [g for g in groups if len({view.label_sets[k] for k in g}) > 1]
    splits = view.splits
    across = [g for g in groups if splits and len({splits[k] for k in g} - {None}) > 1]
    near = view.differing(view.label_sets)
    return {
        "groups": len(groups),
        "documents": sum(map(len, groups)),
        "conflicting_groups": len(conflicts),
        "groups_across_splits": len(across) if splits else None,
        "near_pairs": len(view.near_duplicates),
        "conflicting_near_pairs": len(near),
        "conflicts": [[_document(view, k) for k in g[:5]] for g in conflicts[:EXAMPLES]],
        "near_conflicts": [[_document(view, int(k)) for k in pair] for pair in near[:EXAMPLES]],
    }


def variant_findings(view: CorpusView) -> list[dict[str, Any]]:
    """Labels that look like another one, the most frequent of those first."""
    kinds: dict[str, Variants] = {
        "case": view.case_variants,
        "space": view.space_variants,
        "spelling": view.spelling_variants,
    }
    freq = view.label_freq
    rows = [(kind, a, b) for kind, variants in kinds.items() for a, b in variants.items()]
    rows.sort(key=lambda row: (-freq[row[1]], row))
    return [
        {"kind": kind, "label": a, "documents": freq[a], "meant": b, "meant_documents": freq[b]}
        for kind, a, b in rows[:ROWS]
    ]


def shift_findings(shifts: list[Shift], labels: list[str]) -> dict[str, Any]:
    """The number of shifted cells, and the worst of them."""
    return {
        "count": len(shifts),
        "worst": [
            {
                "group": cell.group,
                "label": labels[cell.label],
                "documents": cell.count,
                "expected": cell.expected,
                "rate_ratio": cell.ratio,
                "p_value": cell.p_value,
            }
            for cell in shifts[:EXAMPLES]
        ],
    }


def agreement_findings(view: CorpusView) -> dict[str, Any] | None:
    """Alpha overall, over time, by label and pair; swapped labels; None if nothing is shared."""
    if view.judged is None or not len(view.judged[2].shared().document):
        return None
    names, labels, judgments = view.judged
    alphas = label_alphas(judgments)
    order = [i for i in np.argsort(alphas, kind="stable") if not math.isnan(alphas[i])]
    against = annotator_agreement(judgments)
    ranked = sorted(against.items(), key=lambda item: item[1][1])
    return {
        "documents": len(np.unique(judgments.shared().document)),
        "annotators": len(against),
        "alpha": overall_alpha(judgments),
        "periods": _alpha_by_period(view, judgments),
        "labels": [{"label": labels[i], "alpha": float(alphas[i])} for i in order[:ROWS]],
        "pairs": [
            {"annotators": [names[a], names[b]], "documents": n, "alpha": alpha}
            for a, b, n, alpha in pair_alphas(judgments, EXAMPLES)
        ],
        "against_the_rest": [
            {"annotator": names[who], "documents": n, "similarity": similarity}
            for who, (n, similarity) in ranked[:ROWS]
        ],
        "swapped_labels": [
            {
                "labels": [labels[i] for i in s.labels],
                "count": s.count,
                "lift": s.lift,
                "examples": [
                    _document(view, int(k)) for k in swap_documents(judgments, s)[:SWAP_EXAMPLES]
                ],
            }
            for s in swapped_labels(judgments)[:EXAMPLES]
        ],
    }


def _alpha_by_period(view: CorpusView, judgments: Judgments) -> list[dict[str, Any]]:
    """Alpha of the documents whose last judgment falls into each period; empty without dates."""
    if view.rows is None or view.rows.dates is None:
        return []
    shared = np.flatnonzero(judgments.several())
    latest = np.full(len(view.ids), np.datetime64("NaT", "us"))
    np.fmax.at(latest, judgments.document[shared], view.rows.dates[view.used_rows][shared])
    documents = np.unique(judgments.document[shared])
    number, names = periods(latest[documents], view.limits.periods)
    found = []
    for period, name in enumerate(names):
        inside = documents[number == period]
        own = judgments.rows(np.flatnonzero(np.isin(judgments.document, inside)))
        found.append({"period": name, "documents": len(inside), "alpha": overall_alpha(own)})
    return found


def all_findings(
    view: CorpusView, flags: Mapping[str, Flags], policy: Mapping[str, str]
) -> dict[str, Any]:
    """All findings in one record; None for a section whose column the corpus lacks."""
    dated = view.dates is not None and not np.isnat(view.dates).all()
    judged = view.judged
    return {
        "rules": rule_findings(view, flags, policy),
        "statistics": statistics(view),
        "duplicates": duplicate_findings(view),
        "label_variants": variant_findings(view),
        "period_shifts": (shift_findings(view.period_shifts, view.vocabulary) if dated else None),
        "annotator_shifts": (
            shift_findings(view.annotator_shifts, judged[1])
            if judged and len(judged[0]) > 1
            else None
        ),
        "agreement": agreement_findings(view),
    }
