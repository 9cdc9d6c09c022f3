"""Reads `data/labels.yaml`: the allowed labels, their aliases, descriptions, and history."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from components._formats.columns import listed
from longtail.errors import DataError
from longtail.validation.label_history import (
    ADDED,
    KINDS,
    MERGED,
    RENAMED,
    RETIRED,
    SPLIT,
    Change,
    Fate,
    fates,
    in_order,
)

FILE = Path("data/labels.yaml")
KEYS = ("labels", "aliases", "descriptions", "history")
FORMS = {
    RENAMED: "old: new, such as {invoice: billing}",
    MERGED: "old: new, such as {invoice: billing, bill: billing}",
    SPLIT: "old: [new, new], such as {printers: [inkjet, laser]}",
    RETIRED: "a list of labels, such as [misc]",
    ADDED: "a list of labels, such as [warranty]",
}


class OncePerKey(yaml.SafeLoader):
    """Refuses a key that appears twice: YAML would take the last, and drop half a history."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See `yaml.SafeLoader`."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name, n in Counter(names).items():
            if n > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r:.80} appears {n} times", node.start_mark
                )
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class AllowedLabels:
    """`data/labels.yaml`.

    Attributes:
        labels: the allowed labels, and those that were split; None allows any.
        aliases: alias to label.
        history: the changes by date.
        descriptions: label to what it means, in words.
    """

    labels: frozenset[str] | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    history: tuple[Change, ...] = ()
    descriptions: dict[str, str] = field(default_factory=dict)

    @property
    def fates(self) -> dict[str, Fate]:
        """What each label that is gone has become."""
        return fates(self.history)

    @property
    def split_labels(self) -> frozenset[str]:
        """Labels that were split; documents keep them until they are reviewed."""
        return frozenset(label for label, fate in self.fates.items() if fate.review)

    def unlearned(self, known: Iterable[str]) -> list[str]:
        """Current labels of this file that a model does not know, sorted.

        Args:
            known: labels of the model, in the words of its time.
        """
        gone, called = self.fates, {self.aliases.get(label, label) for label in known}
        followed = [gone[label] for label in called & gone.keys()]
        called |= {now for fate in followed if not fate.review for now in fate.labels}
        named = {label for change in self.history for label in change.new}
        named |= (self.labels or frozenset()) | self.descriptions.keys()
        return sorted(named - gone.keys() - called)


def read_allowed(path: Path) -> AllowedLabels:
    """Read `labels.yaml`; every key is optional.

    `labels` is a list, `aliases` maps an alias to its label, `descriptions` a label to its meaning.

    Raises:
        DataError: the file has another form, an alias points to a label that is not allowed, one is
            described that is not, or the history contradicts itself or the rest of the file.
    """
    if not path.exists():
        return AllowedLabels()
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), OncePerKey) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid YAML in UTF-8: {error}") from None
    # Only keys are shown: a few nested anchors are a value of many megabytes.
    keys = listed(KEYS)
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise DataError(f"{path}: expected the keys {keys}, got a {kind}.")
    if others := [key for key in document if key not in KEYS]:
        raise DataError(f"{path}: expected only the keys {keys}, got {listed(others)}.")
    labels, aliases = document.get("labels"), document.get("aliases") or {}
    if labels is not None and not _strings(labels):
        raise DataError(f"{path}: 'labels' must be a list of strings; quote numbers, yes and no.")
    if not isinstance(aliases, dict) or not _strings([*aliases, *aliases.values()]):
        raise DataError(
            f"{path}: 'aliases' must map strings to strings; quote numbers, yes and no."
        )
    allowed = None if labels is None else frozenset(labels)
    for alias, label in aliases.items():
        if label in aliases or (allowed is not None and label not in allowed):
            raise DataError(
                f"{path}: alias {alias!r:.80} points to {label!r:.80}, which is not an "
                "allowed label; point it to an allowed one or add the label to 'labels'."
            )
    history = _history(path, document.get("history") or [])
    _check_against_history(path, allowed, aliases, history)
    descriptions = _descriptions(path, document.get("descriptions") or {}, allowed, history)
    found = AllowedLabels(allowed, aliases, history, descriptions)
    return found if allowed is None else replace(found, labels=allowed | found.split_labels)


def _history(path: Path, entries: Any) -> tuple[Change, ...]:
    if not isinstance(entries, list):
        kind = type(entries).__name__
        raise DataError(f"{path}: 'history' must be a list of changes, got a {kind}.")
    changes = [
        change
        for number, entry in enumerate(entries, 1)
        for change in _changes(f"{path}: history, entry {number}", entry)
    ]
    try:
        return tuple(in_order(changes))
    except DataError as error:
        raise DataError(f"{path}: history: {error}") from None


def _changes(where: str, entry: Any) -> list[Change]:
    """The changes of one entry: one per label that is named."""
    found = [key for key in entry if key in KINDS] if isinstance(entry, dict) else []
    if len(found) != 1 or set(entry) != {"date", "reason", *found}:
        got = listed(list(entry)) if isinstance(entry, dict) else f"a {type(entry).__name__}"
        raise DataError(
            f"{where}: expected 'date', 'reason', and one of {listed(KINDS)}; got {got}."
        )
    [kind] = found
    date, reason = _day(entry["date"]), entry["reason"]
    if date is None:
        raise DataError(f"{where}, 'date': expected a day, such as 2026-03-01.")
    if not isinstance(reason, str) or not reason.strip():
        raise DataError(
            f"{where}, 'reason': expected a sentence; say why, for those who ask later."
        )
    pairs = _pairs(kind, entry[kind])
    if not pairs or not all(_strings(list(names)) and all(map(_clean, names)) for names in pairs):
        raise DataError(
            f"{where}, {kind!r}: expected {FORMS[kind]}: strings without blanks around them; quote "
            "numbers, yes and no."
        )
    if kind == ADDED:
        return [Change(kind, date, reason, None, names) for names in pairs]
    return [Change(kind, date, reason, names[0], names[1:]) for names in pairs]


def _day(value: Any) -> dt.date | None:
    if isinstance(value, dt.datetime):
        return value.date()
    try:
        return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def _pairs(kind: str, value: Any) -> list[tuple[Any, ...]]:
    """Each label that is named, with what takes its place; empty if the form is another one."""
    if kind in (RETIRED, ADDED):
        return [(label,) for label in value] if isinstance(value, list) else []
    if not isinstance(value, dict):
        return []
    if kind == SPLIT:
        lists = all(isinstance(new, list) for new in value.values())
        return [(old, *new) for old, new in value.items()] if lists else []
    return list(value.items())


def _check_against_history(
    path: Path, allowed: frozenset[str] | None, aliases: dict[str, str], history: tuple[Change, ...]
) -> None:
    """The labels and aliases are those after the history."""
    known = fates(history)
    named = {label for change in history for label in (change.old, *change.new)}
    for alias, label in aliases.items():
        if alias in named:
            raise DataError(
                f"{path}: {alias!r:.80} is an alias, and the history names it as a label; remove "
                "the alias, or the change."
            )
        if label in known:
            raise DataError(
                f"{path}: alias {alias!r:.80} points to {label!r:.80}, which is gone by the "
                "history; point it to a current label."
            )
    if allowed is None:
        return
    if old := sorted(allowed & known.keys()):
        raise DataError(
            f"{path}: 'labels' lists {listed(old)}, gone by the history; remove them from 'labels'."
        )
    now = {label for change in history for label in change.new} - known.keys()
    if missing := sorted(now - allowed):
        raise DataError(
            f"{path}: the history made {listed(missing)}, which 'labels' does not list; add them."
        )


def _descriptions(
    path: Path, own: Any, allowed: frozenset[str] | None, history: tuple[Change, ...]
) -> dict[str, str]:
    if not isinstance(own, dict) or not _strings([*own, *own.values()]):
        raise DataError(
            f"{path}: 'descriptions' must map labels to strings; quote numbers, yes and no."
        )
    gone = fates(history)
    for label, text in own.items():
        if label in gone:
            raise DataError(
                f"{path}: 'descriptions' describes {label!r:.80}, which is gone by the history; "
                "describe what it has become."
            )
        if not text.strip() or not _clean(label) or (allowed is not None and label not in allowed):
            raise DataError(
                f"{path}: 'descriptions' describes {label!r:.80} by {text!r:.80}; expected an "
                "allowed label, and words that say what it means."
            )
    return own


def _clean(label: str) -> bool:
    return label == " ".join(label.split()) != ""


def _strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
