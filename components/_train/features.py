"""The pretrained encoder, and the features that it gives."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from joblib import cpu_count
from torch import nn

from components._frame.progress import progress
from components._frame.ranks import n_local_ranks
from components._frame.temporary_array import temporary_array
from components._frame.text_store import TextStore
from components._train.params import Params
from longtail.errors import DataError
from longtail.models import classifier
from longtail.models.classifier import N_POOLS, Classifier
from longtail.models.encoder import check_length, encoder_digest, load_encoder
from longtail.models.features import extract_features
from longtail.models.precision import computes_bf16
from longtail.models.ranks import fill_from_first, n_ranks, of_first, rank, shared

# Texts that are computed, then kept: what a killed run loses at most.
PORTION = 512
# Texts that are looked up at a time.
AT_ONCE = 20_000
# The code that computes them.
MODELS = Path(classifier.__file__).parent


def device() -> str:
    """`cuda` if PyTorch sees a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def cores() -> int:
    """The cores of this process: all that a container allows, shared among the ranks in it."""
    return max(1, cpu_count() // n_local_ranks())


def pretrained(labels: list[str], params: Params) -> Classifier:
    """The pretrained encoder with an untrained head; the same seed gives the same weights.

    Raises:
        ParameterError: there is no such encoder, or it takes fewer tokens than `max_length`.
    """
    torch.manual_seed(params.seed)
    encoder, tokenizer = load_encoder(params.encoder)
    check_length(params.encoder, encoder, params.max_length)
    model = classifier.build(
        encoder,
        tokenizer,
        labels,
        hidden=params.head.hidden,
        dropout=params.head.dropout,
        max_length=params.max_length,
        label_names=params.head.label_names,
    )
    nn.Module.to(model, device())
    return model


def features_of(
    model: Classifier, texts: Sequence[str], params: Params, *, fast: bool
) -> np.ndarray:
    """The features of texts `(n_docs, n_features)`, computed once per text, encoder and length.

    Args:
        model: its encoder is used.
        texts: in any order; equal ones are computed once.
        params: of the stage.
        fast: in bf16, and kept as float16, see `extract_features`; what is served is not.

    Returns:
        A memory map, float32 or float16.
    """
    fast = fast and computes_bf16(device())
    encoder = encoder_digest(model.encoder, model.tokenizer)
    facts = {
        "encoder": encoder,
        "length": params.max_length,
        "fast": fast,
        "code": code_digest(MODELS),
    }
    width = N_POOLS * model.encoder.config.hidden_size
    store = TextStore.cached("features", facts, width, np.float16 if fast else np.float32)

    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    features = temporary_array((len(texts), width), store.dtype)
    # The longest first: in a batch of similar lengths little is padding. Never in the order of a
    # set, which is another one in each process: a feature's last digits depend on its batch.
    new = of_first(lambda: sorted(_unknown(first, store, features), key=len, reverse=True))
    print(
        f"features: {len(first) - len(new):,} texts in the cache, {len(new):,} to compute",
        flush=True,
    )

    def extract(portions: Sequence[list[str]]) -> list[np.ndarray]:
        return [extract_features(model, p, fast=fast, n_jobs=cores()) for p in portions]

    with progress("features", "documents") as show:
        # Whole portions for each rank: their features do not depend on the number of ranks.
        portions = [new[start : start + PORTION] for start in range(0, len(new), PORTION)]
        for start in range(0, len(portions), n_ranks()):
            some = portions[start : start + n_ranks()]
            for portion, computed in zip(some, shared(extract, some), strict=True):
                if rank() == 0:
                    store.put(portion, computed)
                    features[[first[text] for text in portion]] = computed
            show(sum(map(len, portions[: start + len(some)])), len(new))
    for row, text in enumerate(texts):
        if first[text] != row:
            features[row] = features[first[text]]
    fill_from_first(features)
    _refuse_non_finite(features, texts, params.encoder)
    return features


def _unknown(first: dict[str, int], store: TextStore, features: np.ndarray) -> list[str]:
    """The texts that the store does not know; those that it does are filled in, each in its row."""
    texts, unknown = list(first), []
    for start in range(0, len(texts), AT_ONCE):
        some = texts[start : start + AT_ONCE]
        known = store.known(some)
        for text, vector in known.items():
            features[first[text]] = vector
        unknown += [text for text in some if text not in known]
    return unknown


def _refuse_non_finite(features: np.ndarray, texts: Sequence[str], encoder: str) -> None:
    wrong: list[int] = []
    for start in range(0, len(features), AT_ONCE):
        finite = np.isfinite(features[start : start + AT_ONCE]).all(axis=1)
        wrong += (start + np.flatnonzero(~finite)).tolist()
    if wrong:
        raise DataError(
            f"The encoder {encoder!r} gives {len(wrong):,} of {len(texts):,} texts "
            f"features that are no numbers, the first of them {texts[wrong[0]]!r:.80}; choose "
            "another encoder."
        )


def code_digest(folder: Path) -> str:
    """A digest of the code in a folder and of the libraries that it computes with."""
    versions = (torch.__version__, transformers.__version__, np.__version__)
    digest = hashlib.sha256(str(versions).encode())
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()
