"""Computes the pooled features of documents once, with the frozen encoder."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch

from longtail.models.classifier import N_POOLS, Classifier
from longtail.models.progress import Progress, silent


@torch.inference_mode()
def extract_features(
    model: Classifier,
    texts: Sequence[str],
    *,
    batch_tokens: int = 8192,
    progress: Progress = silent,
) -> np.ndarray:
    """Pooled features of texts.

    Args:
        model: its encoder is used; the head is not.
        texts: the documents.
        batch_tokens: tokens of a batch at most, padding included.
        progress: called with the documents done and in total.

    Returns:
        `(n_docs, 4 · hidden_size)` float32, in the order of `texts`.
    """
    model.eval()
    token_ids = model.tokenize(texts)
    width = N_POOLS * model.encoder.config.hidden_size
    features = np.empty((len(texts), width), dtype=np.float32)
    done = 0
    for rows, input_ids, mask in model.batches(token_ids, batch_tokens):
        features[rows] = model.features(input_ids, mask).float().cpu().numpy()
        done += len(rows)
        progress(done, len(texts))
    return features


def name_features(model: Classifier) -> np.ndarray:
    """Pooled features of the label names, `(n_labels, 4 · hidden_size)` float32.

    A name is read as words: `use::image-viewing` as "use image viewing".
    """
    return extract_features(model, [re.sub(r"[\W_]+", " ", name) for name in model.labels])
