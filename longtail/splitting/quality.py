"""Measures how good a split is: sizes, label shares, label pairs and missing labels.

Notation: n documents, D_i of them with label i, S_ij of those in part j, n_j the size of part j,
f_j its wanted fraction. Means are over labels with D_i > 0 and parts with n_j > 0.

- `label_share_deviation`: mean_ij |S_ij / D_i - f_j|, in 0..1.
- `ld`: mean_ij |S_ij / (n_j - S_ij) - D_i / (n - D_i)|, measure LD of Sechidis et al. 2011. A count
  that fills its whole part or corpus is taken one lower, since its odds are infinite.
- `rld`: mean_ij |d_i - p_ij| / d_i with d_i = D_i / n and p_ij = S_ij / n_j (Tiittanen, Holm &
  Törönen 2022).
- `dcp`: mean_i max_j (S_ij / D_i - f_j) (same paper, whose 1/k is f_j here).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from longtail.errors import DataError
from longtail.splitting import inputs as split_input
from longtail.splitting.atoms import Copies, copies_across
from longtail.splitting.iterative import (
    SPLITS,
    Bounds,
    coverage_need,
    group_support,
    label_pairs,
    size_bounds,
)

DIGITS = 10  # figures are rounded so that summation order cannot change a report


def quality(
    labels: sp.csr_matrix,
    assignment: np.ndarray,
    fractions: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    copies: Copies | None = None,
    fixed: np.ndarray | None = None,
) -> dict[str, Any]:
    """The quality report of a split, ready for JSON.

    Args:
        labels: 0/1 sparse `(n_docs, n_labels)`.
        assignment: `(n_docs,)` int, the part of each document.
        fractions: as given to `iterative_split`.
        groups: as given to `iterative_split`.
        copies: which documents have the same text; None leaves `copies_across` out.
        fixed: as given to `iterative_split`; only used to say why a label is missing.

    Returns:
        A dict in which every mean over nothing is 0:
            `sizes` - per part, documents and groups, both wanted and actual; a group in several
            parts counts in each;
            `label_share_deviation`, `ld`, `rld`, `dcp` - see the top of this file;
            `pairs` - the number of label pairs that occur, their `share_deviation` (as for labels),
            and `missing`, the number of absent pairs per part among those with enough groups;
            `missing` - per part, the labels that the coverage rule requires and that are absent, as
            {label, groups, reason};
            `groups_apart` - the number of groups with documents in several parts;
            `largest_group` - its number of documents;
            `copies_across` - per kind (exact, near) and part, the number of documents with a copy
            in another part.

    Raises:
        DataError: lengths or values are wrong.
    """
    labels = split_input.checked_labels(labels)
    shares = split_input.checked_fractions(fractions)
    n_docs, k = labels.shape[0], len(shares)
    part = split_input.checked_fixed(assignment, n_docs, k, "assignment")
    if (part < 0).any():
        raise DataError(f"`assignment` leaves {(part < 0).sum()} documents without a part.")
    group = split_input.group_codes(groups, n_docs)
    frozen = split_input.checked_fixed(fixed, n_docs, k) >= 0
    names = part_names(k)
    got = _counts(labels, part, k)
    pairs = label_pairs(labels)
    pair_got = _counts(pairs, part, k)
    pair_need = coverage_need(group_support(pairs, group), shares)
    in_part = len(np.unique(group * k + part))
    across = {} if copies is None else copies_across(part, copies, k)
    copied = {kind: _per_part(number, names) for kind, number in across.items()}
    return {
        "sizes": _sizes(part, group, shares, names),
        "label_share_deviation": share_deviation(got, shares),
        **_distribution(got, np.bincount(part, minlength=k), shares),
        "pairs": {
            "count": pairs.shape[1],
            "share_deviation": share_deviation(pair_got, shares),
            "missing": _per_part((pair_need & (pair_got == 0)).sum(axis=0), names),
        },
        "missing": _missing(labels, part, group, frozen, shares, names),
        "groups_apart": in_part - len(np.unique(group)),
        "largest_group": int(np.bincount(group).max(initial=0)),
        **({"copies_across": copied} if copied else {}),
    }


def part_names(k: int) -> list[str]:
    """Names of the parts: train, val, test for three; train, test for two; else numbered."""
    if k == 2:
        return [SPLITS[0], SPLITS[2]]
    return list(SPLITS) if k == 3 else [f"part {j}" for j in range(k)]


def share_deviation(got: np.ndarray, shares: np.ndarray) -> float:
    """Mean |S_ij / D_i - f_j| of counts `(n_labels, k)` against fractions `(k,)`."""
    got = got[got.sum(axis=1) > 0]
    return _mean(np.abs(got / got.sum(axis=1, keepdims=True) - shares))


def _distribution(got: np.ndarray, size: np.ndarray, shares: np.ndarray) -> dict[str, float]:
    got = got[got.sum(axis=1) > 0].astype(float)
    total, n_docs = got.sum(axis=1, keepdims=True), size.sum()
    dcp = _mean((got / total - shares).max(axis=1)) if len(got) else 0.0
    filled = size > 0
    got, size = got[:, filled], size[filled]
    rld = np.abs(total / n_docs - got / size) / (total / n_docs)
    return {
        "ld": _mean(np.abs(_odds(got, size) - _odds(total, n_docs))),
        "rld": _mean(rld),
        "dcp": dcp,
    }


def _odds(positive: np.ndarray, size: np.ndarray) -> np.ndarray:
    positive = np.where(positive == size, size - 1, positive)
    return positive / (size - positive)


def _missing(
    labels: sp.csr_matrix,
    part: np.ndarray,
    group: np.ndarray,
    frozen: np.ndarray,
    shares: np.ndarray,
    names: list[str],
) -> dict[str, list[dict[str, Any]]]:
    k = len(shares)
    support = group_support(labels, group)
    need = coverage_need(support, shares)
    holders = np.stack(
        [group_support(labels[part == j], group[part == j]) for j in range(k)], axis=1
    )
    fixed_group = np.isin(group, group[frozen])
    state = _State(labels, part, group, need, holders, _bounds(part, group, fixed_group, shares))
    columns = labels.tocsc()
    report: dict[str, list[dict[str, Any]]] = {}
    for j in range(k):
        report[names[j]] = []
        for label in np.flatnonzero(need[:, j] & (holders[:, j] == 0)):
            rows = columns.indices[columns.indptr[label] : columns.indptr[label + 1]]
            reason = _reason(state, rows[~fixed_group[rows]], j)
            entry = {"label": int(label), "groups": int(support[label]), "reason": reason}
            report[names[j]].append(entry)
    return report


class _State(NamedTuple):
    labels: sp.csr_matrix
    part: np.ndarray
    group: np.ndarray
    need: np.ndarray
    holders: np.ndarray
    bounds: Bounds


def _bounds(
    part: np.ndarray, group: np.ndarray, fixed_group: np.ndarray, shares: np.ndarray
) -> Bounds:
    """The bounds that `iterative_split` keeps; documents in a frozen group count as frozen."""
    slack = int(np.bincount(group[~fixed_group]).max(initial=0))
    return size_bounds(
        shares, np.bincount(part[fixed_group], minlength=len(shares)), len(part), slack
    )


def _reason(s: _State, free: np.ndarray, j: int) -> str:
    """Why none of the label's `free` documents is in part `j`, which lacks the label."""
    if not len(free):
        return "all its groups are frozen in other parts"
    size, bound = np.bincount(s.part, minlength=len(s.bounds.target)), s.bounds
    last_ones = True
    for number in np.unique(s.group[free]):
        rows = np.flatnonzero(s.group == number)
        p = s.part[rows[0]]
        carried = np.unique(s.labels[rows].indices)
        if (s.need[carried, p] & (s.holders[carried, p] == 1)).any():
            continue
        last_ones = False
        if size[p] - len(rows) >= bound.lower[p] - 1e-9 and (
            size[j] + len(rows) <= bound.upper[j] + 1e-9
        ):
            return "a free group could move here, but this method did not find it"
    if last_ones:
        return "each of its free groups is the last one of some label in its part"
    return "no free group can move here alone without breaking sizes or another label's coverage"


def _sizes(
    part: np.ndarray, group: np.ndarray, shares: np.ndarray, names: list[str]
) -> dict[str, dict[str, float | int]]:
    n_docs, n_groups = len(part), len(np.unique(group))
    return {
        name: {
            "fraction": round(float(shares[j]), DIGITS),
            "docs_wanted": round(float(shares[j] * n_docs), DIGITS),
            "docs": int((part == j).sum()),
            "groups_wanted": round(float(shares[j] * n_groups), DIGITS),
            "groups": len(np.unique(group[part == j])),
        }
        for j, name in enumerate(names)
    }


def _counts(columns: sp.csr_matrix, part: np.ndarray, k: int) -> np.ndarray:
    """Documents per column and part, `(n_columns, k)`."""
    n_docs = len(part)
    member = sp.csr_matrix((np.ones(n_docs, np.int64), (part, np.arange(n_docs))), (k, n_docs))
    return (member @ columns).toarray().T


def _per_part(numbers: np.ndarray, names: list[str]) -> dict[str, int]:
    return {name: int(number) for name, number in zip(names, numbers, strict=True)}


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), DIGITS) if values.size else 0.0
