"""The rules: each looks at the corpus and flags documents; RULES is all that there are.

A rule returns `(n_docs,)` bool, or None where the corpus lacks the column that it needs. Adding a
rule is one function here, one line in RULES, and one field in `components/validate.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from longtail.validation.agreement import disagreements
from longtail.validation.corpus_view import Subject
from longtail.validation.duplicates import mixed_groups
from longtail.validation.encoding import CONTROL, MOJIBAKE, REPLACEMENT, contains
from longtail.validation.language import strangers
from longtail.validation.shifts import Shift

SPLITS = frozenset({"train", "val", "test", None})
Flags = np.ndarray | None


@dataclass(frozen=True)
class Rule:
    """What the rule finds, in words, and the function that finds it."""

    finds: str
    flag: Callable[[Subject], Flags]


def _blank_id(subject: Subject) -> Flags:
    return np.array([not document.strip() for document in subject.ids], dtype=bool)


def _repeated_id(subject: Subject) -> Flags:
    count = Counter(subject.ids)
    return np.array([count[document] > 1 for document in subject.ids], dtype=bool)


def _unknown_split(subject: Subject) -> Flags:
    if subject.splits is None:
        return None
    return np.array([split not in SPLITS for split in subject.splits], dtype=bool)


def _empty_text(subject: Subject) -> Flags:
    return np.array([not text.strip() for text in subject.texts], dtype=bool)


def _tiny_text(subject: Subject) -> Flags:
    few = subject.n_words < subject.limits.least_words
    return few & np.array([bool(text.strip()) for text in subject.texts], dtype=bool)


def _huge_text(subject: Subject) -> Flags:
    most = subject.limits.most_characters
    return np.array([len(text) > most for text in subject.texts], dtype=bool)


def _mojibake(subject: Subject) -> Flags:
    return contains(MOJIBAKE, subject.texts)


def _replacement_character(subject: Subject) -> Flags:
    return contains(REPLACEMENT, subject.texts)


def _control_character(subject: Subject) -> Flags:
    return contains(CONTROL, subject.texts)


def _other_language(subject: Subject) -> Flags:
    return strangers(subject.languages, subject.limits.usual_language_share)


def _repair(code: str) -> Callable[[Subject], Flags]:
    return lambda subject: subject.flags[code]


def _unknown_label(subject: Subject) -> Flags:
    allowed = subject.allowed
    if allowed is None:
        return None
    return subject.each(lambda labels: any(label not in allowed for label in labels))


def _no_label(subject: Subject) -> Flags:
    return subject.each(lambda labels: not labels)


def _many_labels(subject: Subject) -> Flags:
    return subject.each(lambda labels: len(labels) > subject.limits.most_labels)


def _variant(kind: str) -> Callable[[Subject], Flags]:
    def flag(subject: Subject) -> Flags:
        variants = getattr(subject, f"{kind}_variants")
        return subject.each(lambda labels: any(label in variants for label in labels))

    return flag


def _rare_label(subject: Subject) -> Flags:
    freq, least = subject.label_freq, subject.limits.least_support
    return subject.each(lambda labels: any(freq[label] < least for label in labels))


def _duplicate_conflict(subject: Subject) -> Flags:
    return mixed_groups(subject.duplicates, subject.label_sets)


def _near_duplicate_conflict(subject: Subject) -> Flags:
    return _members(subject, subject.differing(subject.label_sets))


def _duplicate_across_splits(subject: Subject) -> Flags:
    if subject.splits is None:
        return None
    return mixed_groups(subject.duplicates, subject.splits)


def _near_duplicate_across_splits(subject: Subject) -> Flags:
    if subject.splits is None:
        return None
    return _members(subject, subject.differing(subject.splits))


def _members(subject: Subject, pairs: np.ndarray) -> np.ndarray:
    flags = np.zeros(len(subject.ids), dtype=bool)
    flags[pairs.ravel()] = True
    return flags


def _annotators_disagree(subject: Subject) -> Flags:
    if subject.judged is None or not len(subject.judged[2].shared().document):
        return None
    distance = disagreements(subject.judged[2], len(subject.ids))
    return distance > subject.limits.most_disagreement


def _annotator_shift(subject: Subject) -> Flags:
    if subject.judged is None or len(subject.judged[0]) < 2:
        return None
    names, _, judgements = subject.judged
    rows = np.zeros(len(judgements.document), dtype=bool)
    for cell in subject.annotator_shifts:
        own = judgements.annotator == names.index(cell.group)
        rows |= own & _suspicious(cell, judgements.targets)
    flags = np.zeros(len(subject.ids), dtype=bool)
    flags[judgements.document[rows]] = True
    return flags


def _period_shift(subject: Subject) -> Flags:
    if subject.dates is None or np.isnat(subject.dates).all():
        return None
    number, names = subject.period_names
    flags = np.zeros(len(subject.ids), dtype=bool)
    for cell in subject.period_shifts:
        flags |= (number == names.index(cell.group)) & _suspicious(cell, subject.targets)
    return flags


def _suspicious(cell: Shift, targets: sp.csr_matrix) -> np.ndarray:
    """Rows with a label that is given too often, rows without one that is given too seldom."""
    has = targets[:, [cell.label]].toarray().ravel() > 0
    return has if cell.ratio > 1 else ~has


RULES: dict[str, Rule] = {
    "blank_id": Rule("the id is blank", _blank_id),
    "repeated_id": Rule("another document has the same id", _repeated_id),
    "unknown_split": Rule("the frozen split is not train, val or test", _unknown_split),
    "empty_text": Rule("the text is empty", _empty_text),
    "tiny_text": Rule("the text has too few words", _tiny_text),
    "huge_text": Rule("the text has too many characters", _huge_text),
    "mojibake": Rule("UTF-8 was read as another encoding", _mojibake),
    "replacement_character": Rule("characters were lost in decoding", _replacement_character),
    "control_character": Rule("the text has control characters", _control_character),
    "other_language": Rule("the text is in a language that few documents use", _other_language),
    "blank_label": Rule("a label is null or blank", _repair("blank_label")),
    "label_white_space": Rule(
        "a label has white space around it or twice in it", _repair("label_white_space")
    ),
    "label_alias": Rule("a label is an alias in labels.yaml", _repair("label_alias")),
    "repeated_label": Rule("a label is given twice", _repair("repeated_label")),
    "unknown_label": Rule("a label is not in labels.yaml", _unknown_label),
    "no_label": Rule("the document has no label", _no_label),
    "many_labels": Rule("the document has too many labels", _many_labels),
    "case_variant": Rule("a more frequent label differs only in case", _variant("case")),
    "space_variant": Rule(
        "a more frequent label differs only in white space, - or _", _variant("space")
    ),
    "spelling_variant": Rule("a far more frequent label is one letter away", _variant("spelling")),
    "rare_label": Rule("a label has too few documents to be learned", _rare_label),
    "duplicate_conflict": Rule("the same text has other labels elsewhere", _duplicate_conflict),
    "near_duplicate_conflict": Rule(
        "nearly the same text has other labels elsewhere", _near_duplicate_conflict
    ),
    "duplicate_across_splits": Rule(
        "the same text is in another frozen split", _duplicate_across_splits
    ),
    "near_duplicate_across_splits": Rule(
        "nearly the same text is in another frozen split", _near_duplicate_across_splits
    ),
    "annotators_disagree": Rule("annotators of the document disagree", _annotators_disagree),
    "annotator_shift": Rule("a label that this annotator uses unlike the others", _annotator_shift),
    "period_shift": Rule("a label that this period uses unlike the others", _period_shift),
}


def flag_documents(subject: Subject, policy: Mapping[str, str]) -> dict[str, Flags]:
    """Code → flags `(n_docs,)` bool, None where the rule does not apply; rules `off` are absent."""
    return {code: rule.flag(subject) for code, rule in RULES.items() if policy[code] != "off"}
