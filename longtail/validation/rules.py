"""The rules of validation: each looks at the corpus and flags documents.

A rule returns `(n_docs,)` bool, or None if the corpus lacks the column that it needs. To add a
rule, write a function and list it in RULES; its policy then belongs in the parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from longtail.validation.agreement import disagreements
from longtail.validation.corpus_view import CorpusView
from longtail.validation.duplicates import mixed_groups
from longtail.validation.encoding import CONTROL, MOJIBAKE, REPLACEMENT, contains
from longtail.validation.language import in_unusual_language
from longtail.validation.shifts import Shift

SPLITS = frozenset({"train", "val", "test", None})
Flags = np.ndarray | None


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        about: what the rule looks at; groups its policy in the parameters.
        finds: what it finds, in words.
        flag: the function that finds it.
        repairs: whether there is one safe repair (`label_cleaning`), which a policy may ask for.
    """

    about: str
    finds: str
    flag: Callable[[CorpusView], Flags]
    repairs: bool = False


def _blank_id(view: CorpusView) -> Flags:
    return np.array([not document.strip() for document in view.ids], dtype=bool)


def _repeated_id(view: CorpusView) -> Flags:
    count = Counter(view.ids)
    return np.array([count[document] > 1 for document in view.ids], dtype=bool)


def _unknown_split(view: CorpusView) -> Flags:
    if view.splits is None:
        return None
    return np.array([split not in SPLITS for split in view.splits], dtype=bool)


def _empty_text(view: CorpusView) -> Flags:
    return np.array([not text.strip() for text in view.texts], dtype=bool)


def _tiny_text(view: CorpusView) -> Flags:
    few = view.n_words < view.limits.least_words
    return few & np.array([bool(text.strip()) for text in view.texts], dtype=bool)


def _huge_text(view: CorpusView) -> Flags:
    most = view.limits.most_characters
    return np.array([len(text) > most for text in view.texts], dtype=bool)


def _mojibake(view: CorpusView) -> Flags:
    return contains(MOJIBAKE, view.texts)


def _replacement_character(view: CorpusView) -> Flags:
    return contains(REPLACEMENT, view.texts)


def _control_character(view: CorpusView) -> Flags:
    return contains(CONTROL, view.texts)


def _other_language(view: CorpusView) -> Flags:
    return in_unusual_language(view.languages, view.limits.usual_language_share)


def _repair(code: str) -> Callable[[CorpusView], Flags]:
    return lambda view: view.flags[code]


def _unknown_label(view: CorpusView) -> Flags:
    allowed = view.allowed
    if allowed is None:
        return None
    return view.each(lambda labels: any(label not in allowed for label in labels))


def _split_label(view: CorpusView) -> Flags:
    return view.each(lambda labels: any(label in view.split_labels for label in labels))


def _joined_label(view: CorpusView) -> Flags:
    """Who has it by a repair is flagged by `old_label`."""
    if "old_label" not in view.flags:  # off: nothing is joined
        return np.zeros(len(view.ids), dtype=bool)
    joined = view.each(lambda labels: any(label in view.joined_labels for label in labels))
    return joined & ~view.flags["old_label"]


def _no_label(view: CorpusView) -> Flags:
    return view.each(lambda labels: not labels)


def _many_labels(view: CorpusView) -> Flags:
    return view.each(lambda labels: len(labels) > view.limits.most_labels)


def _variant(kind: str) -> Callable[[CorpusView], Flags]:
    def flag(view: CorpusView) -> Flags:
        variants = getattr(view, f"{kind}_variants")
        return view.each(lambda labels: any(label in variants for label in labels))

    return flag


def _rare_label(view: CorpusView) -> Flags:
    freq, least = view.label_freq, view.limits.least_support
    return view.each(lambda labels: any(freq[label] < least for label in labels))


def _duplicate_conflict(view: CorpusView) -> Flags:
    return mixed_groups(view.duplicates, view.label_sets)


def _near_duplicate_conflict(view: CorpusView) -> Flags:
    return _paired(view, view.differing(view.label_sets))


def _duplicate_across_splits(view: CorpusView) -> Flags:
    if view.splits is None:
        return None
    return mixed_groups(view.duplicates, view.splits)


def _near_duplicate_across_splits(view: CorpusView) -> Flags:
    if view.splits is None:
        return None
    return _paired(view, view.differing(view.splits))


def _paired(view: CorpusView, pairs: np.ndarray) -> np.ndarray:
    """Flag every document of `pairs` `(n_pairs, 2)`."""
    flags = np.zeros(len(view.ids), dtype=bool)
    flags[pairs.ravel()] = True
    return flags


def _annotators_disagree(view: CorpusView) -> Flags:
    if view.judged is None or not len(view.judged[2].shared().document):
        return None
    distance = disagreements(view.judged[2], len(view.ids))
    return distance > view.limits.most_disagreement


def _annotator_shift(view: CorpusView) -> Flags:
    if view.judged is None or len(view.judged[0]) < 2:
        return None
    names, _, judgments = view.judged
    rows = np.zeros(len(judgments.document), dtype=bool)
    for cell in view.annotator_shifts:
        own = judgments.annotator == names.index(cell.group)
        rows |= own & _suspicious(cell, judgments.targets)
    flags = np.zeros(len(view.ids), dtype=bool)
    flags[judgments.document[rows]] = True
    return flags


def _period_shift(view: CorpusView) -> Flags:
    if view.dates is None or np.isnat(view.dates).all():
        return None
    number, names = view.period_names
    flags = np.zeros(len(view.ids), dtype=bool)
    for cell in view.period_shifts:
        flags |= (number == names.index(cell.group)) & _suspicious(cell, view.targets)
    return flags


def _suspicious(cell: Shift, targets: sp.csr_matrix) -> np.ndarray:
    """Rows with a label that is given too often, or without one that is given too rarely."""
    has = targets[:, [cell.label]].toarray().ravel() > 0
    return has if cell.ratio > 1 else ~has


RULES: dict[str, Rule] = {
    "blank_id": Rule("documents", "the id is blank", _blank_id),
    "repeated_id": Rule("documents", "another document has the same id", _repeated_id),
    "unknown_split": Rule(
        "documents", "the frozen split is not train, val or test", _unknown_split
    ),
    "empty_text": Rule("texts", "the text is empty", _empty_text),
    "tiny_text": Rule("texts", "the text has too few words", _tiny_text),
    "huge_text": Rule("texts", "the text has too many characters", _huge_text),
    "mojibake": Rule("texts", "UTF-8 was read as another encoding", _mojibake),
    "replacement_character": Rule(
        "texts", "characters were lost in decoding", _replacement_character
    ),
    "control_character": Rule("texts", "the text has control characters", _control_character),
    "other_language": Rule(
        "texts", "the text is in a language that few documents use", _other_language
    ),
    "blank_label": Rule("labels", "a label is null or blank", _repair("blank_label"), repairs=True),
    "label_white_space": Rule(
        "labels",
        "a label has white space around it or a run of it inside",
        _repair("label_white_space"),
        repairs=True,
    ),
    "label_alias": Rule(
        "labels", "a label is an alias of another one", _repair("label_alias"), repairs=True
    ),
    "old_label": Rule(
        "labels",
        "a label was renamed, merged or retired since",
        _repair("old_label"),
        repairs=True,
    ),
    "joined_label": Rule(
        "labels",
        "a label that others were renamed to since, and that this document had already",
        _joined_label,
    ),
    "split_label": Rule(
        "labels", "a label was split since, and a person has to say into which", _split_label
    ),
    "repeated_label": Rule(
        "labels", "a label is listed twice", _repair("repeated_label"), repairs=True
    ),
    "unknown_label": Rule("labels", "a label is not among the allowed ones", _unknown_label),
    "no_label": Rule("labels", "the document has no label", _no_label),
    "many_labels": Rule("labels", "the document has too many labels", _many_labels),
    "case_variant": Rule(
        "vocabulary", "a more frequent label differs only in case", _variant("case")
    ),
    "space_variant": Rule(
        "vocabulary", "a more frequent label differs only in white space, - or _", _variant("space")
    ),
    "spelling_variant": Rule(
        "vocabulary", "a far more frequent label is one letter away", _variant("spelling")
    ),
    "rare_label": Rule("vocabulary", "a label has too few documents to learn from", _rare_label),
    "duplicate_conflict": Rule(
        "duplicates", "the same text has other labels elsewhere", _duplicate_conflict
    ),
    "near_duplicate_conflict": Rule(
        "duplicates", "nearly the same text has other labels elsewhere", _near_duplicate_conflict
    ),
    "duplicate_across_splits": Rule(
        "duplicates", "the same text is in another frozen split", _duplicate_across_splits
    ),
    "near_duplicate_across_splits": Rule(
        "duplicates",
        "nearly the same text is in another frozen split",
        _near_duplicate_across_splits,
    ),
    "annotators_disagree": Rule(
        "annotators", "annotators of the document disagree", _annotators_disagree
    ),
    "annotator_shift": Rule(
        "annotators", "this annotator gives a label far more or less often", _annotator_shift
    ),
    "period_shift": Rule(
        "annotators", "this period has a label far more or less often", _period_shift
    ),
}


def flag_documents(view: CorpusView, policy: Mapping[str, str]) -> dict[str, Flags]:
    """Apply every rule that is not `off`.

    Args:
        view: the corpus.
        policy: code to policy, for every rule.

    Returns:
        Code to flags `(n_docs,)` bool, None where the rule does not apply.
    """
    return {code: rule.flag(view) for code, rule in RULES.items() if policy[code] != "off"}
