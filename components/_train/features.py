"""The pretrained encoder, and the features that it gives."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from components._formats.assignment import Part
from components._frame.files import written
from components._frame.progress import progress
from components._frame.scratch import scratch
from components._train.params import Params
from longtail.models import classifier
from longtail.models.classifier import Classifier
from longtail.models.encoder import check_length, encoder_digest, load_encoder
from longtail.models.features import extract_features


def device() -> str:
    """`cuda` if PyTorch sees a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


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


def features_of(model: Classifier, part: Part, params: Params) -> np.ndarray:
    """The part's features, computed once per content of the encoder, length and texts."""
    encoder = encoder_digest(model.encoder, model.tokenizer)
    facts = {"encoder": encoder, "length": params.max_length}
    path = scratch("features", facts, part.texts) / "features.npy"
    if not path.exists():
        with (
            written(path) as temporary,
            temporary.open("wb") as file,
            progress("features", "documents") as show,
        ):
            features = extract_features(model, part.texts, progress=show)
            np.save(file, features, allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False)
