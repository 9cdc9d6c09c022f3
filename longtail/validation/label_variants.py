"""Finds labels that are probably one label written in several ways."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping

LEAST_WORD = 5  # letters; shorter words are one edit apart by chance (tcp, udp)
RARE = 0.1  # a misspelling is at most this many times as frequent as the right spelling

Variants = dict[str, str]


def _case_key(label: str) -> str:
    return unicodedata.normalize("NFKC", label).casefold()


def _space_key(label: str) -> str:
    return re.sub(r"[\s_\-]+", "", _case_key(label))


def case_variants(label_freq: Mapping[str, int]) -> Variants:
    """Label to the more frequent label that differs only in case (or Unicode form)."""
    return _by_key(label_freq, _case_key)


def space_variants(label_freq: Mapping[str, int]) -> Variants:
    """Label to the more frequent one that differs only in white space, hyphens or underscores."""
    by_case = case_variants(label_freq)
    found = _by_key(label_freq, _space_key)
    return {label: to for label, to in found.items() if label not in by_case}


def _by_key(label_freq: Mapping[str, int], key: Callable[[str], str]) -> Variants:
    groups = defaultdict(list)
    for label in label_freq:
        groups[key(label)].append(label)
    variants = {}
    for group in groups.values():
        best = min(group, key=lambda label: (-label_freq[label], label))
        variants.update({label: best for label in group if label != best})
    return variants


def spelling_variants(
    label_freq: Mapping[str, int], together: Callable[[str, str], bool]
) -> Variants:
    """Find rare labels that are one edit away from a frequent label.

    An edit inserts, deletes or replaces one letter, or swaps two neighbors, inside a word of at
    least five letters. Words with digits are left alone (2024 is not a misspelling of 2025), and so
    are labels that differ only in case or space. The cost is linear in the number of letters:
    candidates are labels that become equal when each loses at most one letter.

    Args:
        label_freq: documents of each label.
        together: whether some document has both labels, which makes them two labels.

    Returns:
        Rare label to frequent label.

    >>> spelling_variants({"printing": 100, "pritning": 2}, lambda a, b: False)
    {'pritning': 'printing'}
    """
    meeting = defaultdict(set)
    for label in label_freq:
        key = _case_key(label)
        for shorter in {key, *(key[:i] + key[i + 1 :] for i in range(len(key)))}:
            meeting[shorter].add(label)
    pairs = {(a, b) for labels in meeting.values() for a in labels for b in labels if a < b}
    variants: dict[str, str] = {}
    for pair in sorted(pairs):
        rare, frequent = sorted(pair, key=lambda label: (label_freq[label], label))
        seldom = label_freq[rare] <= max(1, RARE * label_freq[frequent])
        if not (seldom and label_freq[rare] < label_freq[frequent] and one_edit(rare, frequent)):
            continue
        better = rare not in variants or label_freq[frequent] > label_freq[variants[rare]]
        if better and not together(rare, frequent):
            variants[rare] = frequent
    return variants


def one_edit(a: str, b: str) -> bool:
    """Whether `a` and `b` differ by one edit inside one word, see `spelling_variants`."""
    words_a, words_b = (re.split(r"([\W_]+)", _case_key(label)) for label in (a, b))
    if len(words_a) != len(words_b):
        return False
    differing = [(x, y) for x, y in zip(words_a, words_b, strict=True) if x != y]
    return len(differing) == 1 and _one_letter(*differing[0])


def _one_letter(x: str, y: str) -> bool:
    if min(len(x), len(y)) < LEAST_WORD or not (x.isalpha() and y.isalpha()):
        return False
    start = next((i for i, (p, q) in enumerate(zip(x, y, strict=False)) if p != q), None)
    if start is None:
        return abs(len(x) - len(y)) == 1
    rest_x, rest_y = x[start:], y[start:]
    swapped = rest_x[:2] == rest_y[1::-1] and rest_x[2:] == rest_y[2:]
    return swapped or rest_x[1:] == rest_y[1:] or rest_x[1:] == rest_y or rest_x == rest_y[1:]
