"""Training heads on features: seeds, folds, a separable toy."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from longtail.evaluation.keeping import Keep
from longtail.evaluation.selection import validation_f1
from longtail.frequency import class_frequencies
from longtail.losses import make_loss
from longtail.models import heads
from longtail.models.classifier import Head
from longtail.models.heads import (
    Examples,
    HeadShape,
    HeadTraining,
    MakeLoss,
    cross_fit,
    new_head,
    predict,
    train_head,
)
from longtail.models.progress import Progress, silent
from longtail.models.threads import one_thread
from longtail.splitting.rounds import make_plan


def toy(n_docs: int, seed: int) -> Examples:
    """Label i is on where feature i is positive."""
    features = np.random.default_rng(seed).normal(size=(n_docs, 8)).astype(np.float32)
    return Examples(features, sp.csr_matrix((features[:, :3] > 0).astype(np.int8)))


TRAIN, VAL = toy(200, 0), toy(80, 1)
HOW = HeadTraining(learning_rate=0.05, weight_decay=0.01, epochs=8, batch_size=64, bf16=False)


def trained(*, seed: int = 0, progress: Progress = silent, **how):
    torch.manual_seed(0)
    head = Head(8, 3, 0, 0.0, False)
    loss = make_loss("bce", [100] * 3, 200)
    settings = replace(HOW, **how)
    history = train_head(head, loss, TRAIN, how=settings, seed=seed, watched=VAL, progress=progress)
    return head, history


def test_learns_a_separable_toy():
    head, history = trained(epochs=30, batch_size=16)
    assert validation_f1(predict(head, VAL.features), VAL.targets)["micro_f1"] > 0.95
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]


def test_same_seed_same_weights_other_seed_others():
    (a, first), (b, again), (c, _) = trained(seed=5), trained(seed=5), trained(seed=6)
    assert first == again
    same = [torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(a.layers[-1].weight, c.layers[-1].weight)


def test_the_last_epoch_is_kept_and_what_is_watched_changes_nothing():
    head, history = trained()
    assert validation_f1(predict(head, VAL.features), VAL.targets)["mean_f1"] == pytest.approx(
        history[-1]["mean_f1"]
    )
    torch.manual_seed(0)
    alone = Head(8, 3, 0, 0.0, False)
    rows = train_head(alone, make_loss("bce", [100] * 3, 200), TRAIN, how=HOW)
    assert [row["train_loss"] for row in rows] == [row["train_loss"] for row in history]
    assert all(map(torch.equal, head.parameters(), alone.parameters()))


def test_each_ensemble_head_is_trained_with_a_loss_of_its_own():
    torch.manual_seed(0)
    head = Head(8, 3, 4, 0.0, True)
    head.name_labels(torch.randn(3, 8), torch.tensor(TRAIN.features))
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    targets = torch.tensor(TRAIN.targets.toarray()).float()
    ensemble = head.ensemble(torch.tensor(TRAIN.features))
    expected = np.mean([bce(logits, targets).item() for logits in ensemble])
    # Nothing learns: the loss is that of the untrained head.
    how = replace(HOW, epochs=1, learning_rate=0.0)
    loss = make_loss("bce", [100] * 3, 200)
    (row,) = train_head(head, loss, TRAIN, how=how)
    assert row["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_progress_counts_every_epoch_and_changes_nothing():
    calls: list[tuple[int, int]] = []
    watched, history = trained(progress=lambda done, total: calls.append((done, total)))
    assert calls == [(epoch, 8) for epoch in range(1, 9)]
    plain, same = trained()
    assert history == same
    assert all(map(torch.equal, watched.parameters(), plain.parameters()))


def test_train_loss_is_the_mean_over_documents():
    # Nothing learns; batches of 7, and one of 4, must weigh by their documents.
    head, history = trained(epochs=1, learning_rate=0.0, batch_size=7)
    z, y = head(torch.from_numpy(TRAIN.features)), torch.from_numpy(TRAIN.targets.toarray())
    expected = torch.nn.functional.binary_cross_entropy_with_logits(z, y.float())
    assert history[0]["train_loss"] == pytest.approx(expected.item(), abs=1e-6)


def test_predict_is_the_sigmoid_of_the_logits_in_order():
    head, _ = trained(epochs=1)
    found = predict(head, VAL.features, batch_size=7)
    with torch.no_grad():
        expected = head(torch.from_numpy(VAL.features)).sigmoid().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


SHAPE = HeadShape(hidden=4, dropout=0.2, names=None)


def _bce() -> MakeLoss:
    """Defined in here, it is pickled by value: another process does not know this module."""

    def make(class_freq: np.ndarray, n_docs: int) -> torch.nn.Module:
        return make_loss("bce", class_freq, n_docs)

    return make


LOSSES = {"bce": _bce()}


def test_each_fold_is_scored_by_the_head_of_the_others():
    folds = np.arange(200) % 3
    calls: list[tuple[int, int]] = []
    found = cross_fit(
        TRAIN,
        make_plan(folds, np.zeros(200, bool)),
        LOSSES,
        shape=SHAPE,
        how=HOW,
        seed=3,
        progress=lambda done, total: calls.append((done, total)),
    )["bce"]
    assert calls[-1] == (4, 4)
    for fold in range(3):
        others = TRAIN.at(np.flatnonzero(folds != fold))
        alone = new_head(others, SHAPE, seed=3)
        train_head(alone, make_loss("bce", [1] * 3, 200), others, how=HOW, seed=3)
        mine = TRAIN.at(np.flatnonzero(folds == fold))
        np.testing.assert_allclose(
            found.scores[folds == fold], predict(alone, mine.features), atol=1e-5
        )
    assert [row["epoch"] for row in found.history] == list(range(1, 9))
    everything = new_head(TRAIN, SHAPE, seed=3)
    train_head(everything, make_loss("bce", [1] * 3, 200), TRAIN, how=HOW, seed=3)
    assert all(map(torch.equal, found.head.parameters(), everything.parameters()))


def test_what_counts_less_is_learned_less():
    """Three of five documents have the opposite of label 0, and count a thousandth for it."""
    flipped = np.arange(200) % 5 < 3
    wrong = TRAIN.targets.toarray()
    wrong[flipped, 0] = 1 - wrong[flipped, 0]
    doubt = np.zeros(wrong.shape, np.float32)
    doubt[flipped, 0] = 0.999
    targets, truth = sp.csr_matrix(wrong), VAL.targets.toarray()[:, 0]
    right = []
    for own in (None, sp.csr_matrix(doubt)):
        examples = Examples(TRAIN.features, targets, own)
        # Without a hidden layer: of four units, some may die.
        head = new_head(examples, HeadShape(hidden=0, dropout=0.0, names=None), seed=3)
        train_head(head, make_loss("bce", [1] * 3, 200), examples, how=replace(HOW, epochs=30))
        right.append(((predict(head, VAL.features)[:, 0] > 0.5) == truth).mean())
    assert right[0] < 0.4 and right[1] > 0.85


def test_doubt_about_a_document_does_not_touch_what_is_said_about_it():
    """It counts for the models that learn from it: the other fold's, and the refit."""
    folds, doubt = np.arange(200) % 2, np.zeros((200, 3), np.float32)
    doubt[0] = 0.9
    plan = make_plan(folds, np.zeros(200, bool))
    found = [
        cross_fit(Examples(TRAIN.features, TRAIN.targets, own), plan, LOSSES, shape=SHAPE, how=HOW)
        for own in (None, sp.csr_matrix(doubt))
    ]
    plain, doubted = (one["bce"] for one in found)
    np.testing.assert_array_equal(doubted.scores[folds == 0], plain.scores[folds == 0])
    assert not np.allclose(doubted.scores[folds == 1], plain.scores[folds == 1], atol=1e-4)
    assert not all(map(torch.equal, doubted.head.parameters(), plain.head.parameters()))


class Spy(nn.Module):
    """BCE that notes the targets and weights it is given."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, logits, targets, weights):
        self.seen += zip(targets.int().tolist(), weights.tolist(), strict=True)
        return (weights * logits).mean()


def test_each_head_gets_the_weights_of_its_documents():
    """Targets are the document's number in binary, so they tell which document it is."""
    targets = (np.arange(60)[:, None] >> np.arange(6)) & 1
    weights = np.random.default_rng(0).integers(1, 1000, targets.shape) / 1000
    own = Examples(
        np.ones((60, 2), np.float32), sp.csr_matrix(targets), sp.csr_matrix(np.float32(1 - weights))
    )
    for folds, rounds in ((np.arange(60) % 3, 3 * 40 + 60), (np.full(60, -1), 45)):
        seen = []
        plan, losses = make_plan(folds, np.arange(60) >= 45), {"spy": lambda *_: Spy(seen)}  # noqa: B023
        cross_fit(own, plan, losses, shape=SHAPE, how=replace(HOW, epochs=1))
        assert len(seen) == rounds
        for bits, counts in seen:
            document = sum(bit << i for i, bit in enumerate(bits))
            np.testing.assert_allclose(counts, weights[document], rtol=1e-4)


def test_processes_and_threads_change_nothing():
    many = toy(3000, 2)
    doubt = 0.9 * (np.random.default_rng(0).random(many.targets.shape) < 0.3)
    many = replace(many, doubt=sp.csr_matrix(doubt.astype(np.float32)))
    plan = make_plan(np.arange(3000) % 2, np.zeros(3000, bool))
    found = [
        cross_fit(many, plan, LOSSES, shape=SHAPE, how=HOW, n_jobs=n_jobs)["bce"]
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(found[0].scores, found[1].scores)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    again = cross_fit(many, plan, LOSSES, shape=SHAPE, how=HOW)["bce"]
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(again.scores, found[0].scores)


def test_features_in_a_file_are_those_in_memory(tmp_path):
    """Half precision, read by two processes; weights are those of the same numbers in float32."""
    many = toy(3000, 2)
    half = many.features.astype(np.float16)
    file = np.memmap(tmp_path / "features", np.float16, "w+", shape=half.shape)
    file[:] = half
    plan = make_plan(np.arange(3000) % 2, np.zeros(3000, bool))
    found = [
        cross_fit(replace(many, features=own), plan, LOSSES, shape=SHAPE, how=HOW, n_jobs=n)["bce"]
        for own, n in ((half.astype(np.float32), 1), (file, 2))
    ]
    np.testing.assert_array_equal(found[0].scores, found[1].scores)
    for one, other in zip(found[0].head.parameters(), found[1].head.parameters(), strict=True):
        assert torch.equal(one, other)


def many_labels(n_docs=400, n_labels=60, n_features=16):
    """Labels of falling frequency, each with a direction of its own."""
    rng = np.random.default_rng(5)
    share = 1 / np.arange(1, n_labels + 1)
    cells = np.zeros((n_docs, n_labels), np.int8)
    for k in range(n_docs):
        cells[k, rng.choice(n_labels, rng.integers(1, 3), p=share / share.sum())] = 1
    features = cells @ rng.normal(size=(n_labels, n_features)) + 0.3 * rng.normal(
        size=(n_docs, n_features)
    )
    return Examples(features.astype(np.float32), sp.csr_matrix(cells))


NAMED = HeadShape(8, 0.0, np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32))


@pytest.mark.parametrize("shape", [NAMED, HeadShape(0, 0.0, None)])
@pytest.mark.parametrize("doubted", [False, True])
def test_the_loss_of_some_labels_is_on_average_that_of_all(shape, doubted):
    examples = many_labels()
    if doubted:
        doubt = 0.5 * (np.random.default_rng(1).random((400, 60)) < 0.2).astype(np.float32)
        examples = replace(examples, doubt=sp.csr_matrix(doubt))
    head = new_head(examples, shape, seed=0)
    loss = make_loss("bce", class_frequencies(examples.targets), 400)
    torch.nn.init.normal_(head.layers[-1].weight, std=2.0)  # as far apart as trained ones
    rows, rng = np.arange(8), np.random.default_rng(0)

    def value(how):
        own, answers, labels = heads._of_batch(loss, examples.at(rows), head, how, rng)
        ensemble = head.ensemble(torch.tensor(examples.features[rows]), labels)
        return float(torch.stack([own(logits, *answers) for logits in ensemble]).mean().detach())

    every = value(HOW)
    assert value(replace(HOW, negatives=59)) == every, "as many as there are"
    drawn = [value(replace(HOW, negatives=10)) for _ in range(400)]
    assert np.std(drawn) > 0.01 * every
    assert np.mean(drawn) == pytest.approx(every, abs=4 * np.std(drawn) / 400**0.5)


@pytest.mark.parametrize("shape", [NAMED, HeadShape(8, 0.0, None)])
def test_a_head_learns_from_some_labels_of_each_batch(shape):
    examples = many_labels(600)
    how = HeadTraining(learning_rate=0.05, weight_decay=0.0, epochs=8, batch_size=32, bf16=False)
    f1 = []
    for negatives in (60, 20):
        with one_thread("cpu"):
            head = new_head(examples, shape, seed=0)
            loss = make_loss("bce", class_frequencies(examples.targets), 600)
            train_head(head, loss, examples, how=replace(how, negatives=negatives))
        f1.append(validation_f1(predict(head, examples.features), examples.targets)["micro_f1"])
    assert f1[0] > 0.75 and f1[1] > f1[0] - 0.05


class Remembering(dict):
    """Keeps rounds, and counts what it knew."""

    def known(self, key):
        self.hits = getattr(self, "hits", 0) + (key in self)
        return self.get(key)

    put = dict.__setitem__


FOCAL = partial(make_loss, "focal")


def one_fit(memory, examples=TRAIN, n_folds=3, loss=FOCAL, **given):
    plan = make_plan(np.arange(200) % n_folds, np.zeros(200, bool))
    how = {"shape": SHAPE, "how": HOW} | given
    return cross_fit(examples, plan, {"own": loss}, memory=memory, **how)["own"]


def test_what_is_remembered_is_not_trained_again():
    memory, calls = Remembering(), []
    first, plain = one_fit(memory), one_fit(None)
    assert len(memory) == 4
    # What SciPy notes in a matrix while it is used does not make it another one.
    same = Examples(TRAIN.features.copy(), sp.csr_matrix(TRAIN.targets.toarray()))
    again = one_fit(memory, same, progress=lambda *done: calls.append(done))
    assert (memory.hits, calls) == (4, [])
    for found in (plain, again):
        np.testing.assert_array_equal(found.scores, first.scores)
        assert found.history == first.history
        assert all(map(torch.equal, found.head.parameters(), first.head.parameters()))
    lost = next(iter(memory))
    del memory[lost]
    assert one_fit(memory, progress=lambda *done: calls.append(done)).history == first.history
    assert calls == [(1, 1)]
    assert lost in memory


OTHER = TRAIN.targets.toarray()
OTHER[7, 1] ^= 1
DOUBT = sp.csr_matrix(([0.5], ([3], [0])), (200, 3), dtype=np.float32)


@pytest.mark.parametrize(
    "change",
    [
        {"examples": replace(TRAIN, targets=sp.csr_matrix(OTHER))},
        {"examples": replace(TRAIN, features=TRAIN.features + 1e-3)},
        {"examples": replace(TRAIN, doubt=DOUBT)},
        {"loss": partial(make_loss, "bce")},
        {"loss": partial(make_loss, "focal", gamma=1.0)},
        {"shape": replace(SHAPE, hidden=5)},
        {"shape": replace(SHAPE, dropout=0.1)},
        {"shape": replace(SHAPE, names=np.ones((3, 8), np.float32))},
        {"how": replace(HOW, learning_rate=0.04)},
        {"how": replace(HOW, weight_decay=0.0)},
        {"how": replace(HOW, epochs=9)},
        {"how": replace(HOW, batch_size=32)},
        {"how": replace(HOW, bf16=True)},
        {"keep": Keep(3, 0.5)},
        {"seed": 1},
        {"n_folds": 4},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_made_from_anything_else_is_not_remembered(change):
    memory = Remembering()
    one_fit(memory)
    before = len(memory)
    one_fit(memory, **change)
    # With another number of folds the refit is the same; all else touches every head.
    same = 1 if "n_folds" in change else 0
    assert memory.hits == same
    assert len(memory) == before + change.get("n_folds", 3) + 1 - same


def test_processes_remember_what_one_alone_does():
    many, memory = toy(3000, 2), Remembering()
    plan = make_plan(np.arange(3000) % 2, np.zeros(3000, bool))
    losses = {"bce": partial(make_loss, "bce")}
    for n_jobs in (2, 1):
        cross_fit(many, plan, losses, shape=SHAPE, how=HOW, n_jobs=n_jobs, memory=memory)
    assert (len(memory), memory.hits) == (3, 3)


def test_a_document_is_not_learned_from_by_what_scores_it():
    """One document has a label that nobody else has, and a feature that shouts it."""
    features = np.vstack([TRAIN.features, np.full((1, 8), 9.0, dtype=np.float32)])
    targets = sp.csr_matrix(sp.block_diag([TRAIN.targets, [[1]]]), dtype=np.int8)
    examples, folds = Examples(features, targets), np.arange(201) % 4
    how = replace(HOW, epochs=30)
    plan = make_plan(folds, np.zeros(201, bool))
    found = cross_fit(examples, plan, LOSSES, shape=replace(SHAPE, hidden=0), how=how)["bce"]
    assert found.scores[200, 3] < 0.2
    assert predict(found.head, features)[200, 3] > 0.8, "the refit has learned from it"
