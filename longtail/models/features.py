"""Pooled features of all documents, computed once by the frozen encoder."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from tqdm.auto import tqdm

from longtail.models.classifier import N_POOLS, Classifier


@torch.inference_mode()
def extract_features(
    model: Classifier, texts: Sequence[str], *, batch_tokens: int = 8192
) -> np.ndarray:
    """Features float32 `(n_docs, 4 · hidden_size)` of `texts`, in their order."""
    model.eval()
    token_ids = model.tokenize(texts)
    width = N_POOLS * model.encoder.config.hidden_size
    features = np.empty((len(texts), width), dtype=np.float32)
    with tqdm(total=len(texts), desc="features", unit="doc", disable=None) as progress:
        for rows, input_ids, mask in model.batches(token_ids, batch_tokens):
            features[rows] = model.features(input_ids, mask).float().cpu().numpy()
            progress.update(len(rows))
    return features


def name_features(model: Classifier) -> np.ndarray:
    """Features float32 `(n_labels, 4 · hidden_size)` of the label names, read as words.

    `use::image-viewing` is read as "use image viewing".
    """
    return extract_features(model, [re.sub(r"[\W_]+", " ", name) for name in model.labels])
