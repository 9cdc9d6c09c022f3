"""Repairs the faults of label names that have one safe repair; the rest is left to people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from longtail.validation.label_history import Fates, current

LabelLists = list[list[str]]


@dataclass(frozen=True)
class Cleaned:
    """Label lists after the allowed repairs, and flags `(n_docs,)` bool for each rule that ran."""

    labels: LabelLists
    flags: dict[str, np.ndarray]


@dataclass(frozen=True)
class Spelling:
    """What else stands for a label.

    Attributes:
        aliases: alias to label.
        fates: what labels have become that are gone.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    fates: Fates = field(default_factory=dict)


def drop_blank(labels: Sequence[str], spelling: Spelling) -> list[str]:
    """Drop labels that are empty or only white space."""
    return [label for label in labels if label.strip()]


def collapse_space(labels: Sequence[str], spelling: Spelling) -> list[str]:
    """Strip white space around labels and collapse runs of it inside to one space."""
    return [" ".join(label.split()) if label.strip() else label for label in labels]


def replace_alias(labels: Sequence[str], spelling: Spelling) -> list[str]:
    """Replace every alias by its label."""
    return [spelling.aliases.get(label, label) for label in labels]


def replace_old(labels: Sequence[str], spelling: Spelling) -> list[str]:
    """Replace labels that were renamed or merged, and drop those that were retired."""
    return current(labels, spelling.fates)


def drop_repeated(labels: Sequence[str], spelling: Spelling) -> list[str]:
    """Drop repeated labels, in the order of their first mention."""
    return list(dict.fromkeys(labels))


# The order matters: a label is found among the aliases and in the history once its white space is
# clean, and two spellings of a label are a repetition once both are replaced.
REPAIRS: dict[str, Callable[[Sequence[str], Spelling], list[str]]] = {
    "blank_label": drop_blank,
    "label_white_space": collapse_space,
    "label_alias": replace_alias,
    "old_label": replace_old,
    "repeated_label": drop_repeated,
}


def clean_labels(
    label_lists: Sequence[Sequence[str | None]],
    policy: Mapping[str, str],
    spelling: Spelling,
) -> Cleaned:
    """Apply each repair whose policy is `repair`, and flag what every repair would change.

    Args:
        label_lists: the labels of each document; a null label counts as the blank label "".
        policy: policies of the codes in REPAIRS; a repair that is `off` flags nothing.
        spelling: what else stands for a label.

    >>> policy = dict.fromkeys(REPAIRS, "repair")
    >>> clean_labels([[" net ", "", "www", "net"]], policy, Spelling({"www": "web"})).labels
    [['net', 'web']]
    """
    current = [["" if label is None else label for label in labels] for labels in label_lists]
    flags = {}
    for code, repair in REPAIRS.items():
        if policy[code] == "off":
            continue
        repaired = [repair(labels, spelling) for labels in current]
        flags[code] = np.array([a != b for a, b in zip(current, repaired, strict=True)], dtype=bool)
        if policy[code] == "repair":
            current = repaired
    return Cleaned(current, flags)
