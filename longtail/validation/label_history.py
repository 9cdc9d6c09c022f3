"""What became of labels: a history of renamed, merged, split, retired and added labels.

The history is replayed in the order of its dates. At any time a label is current or gone, and a
name that is gone never comes back: so an old document and a new one that use the same word mean
the same, and applying the history twice is applying it once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from longtail.errors import DataError

RENAMED, MERGED, SPLIT, RETIRED, ADDED = "renamed", "merged", "split", "retired", "added"
KINDS = (RENAMED, MERGED, SPLIT, RETIRED, ADDED)
SHOWN = 5  # labels in a sentence
VERBS = {RENAMED: "renamed to", MERGED: "merged into", SPLIT: "split into", RETIRED: "retired"}


@dataclass(frozen=True)
class Change:
    """What happened to one label.

    Attributes:
        kind: one of `KINDS`.
        date: when it was decided.
        reason: why, for people.
        old: the label that is gone since then; None if one was added.
        new: what takes its place: one label if it was renamed or merged, several if it was split,
            none if it was retired; of `added`, the new label.
    """

    kind: str
    date: dt.date
    reason: str
    old: str | None
    new: tuple[str, ...]

    def __str__(self) -> str:
        """In words.

        >>> str(Change("merged", dt.date(2026, 3, 1), "one thing", "invoice", ("billing",)))
        "'invoice' was merged into 'billing' on 2026-03-01"
        """
        if self.old is None:
            return f"{self.new[0]!r:.80} was added on {self.date}"
        became = ", ".join(f"{label!r:.80}" for label in self.new[:SHOWN])
        became += ", …" * (len(self.new) > SHOWN)
        return f"{self.old!r:.80} was {VERBS[self.kind]} {became}".rstrip() + f" on {self.date}"


@dataclass(frozen=True)
class Fate:
    """What a label that is gone has become.

    Attributes:
        labels: the current labels in its place; none if it was retired.
        review: whether a person has to say which of them a document has, since it was split.
        waits_as: the label of its documents until then, if it was renamed or merged before the
            split; None for the label itself.
    """

    labels: tuple[str, ...]
    review: bool = False
    waits_as: str | None = None


Fates = Mapping[str, Fate]


def in_order(changes: Sequence[Change]) -> list[Change]:
    """The changes by date, those of one day as given.

    A label may be merged into one that is itself renamed or merged later: the history resolves it.
    Into one that was already gone it may not be; the message names what it has become.

    Raises:
        DataError: a label that was already gone is changed or given again, such as in a cycle; a
            new name is in use; a split has fewer than two labels.
    """
    gone: dict[str, Change] = {}
    used: set[str] = set()  # names known to be current labels so far
    ordered = sorted(changes, key=lambda change: change.date)
    for change in ordered:
        if change.old is not None and change.old in gone:
            raise DataError(f"{change}, but {gone[change.old]}; remove one of the two changes.")
        for label in change.new:
            _check_target(change, label, gone, used)
        if change.kind == SPLIT and len(set(change.new)) < 2:
            raise DataError(f"{change}; expected two labels or more, or 'renamed'.")
        if change.old is not None:
            gone[change.old] = change
            used.discard(change.old)
        used.update(change.new)
    return ordered


def _check_target(change: Change, label: str, gone: Mapping[str, Change], used: set[str]) -> None:
    if label == change.old:
        raise DataError(f"{change}: a label cannot take its own place; use a new name.")
    if label in gone:
        reached = _reached(label, gone)
        if change.old in reached:
            raise DataError(f"{change}, but {gone[label]}: a cycle; remove one of the changes.")
        advice = f"; write {reached[-1]!r:.80}" if reached else ""
        raise DataError(
            f"{change}, but {gone[label]}, and a name that is gone is never used again{advice}."
        )
    if change.kind in (RENAMED, ADDED) and label in used:
        raise DataError(
            f"{change}, but there was a label {label!r:.80} already; expected a new name"
            f"{', or merged' if change.kind == RENAMED else ''}."
        )


def _reached(label: str, gone: Mapping[str, Change]) -> list[str]:
    """The labels that `label` became one after the other, along renames and merges."""
    found = []
    while label in gone and gone[label].kind in (RENAMED, MERGED):
        label = gone[label].new[0]
        found.append(label)
    return found


def fates(ordered: Sequence[Change], at: dt.date | None = None) -> dict[str, Fate]:
    """What each label that is gone has become.

    Args:
        ordered: as `in_order` returns it.
        at: the day to look at; None for the end of the history.

    >>> day = dt.date(2026, 3, 1)
    >>> merged = Change("merged", day, "", "invoice", ("bill",))
    >>> renamed = Change("renamed", day, "", "bill", ("billing",))
    >>> fates([merged, renamed])["invoice"]
    Fate(labels=('billing',), review=False, waits_as=None)
    """
    found: dict[str, Fate] = {}
    for change in reversed(ordered):
        if change.old is None or (at is not None and change.date > at):
            continue
        later = [found.get(label, Fate((label,))) for label in change.new]
        labels = tuple(dict.fromkeys(label for fate in later for label in fate.labels))
        split = change.kind == SPLIT or any(fate.review for fate in later)
        waits_as = None
        if labels and change.kind != SPLIT and later[0].review:
            waits_as = later[0].waits_as or change.new[0]
        found[change.old] = Fate(labels, split and bool(labels), waits_as)
    return found


def joining(changes: Sequence[Change], used: Collection[str]) -> list[Change]:
    """The renames to a name that documents have already, beside others with the old one.

    That was another label, which nothing could tell apart again, or they use the new word by now.
    """
    return [c for c in changes if c.kind == RENAMED and {c.old, *c.new} <= {*used}]


def current(labels: Sequence[str], known: Fates) -> list[str]:
    """A document's labels after the history: renamed, merged, without those that were retired.

    A label that was split stays, for a person to review. A list without old labels stays as it is.

    >>> became = {"invoice": Fate(("billing",)), "misc": Fate(())}
    >>> became |= {"tax": Fate(("vat", "duty"), True)}
    >>> current(["invoice", "billing", "misc", "tax"], became)
    ['billing', 'tax']
    """
    became = [known.get(label, Fate((label,))) for label in labels]
    kept = [
        (fate.waits_as or label,) if fate.review else fate.labels
        for label, fate in zip(labels, became, strict=True)
    ]
    if kept == [(label,) for label in labels]:
        return list(labels)
    return list(dict.fromkeys(label for group in kept for label in group))
