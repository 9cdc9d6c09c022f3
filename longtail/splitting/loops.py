"""Compiled inner loops of `iterative`: greedy assignment, exchange, size and coverage.

Every function works on one `Table`: a matrix of atoms (groups of documents that stay together) by
columns (labels, then label pairs), the part of each atom, and running counts. The order of the
atoms does not depend on the input's row order, and every tie is broken by that order or by `tie`,
so the outcome is a function of ids, labels and seed alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from longtail.splitting.compiling import compiled

EPS = 1e-9
WINDOW = 256  # safe candidates examined before the best is taken: bounds one size correction
CANDIDATES = 32  # documents tried to cover one missing label: bounds one repair


class Table(NamedTuple):
    """The state of a split; `part`, `got`, `size`, `holders` and `missing` change in place."""

    indptr: np.ndarray  # CSR of atoms x columns
    indices: np.ndarray
    docs: np.ndarray  # documents of the atom that carry the column
    weight: np.ndarray  # (n_atoms,) documents of the atom
    tie: np.ndarray  # (n_atoms,) hash of (seed, id)
    part: np.ndarray  # (n_atoms,) -1 while unassigned
    got: np.ndarray  # (n_columns, k) documents per part, frozen ones included
    wanted: np.ndarray  # (n_columns, k)
    size: np.ndarray  # (k,) documents per part, frozen ones included
    target: np.ndarray  # (k,) reachable sizes
    lower: np.ndarray  # (k,) bounds that coverage must respect
    upper: np.ndarray  # (k,)
    open: np.ndarray  # (k,) parts that still want documents
    holders: np.ndarray  # (n_labels, k) groups that carry the label
    need: np.ndarray  # (n_labels, k) whether the coverage rule requires a group here
    missing: np.ndarray  # (1,) needs without a holder
    size_weight: float  # weight of the sizes in the cost, relative to one label


@compiled
def shift(s: Table, a: int, q: int) -> None:
    """Move atom `a` to part `q` (-1: remove it) and update all counts."""
    p = s.part[a]
    n_labels = s.need.shape[0]
    for e in range(s.indptr[a], s.indptr[a + 1]):
        col, x = s.indices[e], s.docs[e]
        if p >= 0:
            s.got[col, p] -= x
        if q >= 0:
            s.got[col, q] += x
        if col < n_labels:
            if p >= 0:
                s.holders[col, p] -= 1
                s.missing[0] += s.need[col, p] and s.holders[col, p] == 0
            if q >= 0:
                s.missing[0] -= s.need[col, q] and s.holders[col, q] == 0
                s.holders[col, q] += 1
    if p >= 0:
        s.size[p] -= s.weight[a]
    if q >= 0:
        s.size[q] += s.weight[a]
    s.part[a] = q


@compiled
def step(x: float, got_p: float, want_p: float, got_q: float, want_q: float) -> float:
    """Change of sum_j (got_j - want_j)^2 / want_j when `x` moves from p to q."""
    return (x - 2 * (got_p - want_p)) * x / want_p + (x + 2 * (got_q - want_q)) * x / want_q


@compiled
def cost(s: Table, a: int, q: int) -> float:
    """Change of Pearson's chi-square of the label-by-part table when atom `a` moves to `q`."""
    p = s.part[a]
    total = s.size_weight * step(s.weight[a], s.size[p], s.target[p], s.size[q], s.target[q])
    for e in range(s.indptr[a], s.indptr[a + 1]):
        c = s.indices[e]
        total += step(s.docs[e], s.got[c, p], s.wanted[c, p], s.got[c, q], s.wanted[c, q])
    return total


@compiled
def coverage_gain(s: Table, a: int, q: int) -> int:
    """Needs met minus needs broken when atom `a` moves to `q`."""
    p, gain = s.part[a], 0
    for e in range(s.indptr[a], s.indptr[a + 1]):
        col = s.indices[e]
        if col >= s.need.shape[0]:
            break
        gain += s.need[col, q] and s.holders[col, q] == 0
        gain -= s.need[col, p] and s.holders[col, p] == 1
    return gain


@compiled
def choose_part(s: Table, a: int, col: int) -> int:
    """The part that needs column `col` most: uncovered need, any room, demand, room, hash."""
    k, best = len(s.size), -1
    best_key = (False, False, 0.0, 0.0, 0)
    for j in range(k):
        if not s.open[j]:
            continue
        room = s.target[j] - s.size[j]
        uncovered, demand = False, 0.0
        if col >= 0:
            demand = s.wanted[col, j] - s.got[col, j]
            if col < s.need.shape[0]:
                uncovered = s.need[col, j] and s.holders[col, j] == 0
        key = (uncovered, room > EPS, demand, room, (s.tie[a] + j) % k)
        if best < 0 or key > best_key:
            best, best_key = j, key
    return best


@compiled
def greedy(s: Table, colptr: np.ndarray, rows: np.ndarray) -> None:
    """Algorithm 1 of Sechidis et al. 2011: the column with the fewest atoms left goes first.

    `colptr` and `rows` are the CSC view of the table. Columns wait in buckets by atoms left; a
    column whose number drops moves to the lower bucket.
    """
    n_columns = len(colptr) - 1
    left = colptr[1:] - colptr[:-1]
    head = np.full(len(s.part) + 1, -1, np.int64)
    following = np.full(n_columns, -1, np.int64)
    previous = np.full(n_columns, -1, np.int64)
    for col in range(n_columns - 1, -1, -1):
        _push(head, following, previous, left[col], col)
    current = 1
    while current < len(head):
        col = head[current]
        if col < 0:
            current += 1
            continue
        for i in range(colptr[col], colptr[col + 1]):
            a = rows[i]
            if s.part[a] >= 0:
                continue
            shift(s, a, choose_part(s, a, col))
            for e in range(s.indptr[a], s.indptr[a + 1]):
                other = s.indices[e]
                _pop(head, following, previous, left[other], other)
                left[other] -= 1
                _push(head, following, previous, left[other], other)
                if 0 < left[other] < current:
                    current = left[other]
    for a in range(len(s.part)):
        if s.part[a] < 0:  # documents without labels fill the room that is left
            shift(s, a, choose_part(s, a, -1))


@compiled
def _push(head: np.ndarray, following: np.ndarray, previous: np.ndarray, n: int, c: int) -> None:
    following[c], previous[c] = head[n], -1
    if head[n] >= 0:
        previous[head[n]] = c
    head[n] = c


@compiled
def _pop(head: np.ndarray, following: np.ndarray, previous: np.ndarray, n: int, c: int) -> None:
    if previous[c] >= 0:
        following[previous[c]] = following[c]
    else:
        head[n] = following[c]
    if following[c] >= 0:
        previous[following[c]] = previous[c]


@compiled
def refine(s: Table, sweeps: int, tolerance: float) -> None:
    """Move single atoms as long as that covers more labels, or lowers chi-square at equal coverage.

    No move takes a part more than `tolerance` documents away from its target.
    """
    for _ in range(sweeps):
        moved = 0
        for a in range(len(s.part)):
            p, w = s.part[a], s.weight[a]
            if not s.open[p] or s.size[p] - w < s.target[p] - tolerance - EPS:
                continue
            best, best_gain, best_cost = -1, 0, -EPS
            for q in range(len(s.size)):
                if q == p or not s.open[q] or s.size[q] + w > s.target[q] + tolerance + EPS:
                    continue
                gain = coverage_gain(s, a, q)
                if gain < best_gain:
                    continue
                change = cost(s, a, q)
                if gain > best_gain or change < best_cost:
                    best, best_gain, best_cost = q, gain, change
            if best >= 0:
                shift(s, a, best)
                moved += 1
        if moved <= len(s.part) // 1000:
            break


@compiled
def correct_size(s: Table, p: int, q: int, least_gain: int, held: int, start: int) -> int:
    """Move the cheapest atom from `p` to `q` that brings both closer to their targets.

    Examines `WINDOW` candidates from atom `start` on, wrapping around, but never atom `held`.

    Returns:
        The atom moved, -1 if there is none.
    """
    gap = (s.size[p] - s.target[p]) - (s.size[q] - s.target[q])
    best, best_gain, best_cost, seen = -1, 0, 0.0, 0
    n = len(s.part)
    for i in range(n):
        a = start + i if start + i < n else start + i - n
        if s.part[a] != p or a == held or s.weight[a] >= gap - EPS:
            continue
        gain = coverage_gain(s, a, q)
        if gain < least_gain:
            continue
        gain = min(gain, 0)
        change = cost(s, a, q)
        if best < 0 or gain > best_gain or (gain == best_gain and change < best_cost):
            best, best_gain, best_cost = a, gain, change
        seen += 1
        if seen == WINDOW:
            break
    if best >= 0:
        shift(s, best, q)
    return best


@compiled
def within(s: Table) -> bool:
    """Whether all sizes are within their bounds."""
    for j in range(len(s.size)):
        if s.size[j] < s.lower[j] - EPS or s.size[j] > s.upper[j] + EPS:
            return False
    return True


@compiled
def balance(s: Table, least_gain: int, until_within: bool, held: int, trail: np.ndarray) -> int:
    """Correct sizes, from most excess to most lack, until nothing helps (or bounds are met).

    `trail` `(m, 2)` receives the atom and its former part for each move; stops when it is full.

    Returns:
        The number of moves.
    """
    n_moves, start, k = 0, 0, len(s.size)
    tried = np.zeros((k, k), np.bool_)
    while n_moves < len(trail) and not (until_within and within(s)):
        p, q, widest = -1, -1, 0.0
        for i in range(k):
            for j in range(k):
                gap = (s.size[i] - s.target[i]) - (s.size[j] - s.target[j])
                if s.open[j] and not tried[i, j] and gap > widest + EPS:
                    p, q, widest = i, j, gap
        if p < 0:
            break
        moved = correct_size(s, p, q, least_gain, held, start)
        if moved < 0:
            tried[p, q] = True
            continue
        trail[n_moves, 0], trail[n_moves, 1] = moved, p
        n_moves += 1
        start = moved + 1
        tried[:] = False
    return n_moves


@compiled
def cover(
    s: Table, col: int, j: int, atoms: np.ndarray, tabu: np.ndarray, now: int, walk: bool
) -> bool:
    """Bring one atom of label `col` into part `j`; moves of other atoms keep sizes in bounds.

    Tries the candidates that break the fewest other needs first, and undoes a move that raises
    `missing`. `tabu` holds the step before which an atom must not move again.
    """
    keys = np.full(len(atoms), np.inf)
    for i in range(len(atoms)):
        if s.part[atoms[i]] != j and tabu[atoms[i]] <= now:
            keys[i] = cost(s, atoms[i], j) / 1e6 - coverage_gain(s, atoms[i], j)
            if walk:
                keys[i] += 2 * ((s.tie[atoms[i]] ^ (now * 2654435761)) % 251) / 251
    before, trail = s.missing[0], np.empty((16, 2), np.int64)
    for _ in range(min(len(atoms), CANDIDATES)):
        i = int(keys.argmin())
        if keys[i] == np.inf:
            break
        keys[i] = np.inf
        a, p = atoms[i], s.part[atoms[i]]
        shift(s, a, j)
        n_moves = balance(s, s.missing[0] - before, True, a, trail)
        if within(s) and s.missing[0] <= before:
            tabu[a] = now + 3
            return True
        for m in range(n_moves - 1, -1, -1):
            shift(s, trail[m, 0], trail[m, 1])
        shift(s, a, p)
    return False


@compiled
def repair(
    s: Table, colptr: np.ndarray, rows: np.ndarray, by_rarity: np.ndarray, steps: int
) -> None:
    """Cover what the coverage rule still misses, rarest label first, by `cover`.

    Every other pass tries the candidates in a hashed order instead of the best one first, which
    goes in circles when two labels compete for one document.
    """
    tabu = np.zeros(len(s.part), np.int64)
    now, walk = 0, False
    while s.missing[0] > 0 and now < steps:
        for col in by_rarity:
            for j in range(len(s.size)):
                if s.need[col, j] and s.holders[col, j] == 0 and now < steps:
                    now += 1
                    atoms = rows[colptr[col] : colptr[col + 1]]
                    cover(s, col, j, atoms, tabu, now, walk)
        walk = not walk
