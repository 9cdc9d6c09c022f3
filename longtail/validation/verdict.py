"""Turns flags and policy into a verdict: what is kept, what is set aside, what stops the run.

Policies: `error` stops the run if a document is flagged; `quarantine` sets flagged documents aside;
`repair` (some label rules) has already fixed them; `warn` only reports; `off` does not check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from longtail.validation.rules import RULES, Flags

POLICIES = ("error", "quarantine", "repair", "warn", "off")
_STATUS = {
    "error": "failed", "quarantine": "quarantined", "repair": "repaired", "warn": "warned"
}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What becomes of the corpus.

    Attributes:
        kept: `(n_docs,)` bool.
        reasons: codes of the rules that set each document aside.
        refusal: why the run stops; None if it does not.
    """

    kept: np.ndarray
    reasons: list[list[str]]
    refusal: str | None


def judge(
    flags: Mapping[str, Flags],
    policy: Mapping[str, str],
    labels: Sequence[Sequence[str]],
    quarantine_share: float,
) -> Verdict:
    """Apply the policy to the flags.

    The run stops if a rule with policy `error` flags a document, if more than `quarantine_share` of
    the documents are set aside, if no document is left, or if fewer than two labels are left.

    Args:
        flags: code to `(n_docs,)` bool, or None where the rule does not apply.
        policy: code to policy.
        labels: the labels of each document.
        quarantine_share: share of the documents that may be set aside, 0 to 1.
    """
    n_docs = len(labels)
    reasons: list[list[str]] = [[] for _ in range(n_docs)]
    for code, flag in flags.items():
        if flag is not None and policy[code] == "quarantine":
            for k in np.flatnonzero(flag):
                reasons[k].append(code)
    kept = np.array([not codes for codes in reasons], dtype=bool)
    left = {label for doc, keep in zip(labels, kept, strict=True) if keep for label in doc}
    return Verdict(kept, reasons, _refusal(flags, policy, kept, left, quarantine_share))


def _refusal(
    flags: Mapping[str, Flags],
    policy: Mapping[str, str],
    kept: np.ndarray,
    left: set[str],
    quarantine_share: float,
) -> str | None:
    sentences = [
        f"{code}: {int(flag.sum())} document(s), {RULES[code].finds}"
        for code, flag in flags.items()
        if flag is not None and policy[code] == "error" and flag.any()
    ]
    share = 1 - kept.mean() if len(kept) else 0.0
    if not kept.any():
        sentences.append(f"no document left after validation ({len(kept)} read)")
    elif share > quarantine_share:
        sentences.append(
            f"{share:.1%} of the documents would be quarantined, but at most "
            f"{quarantine_share:.1%} may be"
        )
    if len(left) == 1:
        sentences.append(f"the corpus has one label, {next(iter(left))!r}; at least two are needed")
    elif kept.any() and not left:
        sentences.append("no document has a label")
    return "; ".join(sentences) or None


def status(code: str, flag: Flags, policy: Mapping[str, str]) -> str:
    """A rule's outcome in a word or two: off, not applicable, passed, or what its policy did."""
    if policy[code] == "off":
        return "off"
    if flag is None:
        return "not applicable"
    return _STATUS[policy[code]] if flag.any() else "passed"
