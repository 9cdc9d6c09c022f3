"""Loading the encoder from a folder; a name that does not exist."""

from __future__ import annotations

import pytest
import torch

from longtail.errors import ParameterError
from longtail.models.bundled import BUNDLED, MOST_TOKENS
from longtail.models.encoder import check_length, encoder_digest, load_encoder, without_weights
from tests.builders.small_project import write_encoder


def test_a_folder_gives_its_weights_in_float32(tmp_path):
    write_encoder(tmp_path, seed=3)
    encoder, tokenizer = load_encoder(str(tmp_path))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    assert encoder.config.hidden_size == 32
    assert tokenizer("word1 cue0a nonsense")["input_ids"] == [2, 5, 44, 1, 3]


def test_what_is_told_of_the_bundled_encoder_is_what_it_has():
    encoder = without_weights(BUNDLED)
    check_length(BUNDLED, encoder, MOST_TOKENS)
    with pytest.raises(ParameterError, match=f"at most {MOST_TOKENS} tokens"):
        check_length(BUNDLED, encoder, MOST_TOKENS + 1)


def digest(folder):
    return encoder_digest(*load_encoder(str(folder)))


def test_the_digest_is_that_of_the_content_and_not_of_the_name(tmp_path):
    write_encoder(tmp_path / "a")
    first = digest(tmp_path / "a")
    write_encoder(tmp_path / "b")
    assert digest(tmp_path / "b") == first
    write_encoder(tmp_path / "a", seed=1)
    assert digest(tmp_path / "a") != first


def test_one_weight_one_setting_or_one_token_changes_the_digest(tmp_path):
    write_encoder(tmp_path)
    encoder, tokenizer = load_encoder(str(tmp_path))
    found = [encoder_digest(encoder, tokenizer)]
    with torch.no_grad():
        encoder.encoder.layer[1].output.dense.bias[3] += 1e-3
    found.append(encoder_digest(encoder, tokenizer))
    encoder.config.num_attention_heads = 4
    found.append(encoder_digest(encoder, tokenizer))
    tokenizer.add_tokens(["another"])
    found.append(encoder_digest(encoder, tokenizer))
    assert len(set(found)) == 4


def test_using_the_tokenizer_does_not_change_the_digest(tmp_path):
    """The tokenizer remembers how it last truncated and padded."""
    write_encoder(tmp_path)
    encoder, tokenizer = load_encoder(str(tmp_path))
    before = encoder_digest(encoder, tokenizer)
    tokenizer(["word1 word2", "word3"], truncation=True, max_length=3, padding=True)
    assert encoder_digest(encoder, tokenizer) == before


@pytest.mark.parametrize("name", ["no/such-encoder", "./nowhere"])
def test_an_unknown_name_is_reported_in_one_line(name):
    with pytest.raises(ParameterError) as caught:
        load_encoder(name)
    message = str(caught.value)
    assert message.startswith(f"Cannot load the encoder {name!r} (")
    assert "all-MiniLM-L6-v2" in message and "config.json" in message
    assert "\n" not in message and caught.value.__suppress_context__
