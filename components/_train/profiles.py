"""The two profiles of `train`: one head per loss on the frozen encoder, or the whole encoder."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from components._formats.assignment import Part
from components._formats.comparison import COMPARED
from components._frame.files import written
from components._frame.progress import progress
from components._frame.scratch import scratch
from components._train.choice import Choice
from components._train.params import Params
from longtail.losses import loss_options, make_loss
from longtail.models import classifier
from longtail.models.classifier import Classifier, Head
from longtail.models.encoder import check_length, encoder_digest, load_encoder
from longtail.models.features import extract_features, name_features
from longtail.models.finetune import Documents, FineTuning, fine_tune
from longtail.models.heads import Examples, HeadTraining, predict, train_head
from longtail.models.served import Tuned

Parts = dict[str, Part]
Rows = list[dict[str, Any]]
Scores = dict[str, np.ndarray]
SCORED = ("val", "test")


@dataclass(frozen=True)
class Trained:
    """One model per loss.

    Attributes:
        models: loss to model.
        scores: loss to part to scores `(n_docs, n_labels)`.
        served: loss to what would be served of it, with its F1 on val.
        profiles: loss to the profile whose model was kept.
        history: one row per loss, profile and epoch.
    """

    models: dict[str, Classifier]
    scores: dict[str, Scores]
    served: dict[str, Tuned]
    profiles: dict[str, str]
    history: Rows

    def best_epoch(self, loss: str, objective: str) -> dict[str, Any]:
        """The row of the epoch whose weights were kept; the first of equally good ones."""
        kept = (loss, self.profiles[loss])
        rows = [row for row in self.history if (row["loss"], row["profile"]) == kept]
        return max(rows, key=lambda row: row[objective])


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
    choice: Choice,
) -> Trained:
    """Train one model per loss, all with the frozen encoder and the initial head of `start`."""
    models, history = {}, []
    for name, loss in losses.items():
        models[name] = _with_own_head(start)
        epochs = _train_head(models[name].head, name, loss, features, parts, params)
        history += [{"loss": name, "profile": "head", **row} for row in epochs]
    scores = {
        name: {part: predict(model.head, features[part]) for part in SCORED}
        for name, model in models.items()
    }
    served = {name: choice.served(by_part["val"]) for name, by_part in scores.items()}
    return Trained(models, scores, served, dict.fromkeys(models, "head"), history)


def scores_without_label_names(
    start: Classifier,
    name: str,
    loss: nn.Module,
    features: Scores,
    parts: Parts,
    counted: dict[str, Any],
    params: Params,
) -> Scores:
    """The scores of the head that `loss` trains if it is not told the labels' names."""
    torch.manual_seed(params.seed)
    n_features = features["train"].shape[1]
    head = Head(
        n_features, len(start.labels), params.head.hidden, params.head.dropout, label_names=False
    ).to(start.device)
    head.standardize_by(torch.tensor(features["train"]))
    head.start_from_prior(torch.tensor(counted["class_freq"]), counted["train_num"])
    _train_head(head, f"{name} without label names", loss, features, parts, params)
    return {part: predict(head, features[part]) for part in SCORED}


def _train_head(
    head: Head, title: str, loss: nn.Module, features: Scores, parts: Parts, params: Params
) -> Rows:
    """Train `head` in place; its history."""
    train, val = (Examples(features[name], parts[name].targets) for name in ("train", "val"))
    how = HeadTraining(**params.head.model_dump(exclude={"hidden", "dropout", "label_names"}))
    torch.manual_seed(params.seed)
    with progress(f"{title} head", "epochs") as show:
        return train_head(
            head,
            loss,
            train,
            val,
            how=how,
            objective=params.objective,
            seed=params.seed,
            progress=show,
        )


def _with_own_head(start: Classifier) -> Classifier:
    """A model that shares the frozen encoder, which is large, but not the head."""
    model = copy.copy(start)
    model._modules = {**start._modules, "head": copy.deepcopy(start.head)}
    return model


def finetune_best(
    heads: Trained, losses: dict[str, nn.Module], parts: Parts, params: Params, choice: Choice
) -> Trained:
    """Fine-tune the chosen loss and the one it is compared with, starting from their heads.

    A model that would not be served better on val for it is left as it was.
    """
    names = list(dict.fromkeys((choice.of(heads.served), COMPARED)))
    found = replace(
        heads,
        models={name: heads.models[name] for name in names},
        scores={name: heads.scores[name] for name in names},
        served={name: heads.served[name] for name in names},
        profiles=dict.fromkeys(names, "head"),
        history=list(heads.history),
    )
    for name in names:
        tuned, epochs = finetune(heads.models[name], name, losses[name], parts, params)
        scores = {part: tuned.scores(parts[part].texts) for part in SCORED}
        served = choice.served(scores["val"])
        if choice.value(served) > choice.value(heads.served[name]):
            found.models[name], found.scores[name], found.served[name] = tuned, scores, served
            found.profiles[name] = "finetune"
        found.history.extend(epochs)
    return found


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
    facts = {
        "params": params.model_dump(),
        "encoder": encoder_digest(start.encoder, start.tokenizer),
        "loss": name,
        "labels": model.labels,
    }
    texts = [text for part in documents for text in parts[part].texts]
    # Val too: it decides on the best epoch, and when to stop.
    targets = [array for part in documents for array in _arrays(parts[part])]
    checkpoints = scratch("checkpoints", facts, texts, targets)
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


def _arrays(part: Part) -> Iterator[np.ndarray]:
    """All of the part's targets; its number of documents is in the length of `indptr`."""
    yield from (part.targets.indptr, part.targets.indices, part.targets.data)
