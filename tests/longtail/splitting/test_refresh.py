"""Nights with a refresh: what may move, what never may, and that the draw is a random one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from longtail.errors import DataError, ParameterError
from longtail.splitting.iterative import iterative_split
from longtail.splitting.quality import quality
from longtail.splitting.refresh import Refreshed, refresh

THREE = (0.6, 0.2, 0.2)
TRAIN, VAL, TEST = 0, 1, 2


@dataclass
class Corpus:
    """Documents in the order of their arrival."""

    ids: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    dates: list[float] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    part: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))

    def arrive(self, rng: np.random.Generator, n: int, night: int, together: float) -> None:
        """Add documents; a share of them belong to groups that may have arrived before."""
        for _ in range(n):
            name = f"d{len(self.ids):04}"
            shared = f"g{rng.integers(12)}" if rng.random() < together else name
            self.ids.append(name)
            self.groups.append(shared)
            self.dates.append(night if rng.random() < 0.8 else np.nan)
            self.rows.append(rng.random(6) < np.array([0.5, 0.3, 0.1, 0.05, 0.05, 0.02]))

    def alone(self, row: int) -> bool:
        """Whether the document is the only one in its part with one of its labels."""
        rows = np.array(self.rows)
        return bool((rows[row] & (rows[self.part == self.part[row]].sum(axis=0) == 1)).any())

    def split(self, share: float, seed: int, order: np.ndarray | None = None) -> Refreshed:
        """One night: refresh, then split; `order` shuffles the rows."""
        n_docs = len(self.ids)
        fixed = np.full(n_docs, -1, np.int8)
        fixed[: len(self.part)] = self.part
        order = np.arange(n_docs) if order is None else order
        labels = sp.csr_matrix(np.array(self.rows)[order].astype(np.int8))
        groups = [self.groups[i] for i in order]
        dates = np.array(self.dates)[order]
        done = refresh(
            labels, THREE, fixed[order], groups=groups, dates=dates, share=share, seed=seed
        )
        part = iterative_split(
            labels, THREE, ids=[self.ids[i] for i in order], groups=groups, fixed=done.fixed,
            seed=seed,
        )  # fmt: skip
        self.part = np.empty(n_docs, np.int8)
        self.part[order] = part
        back = np.argsort(order)
        return Refreshed(*(values[back] for values in done))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.02, 0.2, 1.0]),
    st.sampled_from([0.0, 0.3]),
)
@example(4482007, 1.0, 0.0)  # val alone lacks a label that one of three new documents has
def test_over_many_nights(seed, share, together):
    rng, corpus = np.random.default_rng(seed), Corpus()
    corpus.arrive(rng, 60, 0, together)
    corpus.split(share, seed)
    never = set(np.array(corpus.ids)[corpus.part != TEST])  # seen in train or val
    beyond = 0.0
    for night in range(1, 7):
        before = corpus.part.copy()
        corpus.arrive(rng, int(rng.integers(0, 30)), night, together)
        done = corpus.split(share, seed)
        now, old = corpus.part, np.arange(len(before))
        moved = old[now[old] != before]
        assert (before[moved] == TEST).all() and (now[moved] == TRAIN).all()
        assert set(moved) == set(np.flatnonzero(done.retired))
        in_test = set(np.array(corpus.ids)[now == TEST])
        assert not in_test & never  # neither a document of train nor a retired one
        never |= set(corpus.ids) - in_test
        assert not done.drawn[old].any() and (now[done.drawn] == TEST).all()
        for name in set(corpus.groups):  # a group is never torn apart
            rows = [i for i, group in enumerate(corpus.groups) if group == name]
            assert len(set(now[rows].tolist())) == 1
        largest = max(corpus.groups.count(name) for name in set(corpus.groups))
        off = np.bincount(now, minlength=3) - np.array(THREE) * len(now)
        # A new document that alone brings a label to its part is there whatever the sizes; what is
        # frozen stays until the corpus has grown.
        needed = sum(corpus.alone(row) for row in range(len(before), len(now)))
        assert np.abs(off).max() <= max(largest + needed, beyond) + 1e-9
        beyond = np.abs(off).max()
        assert done.retired.sum() <= share * (before == TEST).sum() + largest / 2
        if len(before) == len(now):
            assert not len(moved)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_the_same_ids_give_the_same_result_in_any_order(seed, random):
    results = []
    for shuffled in (False, True):
        rng, corpus = np.random.default_rng(seed), Corpus()
        for night in range(4):
            corpus.arrive(rng, 40, night, 0.3)
            order = list(range(len(corpus.ids)))
            if shuffled:
                random.shuffle(order)
            done = corpus.split(0.2, 3, np.array(order))
        results.append((corpus.part.tolist(), done.retired.tolist(), done.drawn.tolist()))
    assert results[0] == results[1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_label_leaves_a_part_that_needs_it(seed):
    rng, corpus = np.random.default_rng(seed), Corpus()
    for night in range(6):
        corpus.arrive(rng, 40, night, 0.0)
        labels = np.array(corpus.rows)
        tested = labels[: len(corpus.part)][corpus.part == TEST].any(axis=0)
        corpus.split(0.3, seed)
        assert (labels[corpus.part == TEST].any(axis=0) >= tested).all()
        report = quality(sp.csr_matrix(labels.astype(int)), corpus.part, THREE)
        for missing in report["missing"].values():  # a label that came first as one document only
            assert all(entry["groups"] < 8 for entry in missing)


def corpus_of(n_test: int, n_new: int, n_labels: int = 1):
    """A corpus of 60/20/20 with that many test documents, and new ones."""
    fixed = np.repeat([TRAIN, VAL, TEST, -1], [3 * n_test, n_test, n_test, n_new])
    labels = sp.csr_matrix((len(fixed), n_labels), dtype=np.int8)
    groups = [f"d{i:05}" for i in range(len(fixed))]
    return labels, fixed, groups


def test_the_oldest_retire_and_as_many_more_are_drawn():
    labels, fixed, groups = corpus_of(20, 50)
    dates = np.r_[np.zeros(80), np.arange(20)[::-1], np.full(50, 99)]
    done = refresh(labels, THREE, fixed, groups=groups, dates=dates, share=0.2)
    assert np.flatnonzero(done.retired).tolist() == [96, 97, 98, 99]
    assert done.drawn.sum() == 14  # 10 for the growth to 150 documents, 4 for those that retired
    assert np.bincount(done.fixed[done.fixed >= 0]).tolist() == [64, 20, 30]
    unknown = dates.copy()
    unknown[85] = np.nan  # older than all dates
    done = refresh(labels, THREE, fixed, groups=groups, dates=unknown, share=0.2)
    assert np.flatnonzero(done.retired).tolist() == [85, 97, 98, 99]


def test_a_group_is_as_old_as_its_oldest_document_and_retires_as_a_whole():
    labels, fixed, groups = corpus_of(20, 50)
    dates = np.r_[np.zeros(80), np.arange(20) + 1.0, np.full(50, 99)]
    groups[99] = groups[80]  # the newest and the oldest
    done = refresh(labels, THREE, fixed, groups=groups, dates=dates, share=0.1)
    assert np.flatnonzero(done.retired).tolist() == [80, 99]


def test_the_last_document_of_a_label_does_not_retire():
    labels, fixed, groups = corpus_of(20, 50)
    labels = labels.tolil()
    labels[[0, 80], 0] = 1  # two documents: train and test need one each
    dates = np.r_[np.zeros(80), np.arange(20), np.full(50, 99)]
    done = refresh(labels.tocsr(), THREE, fixed, groups=groups, dates=dates, share=0.1)
    assert np.flatnonzero(done.retired).tolist() == [81, 82]


def test_no_more_retire_than_the_new_documents_and_train_can_take():
    for n_new, least, most in ((0, 0, 0), (1, 0, 1), (10, 5, 6), (1000, 20, 20)):
        labels, fixed, groups = corpus_of(20, n_new)
        dates = np.zeros(len(fixed))
        done = refresh(labels, THREE, fixed, groups=groups, dates=dates, share=1.0)
        assert least <= done.retired.sum() <= most
        size = np.bincount(done.fixed[done.fixed >= 0], minlength=3)
        assert size[TRAIN] <= 0.6 * len(fixed) + 0.5
        assert n_new == 0 or abs(size[TEST] - 0.2 * len(fixed)) <= 0.5


def test_without_dates_newcomers_do_not_leave_before_the_others():
    labels, fixed, groups = corpus_of(1000, 1000)
    dates = np.full(len(fixed), np.nan)
    first = refresh(labels, THREE, fixed, groups=groups, dates=dates, share=0.2)
    part = iterative_split(labels, THREE, ids=groups, fixed=first.fixed)
    more = 1000
    labels, groups = corpus_of(1000, 2000)[::2]
    second = refresh(
        labels, THREE, np.r_[part, np.full(more, -1)], groups=groups,
        dates=np.full(len(groups), np.nan), share=0.2,
    )  # fmt: skip
    assert second.retired.sum() >= 200
    assert not (second.retired[: len(fixed)] & first.drawn).any()


def test_the_draw_does_not_prefer_the_labels_that_test_lacks():
    """A fifth of train and val has the label, test none, half of the new ones: so has the draw.

    The stratifier would make up for the old test documents: 360 of 1,801 labels are test's share.
    """
    labels, fixed, groups = corpus_of(1000, 2000)
    has = np.zeros(len(fixed), dtype=np.int8)
    has[:600] = has[3000:3200] = has[4500] = 1
    has[5000::2] = 1
    dates = np.zeros(len(fixed))
    done = refresh(sp.csr_matrix(has[:, None]), THREE, fixed, groups=groups, dates=dates, share=0.1)
    n = int(done.drawn.sum())
    assert n == 500  # 400 for the growth, 100 for those that retired
    assert abs(has[done.drawn].mean() - 0.5) <= 3 * 0.5 / np.sqrt(n)
    stratified = iterative_split(sp.csr_matrix(has[:, None]), THREE, ids=groups, fixed=fixed)
    assert has[(fixed < 0) & (stratified == TEST)].mean() > 0.8  # what the draw avoids


def test_new_labels_reach_all_parts_all_the_same():
    labels, fixed, groups = corpus_of(1000, 100, 10)
    labels = labels.tolil()
    for label in range(10):
        labels[5000 + 3 * label : 5003 + 3 * label, label] = 1
    labels = labels.tocsr()
    done = refresh(labels, THREE, fixed, groups=groups, dates=np.zeros(5100), share=0.01)
    part = iterative_split(labels, THREE, ids=groups, groups=groups, fixed=done.fixed)
    assert quality(labels, part, THREE)["missing"] == {"train": [], "val": [], "test": []}
    assert np.abs(np.bincount(part) - np.array(THREE) * 5100).max() <= 1


def test_nothing_happens_without_a_share_or_before_the_first_split():
    labels, fixed, groups = corpus_of(20, 50)
    dates = np.zeros(len(fixed))
    for given_, share in ((fixed, 0.0), (np.full(len(fixed), -1), 0.5)):
        done = refresh(labels, THREE, given_, groups=groups, dates=dates, share=share)
        assert (done.fixed == given_).all() and not (done.retired | done.drawn).any()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"share": 1.5}, ParameterError, "`share` must be between 0 and 1, got 1.5"),
        ({"dates": np.zeros(3)}, DataError, r"`dates` must have shape \(150,\), got \(3,\)"),
        ({"groups": ["a"]}, DataError, "expected 150, got 1"),
    ],
)
def test_bad_input_is_rejected_in_one_sentence(wrong, error, message):
    labels, fixed, groups = corpus_of(20, 50)
    arguments = {"groups": groups, "dates": np.zeros(len(fixed)), "share": 0.1} | wrong
    with pytest.raises(error, match=message):
        refresh(labels, THREE, fixed, **arguments)
