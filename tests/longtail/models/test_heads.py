"""Training the head on features: seeds, the best epoch, a separable toy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from longtail.evaluation.selection import validation_f1
from longtail.losses import make_loss
from longtail.models.classifier import Head
from longtail.models.heads import Examples, HeadTraining, predict, train_head
from longtail.models.progress import Progress, silent


def toy(n_docs: int, seed: int) -> Examples:
    """Label i is on where feature i is positive."""
    features = np.random.default_rng(seed).normal(size=(n_docs, 8)).astype(np.float32)
    return Examples(features, sp.csr_matrix((features[:, :3] > 0).astype(np.int8)))


TRAIN, VAL = toy(200, 0), toy(80, 1)
HOW = HeadTraining(learning_rate=0.05, weight_decay=0.01, epochs=8, batch_size=64)


def trained(*, seed: int = 0, progress: Progress = silent, **how):
    torch.manual_seed(0)
    head = Head(8, 3, 0, 0.0, False)
    loss = make_loss("bce", [100] * 3, 200)
    settings = replace(HOW, **how)
    return head, train_head(head, loss, TRAIN, VAL, how=settings, seed=seed, progress=progress)


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


def test_keeps_the_best_epoch():
    opposite = Examples(TRAIN.features, sp.csr_matrix(1 - TRAIN.targets.toarray()))
    head, _ = trained()  # it knows the toy, then unlearns it
    how = replace(HOW, epochs=6)
    history = train_head(head, make_loss("bce", [100] * 3, 200), opposite, VAL, how=how)
    figures = [row["mean_f1"] for row in history]
    assert figures.index(max(figures)) < 5 and max(figures) > figures[-1]
    now = validation_f1(predict(head, VAL.features), VAL.targets)
    assert now["mean_f1"] == max(figures)


def test_each_ensemble_head_is_trained_with_a_loss_of_its_own():
    torch.manual_seed(0)
    head = Head(8, 3, 4, 0.0, True)
    head.name_labels(torch.randn(3, 8), torch.tensor(TRAIN.features))
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    targets = torch.tensor(TRAIN.targets.toarray()).float()
    ensemble = head.ensemble(torch.tensor(TRAIN.features))
    expected = np.mean([bce(logits, targets).item() for logits in ensemble])
    # One batch: the first loss is that of the untrained head.
    how = replace(HOW, epochs=1, batch_size=len(TRAIN.features))
    loss = make_loss("bce", [100] * 3, 200)
    (row,) = train_head(head, loss, TRAIN, VAL, how=how)
    assert row["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_evaluates_every_nth_epoch_and_the_last():
    _, history = trained(epochs=8, evaluate_every=3)
    assert [row["epoch"] for row in history] == [3, 6, 8]


def test_progress_counts_every_epoch_and_changes_nothing():
    calls: list[tuple[int, int]] = []
    watched, history = trained(
        evaluate_every=3, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(epoch, 8) for epoch in range(1, 9)]
    plain, same = trained(evaluate_every=3)
    assert history == same
    assert all(map(torch.equal, watched.parameters(), plain.parameters()))


def test_train_loss_is_the_mean_over_documents():
    # Nothing learns; batches of 64, 64, 64 and 8 must weigh by their documents.
    head, history = trained(epochs=1, learning_rate=0.0)
    z, y = head(torch.from_numpy(TRAIN.features)), torch.from_numpy(TRAIN.targets.toarray())
    expected = torch.nn.functional.binary_cross_entropy_with_logits(z, y.float())
    assert history[0]["train_loss"] == pytest.approx(expected.item(), abs=1e-6)


def test_predict_is_the_sigmoid_of_the_logits_in_order():
    head, _ = trained(epochs=1)
    found = predict(head, VAL.features, batch_size=7)
    with torch.no_grad():
        expected = head(torch.from_numpy(VAL.features)).sigmoid().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
