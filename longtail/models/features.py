"""Computes the pooled features of documents once, with the frozen encoder."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from longtail.models.classifier import N_POOLS, Classifier
from longtail.models.precision import computes_bf16
from longtail.models.progress import Progress, silent
from longtail.models.threads import each_in_a_thread


def extract_features(
    model: Classifier,
    texts: Sequence[str],
    *,
    fast: bool = False,
    batch_tokens: int | None = None,
    n_jobs: int | None = None,
    progress: Progress = silent,
) -> np.ndarray:
    """Pooled features of texts.

    Args:
        model: its encoder is used; the head is not.
        texts: the documents.
        fast: in bf16 if the device computes in it, else in float32 as without. Each feature differs
            by about 1% of its spread.
        batch_tokens: tokens of a batch at most, padding included; None: what suits the device.
        n_jobs: threads that compute a batch each, on a CPU, which changes no feature; None: one per
            core.
        progress: called with the documents done and in total.

    Returns:
        `(n_docs, 4 · hidden_size)` float32, in the order of `texts`.
    """
    model.eval()
    if fast and computes_bf16(model.device.type):
        model = _with_bf16_encoder(model)
    batches = model.batches(model.tokenize(texts), batch_tokens)

    def pooled(batch: tuple[np.ndarray, Tensor, Tensor]) -> tuple[np.ndarray, np.ndarray]:
        return batch[0], _pooled(model, *batch[1:])

    width = N_POOLS * model.encoder.config.hidden_size
    features = np.empty((len(texts), width), dtype=np.float32)
    done = 0
    for rows, found in each_in_a_thread(pooled, batches, model.device.type, n_jobs):
        features[rows] = found
        done += len(rows)
        progress(done, len(texts))
    return features


def _with_bf16_encoder(model: Classifier) -> Classifier:
    fast = copy.copy(model)
    encoder = copy.deepcopy(model.encoder).to(torch.bfloat16)
    fast._modules = {**model._modules, "encoder": encoder}
    return fast


@torch.inference_mode()
def _pooled(model: Classifier, input_ids: Tensor, mask: Tensor) -> np.ndarray:
    return model.features(input_ids, mask).cpu().numpy()


def name_features(model: Classifier) -> np.ndarray:
    """Pooled features of the label names, `(n_labels, 4 · hidden_size)` float32."""
    return extract_features(model, [as_words(name) for name in model.labels])


def as_words(label: str) -> str:
    """A label's name as it is read.

    >>> as_words("use::image-viewing")
    'use image viewing'
    """
    return re.sub(r"[\W_]+", " ", label)
