"""Integrated gradients where the answer is known, and the overfitted tokens built on them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import PreTrainedTokenizerFast

from longtail.errors import DataError
from longtail.report import attributions
from longtail.report.attributions import attribute
from longtail.report.evidence import Evidence, Scored
from longtail.report.page.formats import convergence
from longtail.report.tokens import overfitted_tokens

VOCABULARY = {
    w: i
    for i, w in enumerate(
        ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "un", "##red")
    )
}
DIM = 3


class Linear(nn.Module):
    """logit_c = Σ over tokens of w_c · embedding: integrated gradients are exact for it."""

    def __init__(self, power: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(len(VOCABULARY), DIM)
        self.weight = nn.Parameter(torch.randn(2, DIM))
        self.power = power
        self.encoder = SimpleNamespace(get_input_embeddings=lambda: self.words)
        words = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
        words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        words.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
        )

    def logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        summed = (self.words(ids) * mask.unsqueeze(-1)).sum(1) @ self.weight.T
        return summed**self.power

    def push(self, word: str, label: int) -> float:
        """What exchanging padding for `word` adds to the logit."""
        ids = torch.tensor([VOCABULARY[word], 0])
        found, blank = self.words(ids) @ self.weight[label]
        return float((found - blank).detach())


def test_a_linear_model_is_attributed_exactly_to_its_words():
    model = Linear()
    found = attribute(model, "red  green, unred", 1, steps=4, max_length=16)
    assert [text for text, _ in found.pieces] == ["red", "  ", "green", ",", " ", "unred"]
    values = {text: value for text, value in found.pieces if value is not None}
    assert values["red"] == pytest.approx(model.push("red", 1), abs=1e-5)
    assert values["green"] == pytest.approx(model.push("green", 1), abs=1e-5)
    both = model.push("un", 1) + model.push("##red", 1)
    assert values["unred"] == pytest.approx(both, abs=1e-5)
    assert found.gap < 1e-5
    assert sum(values.values()) == pytest.approx(found.logit - found.baseline_logit, abs=1e-5)


def test_fast_is_bf16_where_the_device_computes_in_it(monkeypatch):
    def values(*, fast: bool) -> list[float]:
        found = attribute(Linear(), "red green", 1, steps=4, max_length=16, fast=fast)
        return [value for _, value in found.pieces if value is not None]

    exact = values(fast=False)
    monkeypatch.setattr(attributions, "computes_bf16", lambda device: False)
    assert values(fast=True) == exact
    monkeypatch.setattr(attributions, "computes_bf16", lambda device: True)
    assert values(fast=True) != exact
    assert values(fast=True) == pytest.approx(exact, rel=0.02)


def test_the_right_label_is_explained():
    model = Linear()
    for label in (0, 1):
        found = dict(attribute(model, "blue", label, steps=2, max_length=8).pieces)
        assert found["blue"] == pytest.approx(model.push("blue", label), abs=1e-5)


def test_text_past_the_cut_is_shown_without_attribution():
    found = attribute(Linear(), "red green blue", 0, steps=2, max_length=4)
    assert [(text, value is None) for text, value in found.pieces] == [
        ("red", False), (" ", True), ("green", False), (" blue", True)]  # fmt: skip


def test_the_page_compares_the_gap_with_all_that_is_shown():
    found = {"gap": 0.1, "logit": 1.0, "baseline_logit": 1.0}
    assert convergence(found | {"total": 2.0}) == " (5.0% of their absolute sum)"
    assert convergence(found | {"total": 0.3}).endswith("raise attribution_steps)")
    assert convergence(found) == "", "a report of older code"


def test_convergence_is_measured_not_assumed():
    # n Gauss-Legendre points integrate polynomials up to degree 2n - 1 exactly, no higher ones.
    coarse = attribute(Linear(power=5), "red green", 0, steps=1, max_length=8)
    fine = attribute(Linear(power=5), "red green", 0, steps=3, max_length=8)
    scale = abs(fine.logit - fine.baseline_logit)
    assert fine.gap < 1e-4 * scale < 1e-2 * scale < coarse.gap
    blank = attribute(Linear(), "", 0, steps=2, max_length=8)
    assert blank.pieces == [] and blank.gap < 1e-6


def test_overfitted_tokens_are_counted_in_training():
    targets = sp.csr_matrix(np.array([[0, 1], [0, 1], [1, 0]], dtype=np.int8))
    scores = np.array([[0.9, 0.9], [0.7, 0.9], [0.9, 0.1]])
    test = pd.DataFrame(
        {"id": list("abc"), "text": ["red green", "red", "blue"], "labels": [["y"], ["y"], ["x"]]}
    )
    train = pd.DataFrame(
        {
            "id": list("pqrst"),
            "text": ["Red wine", "red red", "reddish", "green", "red green"],
            "labels": [["x"], ["x"], ["y"], ["y"], ["y"]],
        }
    )
    freq = np.array([2, 3])
    evidence = Evidence(["x", "y"], freq, freq, freq, 35, 8, targets, test, train,
                        [Scored("model", "DB", scores, np.full(2, 0.5))])  # fmt: skip

    def attributed(text: str, label: int) -> list[tuple[str, float | None]]:
        push = {"red": 1.0, "green": 0.5, "blue": -1.0}
        return [(word, push[word]) for word in text.split()]

    (row,) = overfitted_tokens(evidence, attributed, n_labels=5, n_docs=2)
    assert (row["label"], row["n_wrong"], row["n_explained"]) == (0, 2, 2)
    red, green = row["words"]
    assert red == {"word": "red", "attribution": 1.0, "with_label": 2, "without_label": 1}
    assert green == {"word": "green", "attribution": 0.25, "with_label": 0, "without_label": 2}
    # Document t has both words and lacks x; r has neither ("reddish" is another word).
    assert row["hard_negatives"] == [4, 3]


def test_a_model_without_finite_logits_is_refused():
    model = Linear()
    attribute(model, "red", 1, steps=2, max_length=8)
    with torch.no_grad():
        model.weight[1] = float("nan")
    with pytest.raises(DataError, match=r"column 1 .*not finite \(NaN\).*weights are broken"):
        attribute(model, "red", 1, steps=2, max_length=8)
