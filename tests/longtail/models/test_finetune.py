"""Fine-tuning on a tiny random BERT: best epoch, resume after a kill, freezing, accumulation."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn
from torch.nn import functional
from transformers import TrainerCallback

from longtail import label_matrix
from longtail.errors import ParameterError
from longtail.evaluation.selection import validation_f1
from longtail.losses import make_loss
from longtail.models import classifier
from longtail.models.batching import TokenBudgetSampler
from longtail.models.documents import Collator, Documents
from longtail.models.encoder import load_encoder
from longtail.models.finetune import (
    FineTuning,
    TokenBudgetTrainer,
    _last_checkpoint,
    _loss_function,
    fine_tune,
    freeze,
    make_trainer,
    refit,
)
from tests.builders.paths import ROOT
from tests.builders.small_project import LABELS, small_corpus, write_encoder

# In float32 on every device: the tests compare runs to the sixth digit.
HOW = FineTuning(
    learning_rate=1e-3,
    head_learning_rate=1e-2,
    weight_decay=0.01,
    warmup=0.1,
    epochs=2,
    patience=4,
    batch_tokens=512,
    accumulation=1,
    frozen_layers=-1,
    dropout=0.0,
    bf16=False,
)
STILL = replace(HOW, learning_rate=0.0, head_learning_rate=0.0, weight_decay=0.0)


def bce():
    return make_loss("bce", [10] * len(LABELS), 40)


def model_and_documents(folder: Path, texts: list[str] | None = None):
    """A classifier with a fixed start, 40 train and 20 val documents; nothing is random later."""
    if not (folder / "config.json").exists():
        write_encoder(folder)
    corpus = small_corpus(60)
    torch.manual_seed(0)
    encoder, tokenizer = load_encoder(str(folder))
    model = classifier.build(encoder, tokenizer, LABELS, hidden=8, dropout=0.1, max_length=24)
    targets = label_matrix.encode(corpus["labels"].tolist(), LABELS)
    ids = model.tokenize(texts or corpus["text"].tolist())
    return model, Documents(ids[:40], targets[:40]), Documents(ids[40:], targets[40:]), corpus


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder(folder)
    return folder


def weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def max_difference(a, b):
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


@pytest.mark.parametrize("objective", ["micro_f1", "mean_f1"])
def test_the_model_ends_with_its_best_epoch(encoder_folder, tmp_path, objective):
    model, train, val, corpus = model_and_documents(encoder_folder)
    # It learns the opposite of the truth, so a later epoch is worse than an earlier one.
    train.targets = sp.csr_matrix(1 - train.targets.toarray())
    how = replace(HOW, epochs=4, patience=9)
    history = fine_tune(
        model, bce(), train, val, how=how, checkpoints=tmp_path, objective=objective
    )
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    figures = [row[objective] for row in history]
    assert max(figures) > figures[-1], "the toy must not be best at its end"
    scores = model.scores(corpus["text"].tolist()[40:])
    now = validation_f1(scores, val.targets)
    best = history[int(np.argmax(figures))]
    assert now == pytest.approx({name: best[name] for name in now}, abs=1e-9)


def test_two_epochs_learn_and_leave_the_weights_of_the_best_checkpoint(encoder_folder, tmp_path):
    model, train, val, _ = model_and_documents(encoder_folder)
    history = fine_tune(model, bce(), train, val, how=HOW, checkpoints=tmp_path)
    assert history[1]["train_loss"] < history[0]["train_loss"]
    steps = sorted(int(path.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*"))
    best = steps[int(np.argmax([row["micro_f1"] for row in history]))]
    assert (
        max_difference(
            weights(model),
            weights(classifier.Classifier.from_pretrained(tmp_path / f"checkpoint-{best}")),
        )
        == 0
    )


def test_a_run_that_stopped_early_is_not_trained_on(encoder_folder, tmp_path):
    """Started again, it ends as it has ended, although its patience is over only once."""
    model, train, val, _ = model_and_documents(encoder_folder)
    start = copy.deepcopy(model)
    how = replace(HOW, epochs=6, patience=1)
    val.targets = sp.csr_matrix(1 - val.targets.toarray())
    history = fine_tune(model, bce(), train, val, how=how, checkpoints=tmp_path)
    assert len(history) < 6
    files = sorted(path.name for path in tmp_path.iterdir())
    assert fine_tune(start, bce(), train, val, how=how, checkpoints=tmp_path) == history
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert max_difference(weights(start), weights(model)) == 0


def test_a_refit_repeats_what_led_to_the_best_epoch(encoder_folder, tmp_path):
    """On the same documents it ends with the same weights, although fewer epochs are run."""
    model, train, val, _ = model_and_documents(encoder_folder)
    start = copy.deepcopy(model)
    how = replace(HOW, epochs=5)
    val.targets = sp.csr_matrix(1 - val.targets.toarray())  # an early epoch is the best
    history = fine_tune(model, bce(), train, val, how=how, checkpoints=tmp_path / "fit", seed=3)
    best = int(np.argmax([row["micro_f1"] for row in history])) + 1
    assert best < 5
    copied = copy.deepcopy(start)
    refit(start, bce(), train, best, how=how, checkpoints=tmp_path / "refit", seed=3)
    assert max_difference(weights(start), weights(model)) < 1e-6
    # Killed after its last checkpoint: nothing is trained twice.
    refit(copied, bce(), train, best, how=how, checkpoints=tmp_path / "refit", seed=3)
    assert max_difference(weights(copied), weights(model)) < 1e-6


def test_progress_counts_the_optimizer_steps_and_changes_nothing(encoder_folder, tmp_path, capfd):
    calls, ends = [], []
    for folder, options in (
        ("silent", {}),
        ("watched", {"progress": lambda done, total: calls.append((done, total))}),
    ):
        model, train, val, _ = model_and_documents(encoder_folder)
        history = fine_tune(
            model, bce(), train, val, how=HOW, checkpoints=tmp_path / folder, **options
        )
        ends.append((weights(model), [row["train_loss"] for row in history]))
    n_steps = calls[-1][0]
    assert n_steps > HOW.epochs
    assert calls == [(step, n_steps) for step in range(1, n_steps + 1)]
    assert max_difference(ends[0][0], ends[1][0]) == 0 and ends[0][1] == ends[1][1]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("patience", [1, 2])
def test_early_stopping_waits_patience_epochs(encoder_folder, tmp_path, patience):
    model, train, val, _ = model_and_documents(encoder_folder)
    how = replace(STILL, epochs=6, patience=patience)
    history = fine_tune(model, bce(), train, val, how=how, checkpoints=tmp_path)
    assert len(history) == 1 + patience


def test_frozen_layers_keep_their_weights_bitwise(encoder_folder, tmp_path):
    model, train, val, _ = model_and_documents(encoder_folder)
    before = weights(model)
    how = replace(HOW, epochs=1, frozen_layers=1)
    fine_tune(model, bce(), train, val, how=how, checkpoints=tmp_path)
    changed = {n for n, value in weights(model).items() if not torch.equal(value, before[n])}
    frozen = ("encoder.embeddings.", "encoder.encoder.layer.0.")
    assert not [name for name in changed if name.startswith(frozen)]
    trained = [name for name, _ in model.named_parameters() if not name.startswith(frozen)]
    # The pooler takes no part in the logits; a key's bias shifts all of softmax's inputs alike.
    silent = ("encoder.pooler", "attention.self.key.bias")
    assert {n for n in trained if not any(part in n for part in silent)} <= changed


def test_too_many_frozen_layers_are_rejected_by_name(encoder_folder):
    model, *_ = model_and_documents(encoder_folder)
    with pytest.raises(ParameterError, match="frozen_layers is 3.*2 layers.*-1"):
        freeze(model, 3)


def test_freezing_minus_one_freezes_nothing_and_zero_the_embeddings(encoder_folder):
    model, *_ = model_and_documents(encoder_folder)
    freeze(model, -1)
    assert all(p.requires_grad for p in model.parameters())
    freeze(model, 0)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {
        f"encoder.embeddings.{n}" for n, _ in model.encoder.embeddings.named_parameters()
    }


def test_accumulating_two_halves_equals_one_larger_batch(encoder_folder, tmp_path):
    """All 40 documents of 16 tokens: in one batch of 640, or in two of 320 accumulated."""
    words = small_corpus(60)["text"]
    texts = [" ".join(text.split()[:14]) for text in words]
    ends = []
    for name, tokens, accumulation in (("one", 640, 1), ("two", 320, 2)):
        model, train, val, _ = model_and_documents(encoder_folder, texts)
        assert set(train.lengths) == {16}
        model.head.layers[2].p = 0.0  # dropout would draw other masks for other shapes
        how = replace(
            HOW,
            learning_rate=5e-5,
            head_learning_rate=2e-4,
            epochs=3,
            batch_tokens=tokens,
            accumulation=accumulation,
            warmup=0.0,
        )
        history = fine_tune(model, bce(), train, val, how=how, checkpoints=tmp_path / name)
        state = json.loads(
            (Path(_last_checkpoint(tmp_path / name)) / "trainer_state.json").read_text()
        )
        assert state["global_step"] == 3, "one optimizer step per epoch"
        ends.append((weights(model), [row["train_loss"] for row in history]))
    assert max_difference(ends[0][0], ends[1][0]) < 1e-5
    assert ends[0][1] == pytest.approx(ends[1][1], abs=1e-5)


@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_every_document_weighs_the_same_whatever_its_length(encoder_folder, tmp_path, accumulation):
    """The gradients of an epoch's steps add up to that of the mean over all documents.

    Nothing learns, so every step has the gradient at the start. Batches of 64 tokens hold 2 long
    documents or 4 short ones; means over batches would weigh a long one twice as much.
    """
    model, train, val, _ = model_and_documents(encoder_folder)
    lengths = np.resize([4, 8, 16, 24], 40)
    train = Documents(
        [ids[:n] for ids, n in zip(train.token_ids, lengths, strict=True)], train.targets
    )
    model.head.layers[2].p = 0.0
    how = replace(STILL, epochs=1, batch_tokens=64, accumulation=accumulation)
    trainer = make_trainer(model, bce(), train, val, how=how, checkpoints=tmp_path)
    steps = GradientsOfSteps()
    trainer.add_callback(steps)
    trainer.train()
    sizes = [len(batch) for batch in TokenBudgetSampler(train.lengths, 64, seed=0)]
    assert set(sizes) == {2, 4}
    assert len(steps.gradients) == -(-len(sizes) // accumulation)

    expected = gradient_of_the_mean_over_documents(model, train)
    per_step = accumulation * 40 / len(sizes)
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-3
    for name, value in expected.items():
        found = sum(step[name] for step in steps.gradients) * per_step / 40
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-7)


class GradientsOfSteps(TrainerCallback):
    """Keeps the gradients of every optimizer step."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients.append(
            {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        )


def gradient_of_the_mean_over_documents(model, documents):
    """One document at a time, without batches, padding or the trainer."""
    model.zero_grad()
    model.eval()
    for row in range(len(documents)):
        ids = torch.tensor([documents.token_ids[row]])
        logits = model.logits(ids, torch.ones_like(ids))
        truth = torch.tensor(documents.targets[row].toarray(), dtype=torch.float32)
        loss = functional.binary_cross_entropy_with_logits(logits, truth)
        (loss / len(documents)).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_the_loss_of_a_batch_counts_its_documents():
    logits, targets = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.5, 0.7]]), torch.eye(3)[:, :2]
    whole = functional.binary_cross_entropy_with_logits(logits, targets)
    compute = _loss_function(make_loss("bce", [1, 1], 3), documents_per_step=1.5)
    assert compute({"logits": logits}, targets).item() == pytest.approx(2 * whole.item(), abs=1e-6)
    parts = [
        compute({"logits": logits[rows]}, targets[rows], torch.tensor(6)).item()
        for rows in (slice(0, 1), slice(1, 3))
    ]
    assert sum(parts) == pytest.approx(2 * whole.item(), abs=1e-6)


def test_collator_pads_ids_and_makes_targets_dense(encoder_folder):
    model, train, *_ = model_and_documents(encoder_folder)
    train.token_ids = [[2, 7, 3], [2, 3]]
    batch = Collator(model.tokenizer)([train[0], train[1]])
    assert batch["input_ids"].tolist() == [[2, 7, 3], [2, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].dtype == torch.float32
    assert batch["labels"].tolist() == train.targets[:2].toarray().tolist()


def test_what_entries_count_goes_with_the_targets_into_the_loss(encoder_folder):
    model, train, *_ = model_and_documents(encoder_folder)
    doubt = np.zeros(train.targets.shape, np.float32)
    doubt[1, 0], doubt[0, 2] = 0.75, 0.5
    doubted = Documents(train.token_ids, train.targets, sp.csr_matrix(doubt))
    batch = Collator(model.tokenizer)([doubted[0], doubted[1]])
    targets, counts = batch["labels"].unbind(1)
    assert targets.tolist() == train.targets[:2].toarray().tolist()
    assert counts.tolist() == (1 - doubt[:2]).tolist()
    logits = torch.linspace(-1, 1, targets.numel()).reshape(targets.shape)
    n_labels = targets.shape[1]
    compute = _loss_function(make_loss("bce", [1] * n_labels, 3), documents_per_step=4)
    expected = functional.binary_cross_entropy_with_logits(logits, targets, counts) * 2 / 4
    assert compute({"logits": logits}, batch["labels"]).item() == pytest.approx(expected.item())


def test_a_run_counts_entries_by_their_weights(encoder_folder, tmp_path):
    """Nothing moves; an entry of label 0 counts a quarter, and others count nothing."""
    found = []
    for name, of_label_0, of_others in (("alone", 0.0, 1.0), ("quarter", 0.75, 1.0)):
        model, train, val, _ = model_and_documents(encoder_folder)
        doubt = np.full(train.targets.shape, of_others, np.float32)
        doubt[:, 0] = of_label_0
        doubted = Documents(train.token_ids, train.targets, sp.csr_matrix(doubt))
        how = replace(STILL, epochs=1)
        [row] = fine_tune(model, bce(), doubted, val, how=how, checkpoints=tmp_path / name)
        found.append(row["train_loss"])
    assert found[1] == pytest.approx(found[0] / 4, rel=1e-4)


def test_each_document_brings_its_own_weights_whatever_the_batch(encoder_folder, tmp_path):
    """Targets are the document's number in binary; every second document has no doubt at all."""
    model, train, val, _ = model_and_documents(encoder_folder)
    n_docs, n_labels = train.targets.shape
    assert 2**n_labels > n_docs
    targets = (np.arange(n_docs)[:, None] >> np.arange(n_labels)) & 1
    weights = np.random.default_rng(0).integers(1, 1000, targets.shape) / 1000
    weights[::2] = 1
    doubt = sp.csr_matrix((1 - weights).astype(np.float32))
    seen = []

    class Spy(nn.Module):
        def forward(self, logits, targets, weights=None):
            if weights is not None:  # train, not val
                seen.extend(zip(targets.int().tolist(), weights.tolist(), strict=True))
            return logits.mean()

    doubted = Documents(train.token_ids, sp.csr_matrix(targets.astype(np.int8)), doubt)
    how = replace(STILL, epochs=1)
    fine_tune(model, Spy(), doubted, val, how=how, checkpoints=tmp_path)
    numbers = [sum(bit << i for i, bit in enumerate(bits)) for bits, _ in seen]
    assert sorted(numbers) == list(range(n_docs))
    np.testing.assert_allclose([row for _, row in seen], weights[numbers], rtol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="patches the CPU's capabilities")
@pytest.mark.parametrize(
    ("has", "asked", "expected"),
    [
        ({"avx512_bf16": True}, True, torch.bfloat16),
        ({"amx_bf16": True}, True, torch.bfloat16),
        ({"avx512_bf16": True}, False, torch.float32),
        ({"avx2": True, "avx512_bf16": False}, True, torch.float32),  # emulated, so slower
    ],
)
def test_the_encoder_computes_in_bf16_where_the_device_does(
    encoder_folder, tmp_path, monkeypatch, has, asked, expected
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    model, train, val, _ = model_and_documents(encoder_folder)
    computed, logits_in_loss = set(), set()
    dense = model.encoder.encoder.layer[0].intermediate.dense
    dense.register_forward_hook(lambda module, given, out: computed.add(out.dtype))
    loss = bce()
    loss.register_forward_pre_hook(lambda module, given: logits_in_loss.add(given[0].dtype))
    how = replace(HOW, epochs=1, bf16=asked)
    fine_tune(model, loss, train, val, how=how, checkpoints=tmp_path)
    assert computed == {expected}
    assert logits_in_loss == {torch.float32}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_dead_feature_does_not_drown_the_others_when_it_wakes(encoder_folder, tmp_path):
    """Dimensions of MiniLM's last layer have weights of 1e-9; divided by them, logits exploded."""
    model, train, val, _ = model_and_documents(encoder_folder)
    last = model.encoder.encoder.layer[-1].output.LayerNorm
    with torch.no_grad():
        last.weight[3] = last.bias[3] = 1e-9
    inputs = [(torch.tensor([ids]), torch.ones(1, len(ids))) for ids in train.token_ids]

    @torch.no_grad()
    def of_train(function):
        model.eval()
        return torch.cat([function(*document) for document in inputs])

    model.head.standardize_by(of_train(model.features))
    before = of_train(model.logits)
    how = replace(HOW, epochs=1, learning_rate=5e-5, head_learning_rate=1e-9)
    fine_tune(model, bce(), train, val, how=how, checkpoints=tmp_path)
    assert 0 < float((of_train(model.logits) - before).abs().max()) < 0.1


def test_every_epoch_has_every_document_once_in_another_order(encoder_folder, tmp_path):
    seen: list[list[int]] = []

    class Watched(Documents):
        def __getitem__(self, row):
            seen.append(row)
            return super().__getitem__(row)

    model, train, val, _ = model_and_documents(encoder_folder)
    watched = Watched(train.token_ids, train.targets)
    fine_tune(model, bce(), watched, val, how=HOW, checkpoints=tmp_path)
    first, second = seen[:40], seen[40:]
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    assert _last_checkpoint(tmp_path / "none") is None
    for step in (9, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step < 11:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert _last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")


def train_whole(encoder: Path, checkpoints: Path, after_save=None):
    """Three epochs, with dropout in the head, so that the generators' states matter too."""
    model, train, val, _ = model_and_documents(encoder)
    how = replace(HOW, epochs=3, batch_tokens=256, dropout=0.1)
    if after_save is not None:
        plain = TokenBudgetTrainer._save_checkpoint

        def save(self, *args, **kwargs):
            plain(self, *args, **kwargs)
            after_save()

        TokenBudgetTrainer._save_checkpoint = save
    history = fine_tune(model, bce(), train, val, how=how, checkpoints=checkpoints, seed=3)
    return weights(model), history


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_run_killed_after_its_first_checkpoint_ends_as_an_undisturbed_one(
    encoder_folder, tmp_path
):
    code = (
        "import sys; from pathlib import Path; import tests.longtail.models.test_finetune as t;"
        "t.train_whole(Path(sys.argv[1]), Path(sys.argv[2]), t.kill_this_process)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(encoder_folder), str(tmp_path / "killed")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=200,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    (first,) = (tmp_path / "killed").glob("checkpoint-*")
    step = json.loads((first / "trainer_state.json").read_text())
    assert step["epoch"] == 1.0
    # A mark in the saved log: a run that began anew would end alike, but without it.
    step["log_history"][0]["loss"] = 123.0
    (first / "trainer_state.json").write_text(json.dumps(step))

    undisturbed, history = train_whole(encoder_folder, tmp_path / "undisturbed")
    resumed, resumed_history = train_whole(encoder_folder, tmp_path / "killed")
    assert max_difference(undisturbed, resumed) < 1e-6
    assert [row["epoch"] for row in resumed_history] == [1, 2, 3]
    assert resumed_history[0].pop("train_loss") == 123.0
    history[0].pop("train_loss")
    for row, other in zip(history, resumed_history, strict=True):
        assert row == pytest.approx(other, abs=1e-6)


def test_patience_is_remembered_when_a_run_resumes(encoder_folder, tmp_path):
    """Nothing learns; after three epochs the counter is at 2 of 3, so one more is enough."""
    how = replace(STILL, epochs=3, patience=3)
    model, train, val, _ = model_and_documents(encoder_folder)
    start = copy.deepcopy(model)
    fine_tune(model, bce(), train, val, how=how, checkpoints=tmp_path)
    more = replace(how, epochs=9)
    history = fine_tune(start, bce(), train, val, how=more, checkpoints=tmp_path)
    assert len(history) == 4
