"""Cuts long texts before they are tokenized: only the beginning decides on the first tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHARACTERS_PER_TOKEN = 64  # read at first; a usual token has four or five
MOST_CHARACTERS = 1_000_000  # read of a text
OPEN_WORDS = 8  # at the cut, which the text after it may change


def beginning(tokenizer: PreTrainedTokenizerBase, text: str, n_tokens: int) -> str:
    """The beginning of a text that has the same first `n_tokens` tokens, and more after them.

    Tokenizing takes about 150 bytes of memory per character. Tokens are made of words from left to
    right, so those of words well before the cut are those of the whole text. If there are too few
    of them (a text of blanks, or a single word of a million letters), more is read, up to
    `MOST_CHARACTERS`, and the rest does not count. Texts stay whole for a tokenizer that keeps
    their end, or is written in Python, which does not say its words.

    Args:
        tokenizer: of the encoder.
        text: a document.
        n_tokens: without special tokens.
    """
    if not tokenizer.is_fast or tokenizer.truncation_side != "right":
        return text

    def words(part: str) -> Sequence[Any]:
        encoding = tokenizer(
            part, add_special_tokens=False, return_attention_mask=False, verbose=False
        )
        return encoding.word_ids(0)

    return enough(words, text, n_tokens)


def enough(words: Callable[[str], Sequence[Any]], text: str, n_tokens: int) -> str:
    """The same, by the word that each token belongs to, without special tokens."""
    text = text[:MOST_CHARACTERS]
    end = CHARACTERS_PER_TOKEN * n_tokens
    while end < len(text):
        found = words(text[:end])
        if len(found) > n_tokens and found[n_tokens] + OPEN_WORDS <= found[-1]:
            return text[:end]
        end *= 4
    return text
