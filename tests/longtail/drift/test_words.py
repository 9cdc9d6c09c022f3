"""Unknown words by hand, and what chance alone gives."""

from __future__ import annotations

import numpy as np
import pytest

from longtail.drift.psi import Draws
from longtail.drift.words import lengths, unknown_words


def found(reference: list[str], new: list[str], n_draws: int = 999):
    draws = Draws.of(np.arange(len(reference)), np.arange(len(new)), n_draws, 0)
    return unknown_words([*reference, *new], draws)


def test_words_are_counted_with_repetition_and_without_case():
    assert found(["The cat sat", "a"], ["the dog, the DOG sat"]).share == pytest.approx(2 / 5)
    assert found(["a"], [""]).share == 0.0
    assert found(["Open a file"], ["open the file", "a file"]).share == pytest.approx(0.2)
    assert lengths(["one two", "", "a-b c"]).tolist() == [2, 0, 3]


def test_the_expected_share_is_that_of_a_document_drawn_at_random():
    """Each of ten texts has one word of its own among four."""
    texts = [f"the same text w{i}" for i in range(10)]
    one = found(texts[:9], texts[9:])
    assert (one.share, one.expected, one.p) == (0.25, 0.25, 1.0)


def test_many_new_words_are_not_chance():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(500)]
    reference = [" ".join(rng.choice(words, 10)) for _ in range(400)]
    same = [" ".join(rng.choice(words, 10)) for _ in range(50)]
    other = [text + " x1 x2" for text in same]
    assert found(reference, same).p > 0.05
    assert found(reference, other).p == 0.001
    assert found(reference, other).share == pytest.approx(2 / 12, abs=0.02)


def test_a_word_of_one_group_is_known_only_within_it():
    """Copies of a text come together, so they are new together."""
    texts = ["common", "common", "common", "rare", "rare"]
    draws = Draws.of(np.array([0, 1, 2]), np.array([0, 0]), 999, 0)
    one = unknown_words(texts, draws)
    assert one.share == 1.0
    assert one.expected == pytest.approx(0.25, abs=0.05)  # the unit "rare" is one of four
