"""The findings as a record for JSON: bounded in size whatever the corpus."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from longtail.validation.agreement import (
    annotator_agreement,
    label_alphas,
    overall_alpha,
    swapped_labels,
)
from longtail.validation.corpus_view import Subject
from longtail.validation.label_variants import Variants
from longtail.validation.rules import RULES, Flags
from longtail.validation.shifts import Shift
from longtail.validation.verdict import status

EXAMPLES = 20  # entries of every list
ROWS = 200  # labels and annotators in the tables of agreement
EXCERPT = 160  # characters


def excerpt(text: str, length: int = EXCERPT) -> str:
    """The beginning of `text` in one line, cut at `length` characters with an ellipsis."""
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length and len(text) <= 4 * length else line[: length - 1] + "…"


def rule_findings(
    subject: Subject, flags: Mapping[str, Flags], policy: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Each rule with policy, status, count, share and up to 20 documents."""
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
                "share": len(rows) / max(len(subject.ids), 1),
                "examples": [_document(subject, int(k)) for k in rows[:EXAMPLES]],
            }
        )
    return found


def _document(subject: Subject, k: int) -> dict[str, Any]:
    labels = [excerpt(label) for label in subject.labels[k]]
    return {
        "id": excerpt(subject.ids[k]),
        "labels": labels[:EXAMPLES],
        "text": excerpt(subject.texts[k]),
    }


def statistics(subject: Subject) -> dict[str, Any]:
    """Documents, labels, and how they are spread."""
    per_document = np.array([len(labels) for labels in subject.label_sets])
    per_label = np.array(list(subject.label_freq.values()))
    languages = Counter(name or "unclear" for name in subject.languages)
    return {
        "documents": len(subject.ids),
        "labels": len(per_label),
        "labels_per_document": _spread(per_document),
        "documents_per_label": _spread(per_label),
        "words_per_document": _spread(subject.n_words),
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


def duplicate_findings(subject: Subject) -> dict[str, Any]:
    """Groups of equal texts: how many, with conflicting labels, across splits; 20 conflicts."""
    members: dict[int, list[int]] = {}
    for k in np.flatnonzero(subject.duplicates >= 0):
        members.setdefault(int(subject.duplicates[k]), []).append(int(k))
    groups = list(members.values())
    conflicts = [g for g in groups if len({subject.label_sets[k] for k in g}) > 1]
    splits = subject.splits
    across = [g for g in groups if splits and len({splits[k] for k in g} - {None}) > 1]
    near = subject.differing(subject.label_sets)
    return {
        "groups": len(groups),
        "documents": sum(map(len, groups)),
        "conflicting_groups": len(conflicts),
        "groups_across_splits": len(across) if splits else None,
        "near_pairs": len(subject.near_duplicates),
        "conflicting_near_pairs": len(near),
        "conflicts": [[_document(subject, k) for k in g[:5]] for g in conflicts[:EXAMPLES]],
        "near_conflicts": [[_document(subject, int(k)) for k in pair] for pair in near[:EXAMPLES]],
    }


def variant_findings(subject: Subject) -> list[dict[str, Any]]:
    """Labels that look like another, most frequent first."""
    kinds: dict[str, Variants] = {
        "case": subject.case_variants,
        "space": subject.space_variants,
        "spelling": subject.spelling_variants,
    }
    freq = subject.label_freq
    rows = [(kind, a, b) for kind, variants in kinds.items() for a, b in variants.items()]
    rows.sort(key=lambda row: (-freq[row[1]], row))
    return [
        {"kind": kind, "label": a, "documents": freq[a], "meant": b, "meant_documents": freq[b]}
        for kind, a, b in rows[:ROWS]
    ]


def shift_findings(shifts: list[Shift], labels: list[str]) -> dict[str, Any]:
    """The number of shifted cells and the worst of them."""
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


def agreement_findings(subject: Subject) -> dict[str, Any] | None:
    """Alpha overall and by label, annotators against the rest, swapped pairs; None without any."""
    if subject.judged is None or not len(subject.judged[2].shared().document):
        return None
    names, labels, judgements = subject.judged
    alphas = label_alphas(judgements)
    order = [i for i in np.argsort(alphas, kind="stable") if not math.isnan(alphas[i])]
    against = annotator_agreement(judgements)
    ranked = sorted(against.items(), key=lambda item: item[1][1])
    return {
        "documents": len(np.unique(judgements.shared().document)),
        "annotators": len(against),
        "alpha": overall_alpha(judgements),
        "labels": [{"label": labels[i], "alpha": float(alphas[i])} for i in order[:ROWS]],
        "against_the_rest": [
            {"annotator": names[who], "documents": n, "similarity": similarity}
            for who, (n, similarity) in ranked[:ROWS]
        ],
        "swapped_labels": [
            {"labels": [labels[i] for i in s.labels], "count": s.count, "lift": s.lift}
            for s in swapped_labels(judgements)[:EXAMPLES]
        ],
    }


def all_findings(
    subject: Subject, flags: Mapping[str, Flags], policy: Mapping[str, str]
) -> dict[str, Any]:
    """Everything above in one record; None for a section whose column the corpus lacks."""
    dated = subject.dates is not None and not np.isnat(subject.dates).all()
    judged = subject.judged
    return {
        "rules": rule_findings(subject, flags, policy),
        "statistics": statistics(subject),
        "duplicates": duplicate_findings(subject),
        "label_variants": variant_findings(subject),
        "period_shifts": (
            shift_findings(subject.period_shifts, subject.vocabulary) if dated else None
        ),
        "annotator_shifts": (
            shift_findings(subject.annotator_shifts, judged[1])
            if judged and len(judged[0]) > 1
            else None
        ),
        "agreement": agreement_findings(subject),
    }
