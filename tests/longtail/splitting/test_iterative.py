"""The split against its protocol: coverage, sizes, groups, frozen rows, independence of order."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.errors import DataError, ParameterError
from longtail.splitting import iterative as splitting
from longtail.splitting.iterative import iterative_split, scikit_multilearn_split
from longtail.splitting.quality import quality

THREE = (0.6, 0.2, 0.2)


def csr(rows) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, dtype=np.int8))


@st.composite
def corpora(draw, max_docs: int = 40):
    """Labels, groups and a partly frozen assignment of a small random corpus."""
    n_docs = draw(st.integers(1, max_docs))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.random((n_docs, draw(st.integers(1, 8)))) < draw(st.sampled_from([0.1, 0.3, 0.6]))
    n_groups = draw(st.sampled_from([n_docs, max(1, n_docs // 2), max(1, n_docs // 5)]))
    groups = [None if g == 0 else f"g{g}" for g in rng.integers(0, n_groups, n_docs)]
    fixed = np.where(rng.random(n_docs) < draw(st.sampled_from([0, 0.4, 0.9])), 1, -1)
    fixed = np.where(fixed == 1, rng.integers(0, 3, n_docs), -1).astype(np.int8)
    return csr(labels), groups, fixed


def weights(groups) -> np.ndarray:
    names = [i if g is None else g for i, g in enumerate(groups)]
    return np.array([names.count(g) for g in dict.fromkeys(names)])


def test_hand_computed_split():
    """Ten documents of one label each: 5 x a, 3 x b, 2 x c under 60/20/20.

    b (3 documents) is once in each part, c (2) in train and test, a (5) everywhere. That makes
    test three documents, one more than wanted: the slack of one document that sizes have.
    """
    labels = csr([[1, 0, 0]] * 5 + [[0, 1, 0]] * 3 + [[0, 0, 1]] * 2)
    for seed in range(20):
        part = iterative_split(labels, THREE, seed=seed)
        table = np.stack([labels[part == j].sum(axis=0).A1 for j in range(3)], axis=1)
        assert table[1].tolist() == [1, 1, 1]
        assert table[2].tolist() == [1, 0, 1]
        assert table[0].tolist() == [3, 1, 1]
        assert table.sum(axis=0).tolist() == [5, 2, 3]


def test_exact_shares_where_they_exist():
    """100 documents of a, 50 of b, 5 of c: every share is a whole number and is met exactly."""
    labels = csr([[1, 0, 0]] * 100 + [[0, 1, 0]] * 50 + [[0, 0, 1]] * 5)
    part = iterative_split(labels, THREE)
    table = [labels[part == j].sum(axis=0).A1.tolist() for j in range(3)]
    assert table == [[60, 30, 3], [20, 10, 1], [20, 10, 1]]


def test_order_two_spreads_pairs():
    """Four label pairs of 20 documents each that first order may spread at will."""
    rows = [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
    labels = csr(np.repeat(rows, 20, axis=0))
    part = iterative_split(labels, (0.5, 0.25, 0.25), order=2)
    pair = np.repeat(np.arange(4), 20)
    assert [np.bincount(part[pair == p]).tolist() for p in range(4)] == [[10, 5, 5]] * 4


def test_label_pairs_by_hand():
    labels = csr([[1, 1, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]])
    # pairs in order: (0,1), (0,3), (1,3)
    expected = [[1, 1, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert splitting.label_pairs(labels).toarray().tolist() == expected
    assert splitting.label_pairs(labels, 2).toarray().tolist() == [[row[2]] for row in expected]


def test_coverage_need_by_hand():
    need = splitting.coverage_need(np.array([0, 1, 2, 3]), np.array(THREE))
    assert need.astype(int).tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 1], [1, 1, 1]]
    need = splitting.coverage_need(np.array([2]), np.array([0.0, 0.5, 0.5]))
    assert need.astype(int).tolist() == [[0, 1, 1]]


def test_reachable_sizes_by_hand():
    """Test frozen at 40 of 100 (20 wanted): the other 60 are shared 3 to 1 like 60 to 20."""
    shares = np.array(THREE)
    assert splitting.reachable_sizes(shares, np.array([0, 0, 40]), 100).tolist() == [45, 15, 40]
    # val then is over its shrunken share as well: 20 frozen > 15, train takes what is left
    assert splitting.reachable_sizes(shares, np.array([0, 20, 40]), 100).tolist() == [40, 20, 40]


def test_overfull_frozen_test_is_left_alone():
    """The published Reuters case: test is frozen beyond its share, val comes from train only."""
    rng = np.random.default_rng(0)
    labels = csr(rng.random((500, 12)) < 0.15)
    fixed = np.where(np.arange(500) < 200, 2, -1)
    part = iterative_split(labels, (0.8, 0.1, 0.1), fixed=fixed)
    assert (part[:200] == 2).all() and (part[200:] != 2).all()
    assert abs((part == 1).sum() - 300 / 9) <= 1


def test_a_group_joins_its_frozen_documents():
    labels = csr(np.ones((7, 1)))
    groups = ["a", "a", "a", "b", "b", "b", None]
    fixed = np.array([2, -1, -1, 1, 0, -1, -1])  # b: one frozen in val, one in train: train wins
    part = iterative_split(labels, THREE, groups=groups, fixed=fixed)
    assert part[:6].tolist() == [2, 2, 2, 1, 0, 0]


def test_uncovered_label_costs_a_chain_of_moves():
    """A split that covers everything exists but needs two documents to change places."""
    labels = csr([[1, 0], [1, 1], [0, 0], [0, 1]])
    for seed in range(10):
        part = iterative_split(labels, THREE, seed=seed)
        for label in range(2):
            holders = set(part[labels[:, [label]].toarray().ravel() == 1].tolist())
            assert holders >= {0, 2}, (seed, label, part)


@settings(max_examples=40, deadline=None)
@given(corpora(max_docs=7), st.integers(0, 5))
def test_missing_labels_close_to_exhaustive_search(corpus, seed):
    """No label is missing where single-label documents allow all to be covered; else near best."""
    labels, _, _ = corpus
    dense, n_docs = labels.toarray(), labels.shape[0]
    need = splitting.coverage_need(dense.sum(axis=0), np.array(THREE))

    def missing(part):
        return sum(
            need[i, j] and not dense[part == j, i].any()
            for i, j in itertools.product(range(dense.shape[1]), range(3))
        )

    def sized(part):
        return (np.abs(np.bincount(part, minlength=3) - np.array(THREE) * n_docs) <= 1 + 1e-9).all()

    found = missing(iterative_split(labels, THREE, seed=seed))
    everything = (np.array(p) for p in itertools.product(range(3), repeat=n_docs))
    best = 0 if found == 0 else min(missing(part) for part in everything if sized(part))
    assert found <= best + 1
    if dense.sum(axis=1).max(initial=0) <= 1:
        assert found == best


def needs(dense: np.ndarray, part: np.ndarray) -> int:
    """Labels missing from parts that need them."""
    need = splitting.coverage_need(dense.sum(axis=0), np.array(THREE))
    return sum(
        need[i, j] and not dense[part == j, i].any()
        for i, j in itertools.product(range(dense.shape[1]), range(3))
    )


def test_a_part_frozen_beyond_its_share_does_not_keep_labels_from_the_others():
    """Test is frozen at 4 of 11 documents (2.2 wanted); val can still be given label 0."""
    rows = [[1], [1], [0, 2], [], [0], [2], [1, 2], [], [1, 2], [0, 1], [1]]
    dense = np.array([[label in row for label in range(3)] for row in rows])
    fixed = np.array([2] * 4 + [-1] * 7)
    for seed in range(20):
        part = iterative_split(csr(dense), THREE, fixed=fixed, seed=seed)
        assert needs(dense, part) == 0
        assert np.bincount(part).tolist() in ([5, 2, 4], [6, 1, 4])


def test_coverage_with_an_overfull_frozen_part_against_exhaustive_search():
    rng, needless = np.random.default_rng(0), 0
    for seed in range(200):
        n_docs = int(rng.integers(7, 11))
        dense = rng.random((n_docs, int(rng.integers(1, 5)))) < rng.uniform(0.2, 0.7)
        fixed = np.full(n_docs, -1)
        fixed[: int(rng.integers(0.35 * n_docs, 0.5 * n_docs + 1))] = rng.integers(1, 3)
        found = needs(dense, iterative_split(csr(dense), THREE, fixed=fixed, seed=seed))
        frozen = np.bincount(fixed[fixed >= 0], minlength=3)
        reachable = splitting.reachable_sizes(np.array(THREE), frozen, n_docs)
        is_open = reachable > frozen
        free, best = np.flatnonzero(fixed < 0), found
        for codes in itertools.product(range(3), repeat=len(free)) if found else ():
            part = fixed.copy()
            part[free] = codes
            size = np.bincount(part, minlength=3)
            off = np.where(is_open, np.abs(size - reachable) - 1, size - frozen)
            if (off <= 1e-9).all():
                best = min(best, needs(dense, part))
        assert found <= best + 1
        needless += found > best
    assert needless == 0


@settings(max_examples=150, deadline=None)
@given(corpora(), st.integers(0, 3), st.sampled_from([1, 2]))
def test_groups_stay_together_and_sizes_within_one_group(corpus, seed, order):
    labels, groups, _ = corpus
    part = iterative_split(labels, THREE, groups=groups, seed=seed, order=order)
    assert part.dtype == np.int8 and set(part.tolist()) <= {0, 1, 2}
    for name in set(groups) - {None}:
        assert len({p for p, g in zip(part.tolist(), groups, strict=True) if g == name}) == 1
    off = np.bincount(part, minlength=3) - np.array(THREE) * len(part)
    assert np.abs(off).max() <= weights(groups).max() + 1e-9


@settings(max_examples=150, deadline=None)
@given(corpora(), st.integers(0, 3))
def test_frozen_rows_never_move_and_sizes_come_as_close_as_they_can(corpus, seed):
    labels, _, fixed = corpus
    part = iterative_split(labels, THREE, fixed=fixed, seed=seed)
    assert (part[fixed >= 0] == fixed[fixed >= 0]).all()
    frozen = np.bincount(fixed[fixed >= 0], minlength=3)
    size, wanted = np.bincount(part, minlength=3), np.array(THREE) * len(part)
    reachable = splitting.reachable_sizes(np.array(THREE), frozen, len(part))
    is_open = reachable > frozen + 1e-9
    assert (np.abs(size - reachable)[is_open] <= 1 + 1e-9).all()
    assert (size[~is_open] <= np.maximum(frozen, wanted + 1)[~is_open] + 1e-9).all()


@settings(max_examples=100, deadline=None)
@given(corpora(), st.randoms(use_true_random=False), st.sampled_from([1, 2]))
def test_row_order_does_not_matter(corpus, random, order):
    labels, groups, fixed = corpus
    ids = [f"doc-{i}" for i in range(labels.shape[0])]
    shuffled = list(range(len(ids)))
    random.shuffle(shuffled)
    given_order = iterative_split(
        labels, THREE, ids=ids, groups=groups, fixed=fixed, order=order, seed=1
    )
    other_order = iterative_split(
        labels[shuffled],
        THREE,
        ids=[ids[i] for i in shuffled],
        groups=[groups[i] for i in shuffled],
        fixed=fixed[shuffled],
        order=order,
        seed=1,
    )
    assert other_order.tolist() == given_order[shuffled].tolist()


def long_tail(n_docs: int = 3000, n_labels: int = 200, seed: int = 0) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, n_labels + 1)
    return csr(rng.random((n_docs, n_labels)) < np.minimum(0.5, share) * 0.6)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("grouped", [False, True])
def test_long_tail_is_covered_and_fair(order, grouped):
    labels = long_tail()
    n_docs = labels.shape[0]
    groups = np.random.default_rng(1).integers(0, n_docs // 2, n_docs) if grouped else None
    part = iterative_split(labels, THREE, groups=groups, order=order)
    atoms = np.arange(n_docs) if groups is None else groups
    support = splitting.group_support(labels, np.unique(atoms, return_inverse=True)[1])
    need = splitting.coverage_need(support, np.array(THREE))
    got = np.stack([labels[part == j].sum(axis=0).A1 for j in range(3)], axis=1)
    assert not (need & (got == 0)).any()
    shuffled = np.random.default_rng(9).permutation(np.repeat([0, 1, 2], [1800, 600, 600]))
    by_chance = quality(labels, shuffled, THREE)["label_share_deviation"]
    fair = quality(labels, part, THREE)["label_share_deviation"]
    assert fair <= by_chance * {1: 0.25, 2: 0.5}[order]


def test_order_two_trades_label_shares_for_pair_shares():
    labels = long_tail()
    first, second = (
        quality(labels, iterative_split(labels, THREE, order=order), THREE) for order in (1, 2)
    )
    assert second["pairs"]["share_deviation"] < first["pairs"]["share_deviation"] - 0.01
    assert second["label_share_deviation"] > first["label_share_deviation"]


def test_nightly_growth_keeps_every_old_document():
    """Yesterday's split is frozen; a new label with three documents still reaches all parts."""
    labels = long_tail()
    yesterday = iterative_split(labels[:2900], THREE)
    new = sp.lil_matrix((3000, 1), dtype=np.int8)
    new[[2910, 2950, 2990]] = 1
    today = iterative_split(
        sp.hstack([labels, new], "csr"), THREE, fixed=np.r_[yesterday, np.full(100, -1, np.int8)]
    )
    assert (today[:2900] == yesterday).all()
    assert set(today[[2910, 2950, 2990]].tolist()) == {0, 1, 2}
    assert np.abs(np.bincount(today) - np.array([1800, 600, 600])).max() <= 1


def test_two_parts_five_folds_and_an_empty_part():
    labels = long_tail()
    assert np.bincount(iterative_split(labels, (0.9, 0.1))).tolist() == [2700, 300]
    folds = np.bincount(iterative_split(labels, (0.2,) * 5))
    assert folds.tolist() == [600] * 5
    assert np.bincount(iterative_split(labels, (0.8, 0.0, 0.2))).tolist() == [2400, 0, 600]


def test_documents_without_labels_and_the_empty_corpus():
    assert np.bincount(iterative_split(sp.csr_matrix((10, 3)), THREE)).tolist() == [6, 2, 2]
    assert np.bincount(iterative_split(sp.csr_matrix((10, 0)), THREE)).tolist() == [6, 2, 2]
    assert iterative_split(sp.csr_matrix((0, 3)), THREE).tolist() == []


def test_seed_changes_and_input_stays():
    labels, fixed = long_tail(400, 20), np.full(400, -1, np.int8)
    before = labels.copy()
    first = iterative_split(labels, THREE, fixed=fixed, seed=0)
    assert (first == iterative_split(labels, THREE, seed=0)).all()
    assert (first != iterative_split(labels, THREE, seed=1)).any()
    assert (labels != before).nnz == 0 and (fixed == -1).all()


CHILD = """
import numpy as np, scipy.sparse as sp
from longtail.splitting.iterative import iterative_split
rng = np.random.default_rng(3)
labels = sp.csr_matrix(rng.random((300, 30)) < 0.05)
groups = ["g%d" % g for g in rng.integers(0, 200, 300)]
print(*iterative_split(labels, (0.6, 0.2, 0.2), ids=["i%d" % i for i in range(300)], groups=groups))
"""


def test_processes_agree(monkeypatch):
    """Python's own hash differs between these processes; the split must not."""
    outputs = set()
    for hash_seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        run = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        outputs.add(run.stdout)
    assert len(outputs) == 1


BAD = {
    "sum": (dict(fractions=(0.6, 0.2, 0.1)), ParameterError, r"must sum to 1.*0\.9"),
    "negative": (dict(fractions=(1.2, -0.2)), ParameterError, "must not be negative"),
    "nan": (dict(fractions=(float("nan"), 1.0)), ParameterError, "contains NaN"),
    "one part": (dict(fractions=(1.0,)), ParameterError, "at least two parts"),
    "order": (dict(order=3), ParameterError, r"`order` must be 1 .* got 3"),
    "seed": (dict(seed=1.5), ParameterError, "`seed` must be an integer, got 1.5"),
    "ids length": (dict(ids=["a", "b"]), DataError, "`ids` .* expected 4, got 2"),
    "ids twice": (dict(ids=["a", "b", "b", "c"]), DataError, "'b' occurs more than once"),
    "groups length": (dict(groups=["a"]), DataError, "`groups` .* expected 4, got 1"),
    "fixed length": (dict(fixed=np.zeros(3, int)), DataError, r"shape \(4,\), .* got \(3,\)"),
    "fixed high": (dict(fixed=np.array([0, 3, -1, -1])), DataError, r"0\.\.2, got 3 in row 1"),
    "fixed low": (dict(fixed=np.array([0, 0, -2, -1])), DataError, "got -2 in row 2"),
    "fixed nan": (dict(fixed=np.array([0, 0, np.nan, -1])), DataError, "got nan in row 2"),
    "dense": (dict(labels=np.ones((4, 2))), DataError, "scipy sparse matrix, got ndarray"),
    "not binary": (dict(labels=csr(np.full((4, 2), 2))), DataError, "binary .* value 2"),
    "label nan": (
        dict(labels=sp.csr_matrix([[np.nan], [1], [1], [0]])),
        DataError,
        "`labels` contains NaN",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_rejected_in_one_sentence(case):
    wrong, error, message = BAD[case]
    arguments = {"labels": csr(np.ones((4, 2))), "fractions": THREE} | wrong
    with pytest.raises(error, match=message):
        iterative_split(arguments.pop("labels"), arguments.pop("fractions"), **arguments)


def test_scikit_multilearn_is_deterministic_and_restores_the_random_state():
    labels = long_tail(400, 20)
    ids = [f"doc-{i}" for i in range(400)]
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    first = scikit_multilearn_split(labels, THREE, ids=ids, seed=7)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(6)
    backwards = scikit_multilearn_split(labels[::-1], THREE, ids=ids[::-1], seed=7)
    assert (first == backwards[::-1]).all()
    assert first.dtype == np.int8
    assert np.abs(np.bincount(first, minlength=3) - [240, 80, 80]).max() <= 20


def test_scikit_multilearn_gives_the_library_split():
    from skmultilearn.model_selection import iterative_train_test_split

    labels = long_tail(200, 10)
    ours = scikit_multilearn_split(labels, (0.75, 0.25), seed=3)
    order = np.argsort(splitting.split_input.hashes(None, 200, 3))
    np.random.seed(3)
    dense = labels.toarray()[order].astype(np.int64)
    train, _, test, _ = iterative_train_test_split(order[:, None], dense, 0.25)
    assert set(np.flatnonzero(ours == 0)) == set(train.ravel())
    assert set(np.flatnonzero(ours == 1)) == set(test.ravel())


def test_scikit_multilearn_rejects_what_does_not_fit_in_memory():
    labels = sp.csr_matrix((224_897, 18_211), dtype=np.int8)
    with pytest.raises(ParameterError, match=r"30\.5 GiB for 224897 documents x 18211 labels"):
        scikit_multilearn_split(labels, THREE)
