"""Pooling, padding, label names and the round trip to disk."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils.logging import is_progress_bar_enabled

from longtail.models import classifier
from longtail.models.classifier import Head, LabelSimilarity
from longtail.models.encoder import load_encoder
from longtail.models.features import extract_features
from tests.builders.small_project import small_corpus, write_encoder

LABELS = [f"label-{i}" for i in range(12)]
TEXTS = ["word1 cue0a", "word2 word3 word4 cue1b word5 word6", "cue2a", *small_corpus(6)["text"]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder(folder)
    torch.manual_seed(1)
    built = classifier.build(
        *load_encoder(str(folder)), LABELS, hidden=8, dropout=0.2, max_length=12, label_names=True
    )
    built.head.name_labels(torch.randn(12, 128), torch.randn(30, 128))
    return built.eval()


@torch.inference_mode()
def test_pooling_equals_numpy_on_each_text_alone(model):
    ids = model.tokenize(TEXTS)
    for rows, input_ids, mask in model.batches(ids, 1000):
        assert mask.min() == 0, "the batch must have padding"
        found = model.features(input_ids, mask).numpy()
        for row, features in zip(rows, found, strict=True):
            out = model.encoder(torch.tensor([ids[row]]), output_hidden_states=True)
            last, middle = out.last_hidden_state[0].numpy(), out.hidden_states[1][0].numpy()
            alone = np.concatenate([last.mean(0), last[0], last.max(0), middle.mean(0)])
            np.testing.assert_allclose(features, alone, atol=2e-6)


def test_scores_keep_the_texts_order_whatever_the_batches(model):
    together = model.scores(TEXTS)
    assert together.dtype == np.float32 and together.shape == (len(TEXTS), 12)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(model.scores([text])[0], together[row], atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_round_trip_keeps_scores_settings_and_label_order(model, tmp_path):
    classifier.save(model, tmp_path)
    again = classifier.load(tmp_path)
    assert not again.training
    assert again.labels == LABELS  # as strings, "10" sorts before "2"
    names = ("hidden", "dropout", "max_length", "label_names")
    assert [getattr(again.config, n) for n in names] == [8, 0.2, 12, True]
    assert np.array_equal(again.scores(TEXTS), model.scores(TEXTS))


def test_saving_and_loading_print_nothing(model, tmp_path, capfd, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    monkeypatch.setattr("transformers.utils.logging._tqdm_active", True)
    write_encoder(tmp_path / "encoder")
    capfd.readouterr()
    classifier.save(model, tmp_path / "model")
    classifier.load(tmp_path / "model")
    load_encoder(str(tmp_path / "encoder"))
    assert capfd.readouterr() == ("", "") and not caplog.records
    assert is_progress_bar_enabled(), "bars come back for others"


def test_features_come_in_order_and_progress_counts_the_documents(model):
    calls: list[tuple[int, int]] = []
    watched = extract_features(
        model, TEXTS, batch_tokens=40, progress=lambda done, total: calls.append((done, total))
    )
    done = [n for n, _ in calls]
    assert len(calls) > 2 and done == sorted(set(done)) and done[-1] == len(TEXTS)
    assert {total for _, total in calls} == {len(TEXTS)}
    assert np.array_equal(watched, extract_features(model, TEXTS, batch_tokens=40))
    assert np.array_equal(watched, extract_features(model, TEXTS, batch_tokens=40, n_jobs=3))
    alone = np.concatenate([extract_features(model, [text]) for text in TEXTS])
    np.testing.assert_allclose(watched, alone, atol=2e-6)


@pytest.mark.parametrize("n_labels", [1, 2])
def test_one_or_two_labels_survive_the_round_trip(tmp_path, n_labels):
    write_encoder(tmp_path / "encoder")
    encoder = load_encoder(str(tmp_path / "encoder"))
    small = classifier.build(*encoder, LABELS[:n_labels], hidden=0, dropout=0.0, max_length=12)
    classifier.save(small, tmp_path / "model")
    again = classifier.load(tmp_path / "model")
    assert again.labels == LABELS[:n_labels]
    assert np.array_equal(again.scores(TEXTS), small.eval().scores(TEXTS))


def test_texts_are_cut_at_max_length(model):
    (ids,) = model.tokenize([" ".join(["word1"] * 50)])
    assert len(ids) == 12 and ids[0] == 2 and ids[-1] == 3
    assert model.tokenize([]) == []


def test_similarity_statistics_equal_those_of_the_whole_cosine_matrix():
    generator = torch.Generator().manual_seed(0)
    names = torch.randn(5, 28, generator=generator)
    features = torch.randn(40, 28, generator=generator) * 3 + 1
    head = Head(28, 5, 0, 0.0, label_names=True)
    head.name_labels(names, features)
    similarity, names, texts = head.similarities[0], names[:, :7], features[:, :7]
    a, b = texts.double().numpy(), names.double().numpy()
    cosine = (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    np.testing.assert_allclose(similarity.mean, cosine.mean(0), atol=1e-6)
    np.testing.assert_allclose(similarity.std, cosine.std(0), atol=1e-6)
    expected = 2 * (cosine - cosine.mean(0)) / cosine.std(0)
    np.testing.assert_allclose(similarity(texts).detach(), expected, atol=1e-5)


def test_similarity_projects_the_text_before_it_is_compared():
    similarity = LabelSimilarity(2, 2, weight=1.0)
    similarity.fit(torch.eye(2), torch.tensor([0.8, 0.4]), torch.tensor([[0.04, 0], [0, 0.16]]))
    mean, std = similarity.mean.numpy(), similarity.std.numpy()
    with torch.no_grad():
        similarity.projection.copy_(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
        similarity.prototypes.copy_(torch.tensor([[5.0, 0.0], [0.0, 0.5]]))
        similarity.weight.copy_(torch.tensor([1.0, 3.0]))
    # (3, 4)/5 becomes (4, 6)/5, so the cosines are 4/√52 and 6/√52.
    cosine = np.array([4, 6]) / np.sqrt(52)
    expected = [1, 3] * (cosine - mean) / std
    actual = similarity(torch.tensor([[3.0, 4.0]])).detach().numpy()[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_mean_of_the_layers_with_names_and_of_names_alone():
    torch.manual_seed(0)
    named, plain = Head(8, 3, 4, 0.0, True), Head(8, 3, 4, 0.0, False)
    plain.load_state_dict({n: v for n, v in named.state_dict().items() if "simil" not in n})
    features, names = torch.randn(6, 8), torch.randn(3, 8)
    named.name_labels(names, features)
    beside, alone = (one(features[:, :2]) for one in named.similarities)
    torch.testing.assert_close(beside, 4 * alone)  # they start at weights 2 and 0.5
    torch.testing.assert_close(named(features), (plain(features) + beside + alone) / 2)
    torch.testing.assert_close(named.ensemble(features)[0], plain(features) + beside)
    assert torch.equal(plain.ensemble(features)[0], plain(features))


def test_standardize_by_train_leaves_dead_features_at_zero():
    head = Head(4, 2, 0, 0.0, False)
    head.standardize_by(torch.tensor([[1.0, 5.0, 0.0, 2.0], [3.0, 5.0, 4.0, 2.0]]))
    assert head.mean.tolist() == [2, 5, 2, 2]
    assert head.std.tolist() == pytest.approx([1, 0.075, 2, 0.075])  # a tenth of the mean, 0.75
    torch.nn.init.ones_(head.layers[-1].weight)
    torch.nn.init.zeros_(head.layers[-1].bias)
    assert head(torch.tensor([[4.0, 5.0, 0.0, 2.0]])).tolist() == [[1.0, 1.0]]
    # Fine-tuning wakes dead features by steps of about 1e-4: they must not drown the others.
    woken = head(torch.tensor([[4.0, 5.0001, 0.0, 2.0001]]))
    torch.testing.assert_close(woken, torch.ones(1, 2), atol=0.01, rtol=0)


def test_standardize_by_features_that_are_all_dead():
    head = Head(4, 2, 0, 0.0, False)
    head.standardize_by(torch.ones(3, 4))
    assert torch.isfinite(head(torch.ones(3, 4))).all()


@pytest.mark.parametrize("hidden", [0, 6])
def test_start_from_prior_gives_smoothed_log_odds(hidden):
    head = Head(4, 3, hidden, 0.0, False)
    head.start_from_prior(torch.tensor([0, 8, 4]), 8)
    # (n + 1) / (N + 2) = 0.1, 0.9, 0.5
    assert head.layers[-1].bias.tolist() == pytest.approx([-np.log(9), np.log(9), 0], abs=1e-5)


def test_weights_of_another_structure_are_rejected(model, tmp_path):
    """Such as those of a release before there were two ensemble heads."""
    classifier.save(model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    older = {n.replace("similarities.0", "similarity"): w for n, w in weights.items()}
    save_file(older, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"do not match the model: head\.similar\S+ and 9 more"):
        classifier.load(tmp_path)
