"""The two profiles of `train`: a head for each loss on frozen features; the whole encoder."""

from __future__ import annotations

import copy
import shutil
from typing import Any

import numpy as np
import torch
from torch import nn

from components._formats.assignment import Part
from components._frame.files import written
from components._frame.scratch import scratch
from components._train_params import Params
from longtail.models import classifier
from longtail.models.classifier import Classifier
from longtail.models.encoder import load_encoder
from longtail.models.features import extract_features
from longtail.models.finetune import Documents, FineTuning, fine_tune
from longtail.models.heads import Examples, HeadTraining, train_head

Parts = dict[str, Part]
Rows = list[dict[str, Any]]


def pretrained(labels: list[str], params: Params, device: str) -> Classifier:
    """The pretrained encoder with an untrained head; always the same weights for one seed."""
    torch.manual_seed(params.seed)
    encoder, tokenizer = load_encoder(params.encoder)
    model = classifier.build(
        encoder,
        tokenizer,
        labels,
        hidden=params.head.hidden,
        dropout=params.head.dropout,
        max_length=params.max_length,
        label_names=params.head.label_names,
    )
    nn.Module.to(model, device)
    return model


def features_of(model: Classifier, part: Part, params: Params) -> np.ndarray:
    """The part's features, computed once for each (encoder, length, texts)."""
    facts = {"encoder": params.encoder, "length": params.max_length}
    path = scratch("features", facts, part.texts) / "features.npy"
    if not path.exists():
        with written(path) as temporary, temporary.open("wb") as file:
            np.save(file, extract_features(model, part.texts), allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def probe(
    start: Classifier,
    train: Examples,
    val: Examples,
    losses: dict[str, nn.Module],
    params: Params,
) -> tuple[dict[str, Classifier], Rows]:
    """One model a loss, all with `start`'s frozen encoder and from its initial head."""
    how = HeadTraining(**params.head.model_dump(exclude={"hidden", "dropout", "label_names"}))
    models, rows = {}, []
    for name, loss in losses.items():
        torch.manual_seed(params.seed)
        models[name] = _with_own_head(start)
        epochs = train_head(
            models[name].head,
            loss,
            train,
            val,
            how=how,
            objective=params.objective,
            seed=params.seed,
            name=name,
        )
        rows += [{"loss": name, "profile": "probe", **row} for row in epochs]
    return models, rows


def _with_own_head(start: Classifier) -> Classifier:
    """A model that shares the frozen encoder, which is large, but not the head."""
    model = copy.copy(start)
    model._modules = {**start._modules, "head": copy.deepcopy(start.head)}
    return model


def finetune(
    start: Classifier, name: str, loss: nn.Module, parts: Parts, params: Params
) -> tuple[Classifier, Rows]:
    """A model trained from `start`, the probe's, on; resumes where a killed run stopped."""
    model = _with_own_head(start)
    model.encoder = copy.deepcopy(start.encoder)
    documents = {
        part: Documents(model.tokenize(parts[part].texts), parts[part].targets)
        for part in ("train", "val")
    }
    facts = {"params": params.model_dump(), "loss": name, "labels": model.labels}
    targets = str(parts["train"].targets.indices.tolist())
    checkpoints = scratch("checkpoints", facts, [*parts["train"].texts, targets])
    rows = fine_tune(
        model,
        loss,
        documents["train"],
        documents["val"],
        how=FineTuning(**params.finetune.model_dump()),
        checkpoints=checkpoints,
        objective=params.objective,
        seed=params.seed,
    )
    shutil.rmtree(checkpoints)
    return model, [{"loss": name, "profile": "finetune", **row} for row in rows]
