"""Texts are cut before they are tokenized, and their tokens are those of the whole text."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from longtail.models.beginning import CHARACTERS_PER_TOKEN, beginning
from longtail.models.bundled import bundled
from longtail.models.classifier import tokenize

LENGTH = 6  # tokens, so that a text is cut after some hundred characters
TRAINED_ON = ["the small program edits a file, don't it? 編集 naïve café  two  blanks"] * 20


@cache
def tokenizer_of(kind: str) -> PreTrainedTokenizerBase:
    """WordPiece as bundled, and small ones of the other families, trained here."""
    if kind == "wordpiece":
        return AutoTokenizer.from_pretrained(bundled())
    if kind == "bytes":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet)
    else:
        backend = Tokenizer(models.Unigram())
        backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=80, unk_token="<unk>", special_tokens=["<unk>"]
        )
    backend.train_from_iterator(TRAINED_ON, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<unk>", unk_token="<unk>")


pieces = st.one_of(
    st.sampled_from(["word ", "x", " ", "\n", "don't", "編集", "e\u0301", "\u0301", "...", "\u200b",
                     "[MASK]", "[SEP] ", "\ufffd", "\0", "ﬁ", "👩‍👩‍👧", "longer words of a text "]),
    st.text(max_size=4),
)  # fmt: skip
long_texts = st.lists(st.tuples(pieces, st.integers(1, 400)), max_size=6).map(
    lambda parts: "".join(piece * n for piece, n in parts)
)


@pytest.mark.parametrize("kind", ["wordpiece", "bytes", "unigram"])
@settings(max_examples=150, deadline=None)
@given(texts=st.lists(long_texts, min_size=1, max_size=2))
def test_the_tokens_are_those_of_the_whole_text(kind: str, texts: list[str]) -> None:
    tokenizer = tokenizer_of(kind)
    whole = tokenizer(texts, truncation=True, max_length=LENGTH)["input_ids"]
    assert tokenize(tokenizer, texts, LENGTH) == whole


@pytest.mark.parametrize("piece", ["word ", "編集", "a,", "don't "])
def test_a_long_text_is_cut(piece: str) -> None:
    text = piece * 100_000
    cut = beginning(tokenizer_of("wordpiece"), text, LENGTH)
    assert len(cut) == CHARACTERS_PER_TOKEN * LENGTH and text.startswith(cut)


@pytest.mark.parametrize("character", ["x", " "])
def test_of_a_text_without_words_a_million_characters_are_read(character: str) -> None:
    text = character * 3_000_000
    assert beginning(tokenizer_of("wordpiece"), text, LENGTH) == character * 1_000_000


def test_a_single_word_and_a_left_cut_stay_whole() -> None:
    tokenizer = tokenizer_of("wordpiece")
    assert beginning(tokenizer, "x" * 10_000, LENGTH) == "x" * 10_000
    left = AutoTokenizer.from_pretrained(bundled(), truncation_side="left")
    assert beginning(left, "word " * 10_000, LENGTH) == "word " * 10_000
