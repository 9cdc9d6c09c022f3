from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from longtail.corpora.synthetic import synthetic_corpus
from longtail.errors import ParameterError


@pytest.fixture(scope="module")
def default():
    return synthetic_corpus()


def test_default_has_the_published_shape(default):
    records, truth = default
    n_docs_of = Counter(label for labels in truth.values() for label in labels)
    assert len(records) == len(truth) == 14_354
    assert len(n_docs_of) == 124
    assert sum(n_docs_of.values()) / 124 == pytest.approx(261, abs=5)
    assert min(n_docs_of.values()) < 12 and sorted(n_docs_of.values())[62] < 50


def test_tail_labels_come_with_head_labels(default):
    _, truth = default
    head, tail = {f"topic-{i:03d}" for i in range(12)}, {f"topic-{i:03d}" for i in range(62, 124)}
    with_tail = [set(labels) for labels in truth.values() if tail & set(labels)]
    assert sum(bool(labels & head) for labels in with_tail) / len(with_tail) > 0.75


def test_wrong_annotations_have_the_wanted_share_and_careless_authors(default):
    records, truth = default
    wrong = [r["annotator"] for r in records if r["labels"] != truth[r["id"]]]
    assert len(wrong) / len(records) == pytest.approx(0.05, abs=0.005)
    of = Counter(wrong)
    assert of["eve"] > 3 * of["ada"]
    assert all(r["labels"] == sorted(set(r["labels"])) != [] for r in records)


def test_without_wrong_annotations_the_labels_are_the_truth():
    records, truth = synthetic_corpus(300, 20, wrong=0, seed=3)
    assert {r["id"]: r["labels"] for r in records} == truth


def test_seed_and_nothing_else_decides():
    assert synthetic_corpus(200, 20, seed=1) == synthetic_corpus(200, 20, seed=1)
    assert synthetic_corpus(200, 20, seed=1) != synthetic_corpus(200, 20, seed=2)
    text = "".join(r["text"] for r in synthetic_corpus(50, 5)[0])
    assert (
        hashlib.sha256(text.encode()).hexdigest()[:12] == "ca7e4bbcda1f"
    )  # frozen across versions


def test_cue_words_tell_the_label():
    records, truth = synthetic_corpus(2000, 20, wrong=0)
    words_of = {label: Counter() for label in {x for labels in truth.values() for x in labels}}
    for record in records:
        for label in record["labels"]:
            words_of[label].update(set(record["text"].lower().strip(".").split()))
    everywhere = Counter(w for r in records for w in set(r["text"].lower().strip(".").split()))
    for label, words in words_of.items():  # its strongest word mostly comes with the label
        lift = max(n / everywhere[word] for word, n in words.items() if n >= 4)
        assert lift > 0.6, label


@pytest.mark.parametrize(
    "shape", [(10, 11, 0.1), (10, 1, 0.1), (10, 5, 0.5), (10, 5, -0.1), (10, 5, 0, -1)]
)
def test_impossible_shapes_are_rejected(shape):
    with pytest.raises(ParameterError):
        synthetic_corpus(*shape)
