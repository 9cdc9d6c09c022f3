"""The two profiles of `train`: one head per loss on the frozen encoder, or the whole encoder."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from components._formats.assignment import Part
from components._frame.files import written
from components._frame.progress import progress
from components._frame.scratch import scratch
from components._train_params import COMPARED, Params
from longtail.losses import loss_options, make_loss
from longtail.models import classifier
from longtail.models.classifier import Classifier
from longtail.models.encoder import load_encoder
from longtail.models.features import extract_features, name_features
from longtail.models.finetune import Documents, FineTuning, fine_tune
from longtail.models.heads import Examples, HeadTraining, predict, train_head

Parts = dict[str, Part]
Rows = list[dict[str, Any]]
Scores = dict[str, np.ndarray]
SCORED = ("val", "test")


@dataclass(frozen=True)
class Trained:
    """The result of training.

    Attributes:
        models: loss to model.
        scores: loss to part to scores `(n_docs, n_labels)`.
        chosen: the loss that is best on val, or the one that the parameters name.
        history: one row per loss, profile and epoch.
    """

    models: dict[str, Classifier]
    scores: dict[str, Scores]
    chosen: str
    history: Rows


def device() -> str:
    """`cuda` if PyTorch sees a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def make_losses(counted: dict[str, Any], mu: float, params: Params) -> dict[str, nn.Module]:
    """The candidate losses, and the one that they are compared with."""
    names = params.losses if params.loss == "auto" else [params.loss]
    losses: dict[str, nn.Module] = {}
    for name in dict.fromkeys([*names, COMPARED]):
        options: dict[str, Any] = {"mu": mu} if "mu" in loss_options(name) else {}
        options |= params.loss_options.get(name, {})
        losses[name] = make_loss(name, counted["class_freq"], counted["train_num"], **options)
    return losses


def pretrained(labels: list[str], params: Params) -> Classifier:
    """The pretrained encoder with an untrained head; the same seed gives the same weights."""
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
    nn.Module.to(model, device())
    return model


def features_of(model: Classifier, part: Part, params: Params) -> np.ndarray:
    """The part's features, computed once per encoder, length and texts."""
    facts = {"encoder": params.encoder, "length": params.max_length}
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


def start_head(model: Classifier, features: np.ndarray, counted: dict[str, Any]) -> None:
    """Initialize the head: standardized by train, starting from label names and frequencies."""
    on_train = torch.tensor(features)
    model.head.standardize_by(on_train)
    model.head.name_labels(torch.from_numpy(name_features(model)), on_train)
    model.head.start_from_prior(torch.tensor(counted["class_freq"]), counted["train_num"])


def train_heads(
    start: Classifier,
    features: Scores,
    parts: Parts,
    losses: dict[str, nn.Module],
    params: Params,
) -> Trained:
    """Train one model per loss, all with the frozen encoder and the initial head of `start`."""
    train, val = (Examples(features[name], parts[name].targets) for name in ("train", "val"))
    how = HeadTraining(**params.head.model_dump(exclude={"hidden", "dropout", "label_names"}))
    models, history = {}, []
    for name, loss in losses.items():
        torch.manual_seed(params.seed)
        models[name] = _with_own_head(start)
        with progress(f"{name} head", "epochs") as show:
            epochs = train_head(
                models[name].head,
                loss,
                train,
                val,
                how=how,
                objective=params.objective,
                seed=params.seed,
                progress=show,
            )
        history += [{"loss": name, "profile": "head", **row} for row in epochs]
    scores = {
        name: {part: predict(model.head, features[part]) for part in SCORED}
        for name, model in models.items()
    }
    return Trained(models, scores, _choice(history, params), history)


def _choice(history: Rows, params: Params) -> str:
    """The loss that the parameters name, or the best on val."""
    return best(history, params.objective)["loss"] if params.loss == "auto" else params.loss


def best(rows: Rows, objective: str) -> dict[str, Any]:
    """The row with the best val score; the first of equally good ones."""
    return max(rows, key=lambda row: row[objective])


def _with_own_head(start: Classifier) -> Classifier:
    """A model that shares the frozen encoder, which is large, but not the head."""
    model = copy.copy(start)
    model._modules = {**start._modules, "head": copy.deepcopy(start.head)}
    return model


def finetune_best(
    heads: Trained, losses: dict[str, nn.Module], parts: Parts, params: Params
) -> Trained:
    """Fine-tune the chosen loss and the one it is compared with, starting from their heads.

    A model that fine-tuning does not improve on val is left as it was.
    """
    models = {name: heads.models[name] for name in dict.fromkeys((heads.chosen, COMPARED))}
    history = list(heads.history)
    for name, headed in models.items():
        tuned, epochs = finetune(headed, name, losses[name], parts, params)
        before = best([row for row in history if row["loss"] == name], params.objective)
        if best([before, *epochs], params.objective) is not before:
            models[name] = tuned
        history += epochs
    # The second-best head may win once its encoder is trained.
    chosen = _choice([row for row in history if row["loss"] in models], params)
    scores = {
        name: {part: model.scores(parts[part].texts) for part in SCORED}
        for name, model in models.items()
    }
    return Trained(models, scores, chosen, history)


def finetune(
    start: Classifier, name: str, loss: nn.Module, parts: Parts, params: Params
) -> tuple[Classifier, Rows]:
    """Fine-tune a copy of `start`, resuming where a killed run stopped."""
    model = _with_own_head(start)
    model.encoder = copy.deepcopy(start.encoder)
    documents = {
        part: Documents(model.tokenize(parts[part].texts), parts[part].targets)
        for part in ("train", "val")
    }
    facts = {"params": params.model_dump(), "loss": name, "labels": model.labels}
    targets = str(parts["train"].targets.indices.tolist())
    checkpoints = scratch("checkpoints", facts, [*parts["train"].texts, targets])
    with progress(f"fine-tuning {name}", "steps") as show:
        rows = fine_tune(
            model,
            loss,
            documents["train"],
            documents["val"],
            how=FineTuning(**params.finetune.model_dump()),
            checkpoints=checkpoints,
            objective=params.objective,
            seed=params.seed,
            progress=show,
        )
    shutil.rmtree(checkpoints)
    return model, [{"loss": name, "profile": "finetune", **row} for row in rows]
