"""Loading the encoder from a folder; a name that does not exist."""

from __future__ import annotations

import pytest
import torch

from longtail.errors import ParameterError
from longtail.models.encoder import load_encoder
from tests.builders.small_project import write_encoder


def test_a_folder_gives_its_weights_in_float32(tmp_path):
    write_encoder(tmp_path, seed=3)
    encoder, tokenizer = load_encoder(str(tmp_path))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    assert encoder.config.hidden_size == 32
    assert tokenizer("word1 cue0a nonsense")["input_ids"] == [2, 5, 44, 1, 3]


@pytest.mark.parametrize("name", ["no/such-encoder", "./nowhere"])
def test_an_unknown_name_is_reported_in_one_line(name):
    with pytest.raises(ParameterError) as caught:
        load_encoder(name)
    message = str(caught.value)
    assert message.startswith(f"Cannot load the encoder {name!r} (")
    assert "all-MiniLM-L6-v2" in message and "config.json" in message
    assert "\n" not in message and caught.value.__suppress_context__
