"""Faults of single label names that have one safe repair; all other faults are left to people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LabelLists = list[list[str]]


@dataclass(frozen=True)
class Cleaned:
    """Label lists after the allowed repairs, and a flag `(n_docs,)` bool per rule that ran."""

    labels: LabelLists
    flags: dict[str, np.ndarray]


def drop_blank(labels: Sequence[str], aliases: Mapping[str, str]) -> list[str]:
    """Without labels that are empty or white space only."""
    return [label for label in labels if label.strip()]


def collapse_space(labels: Sequence[str], aliases: Mapping[str, str]) -> list[str]:
    """Without white space around a label, and one space for each run of it inside."""
    return [" ".join(label.split()) if label.strip() else label for label in labels]


def replace_alias(labels: Sequence[str], aliases: Mapping[str, str]) -> list[str]:
    """With every alias replaced by the label that it stands for."""
    return [aliases.get(label, label) for label in labels]


def drop_repeated(labels: Sequence[str], aliases: Mapping[str, str]) -> list[str]:
    """Without second mentions of a label, in the order of the first ones."""
    return list(dict.fromkeys(labels))


# In this order: a label is found among the aliases once its white space is in order, and two
# spellings of one label are a repetition once both are replaced.
REPAIRS: dict[str, Callable[[Sequence[str], Mapping[str, str]], list[str]]] = {
    "blank_label": drop_blank,
    "label_white_space": collapse_space,
    "label_alias": replace_alias,
    "repeated_label": drop_repeated,
}


def clean_labels(
    label_lists: Sequence[Sequence[str | None]],
    policy: Mapping[str, str],
    aliases: Mapping[str, str],
) -> Cleaned:
    """Apply each repair whose policy is `repair`; flag what it would change unless it is `off`.

    A null label counts as the blank label "". `policy` maps the codes in REPAIRS to policies.
    """
    current = [["" if label is None else label for label in labels] for labels in label_lists]
    flags = {}
    for code, repair in REPAIRS.items():
        if policy[code] == "off":
            continue
        repaired = [repair(labels, aliases) for labels in current]
        flags[code] = np.array([a != b for a, b in zip(current, repaired, strict=True)], dtype=bool)
        if policy[code] == "repair":
            current = repaired
    return Cleaned(current, flags)
