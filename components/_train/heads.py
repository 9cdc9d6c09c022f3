"""The heads on the frozen encoder: one model per loss, cross-fitted."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from components._formats.assignment import Part
from components._formats.learned import Learned
from components._frame.progress import progress
from components._train.choice import Choice
from components._train.features import cores, device, features_of
from components._train.head_store import HeadStore
from components._train.params import Params
from longtail.evaluation.keeping import EVERYTHING, Keep
from longtail.evaluation.sparse_scores import ScoreMatrix
from longtail.losses import loss_options, make_loss
from longtail.models.classifier import Classifier, Head
from longtail.models.features import name_features
from longtail.models.heads import (
    CrossFitted,
    Examples,
    HeadShape,
    HeadTraining,
    MakeLoss,
    cross_fit,
    kept_scores,
)
from longtail.models.ranks import n_ranks, shared
from longtail.models.served import Tuned

Rows = list[dict[str, Any]]
Scores = dict[str, ScoreMatrix]


@dataclass(frozen=True)
class Trained:
    """One model per loss.

    Attributes:
        models: loss to model.
        scores: loss to `val` (the documents held out) and `test`, each `(n_docs, n_labels)`.
        served: loss to what would be served of it, with its F1 on the documents held out.
        profiles: loss to the profile whose model was kept.
        history: one row per loss, profile and epoch.
    """

    models: dict[str, Classifier]
    scores: dict[str, Scores]
    served: dict[str, Tuned]
    profiles: dict[str, str]
    history: Rows

    def kept_epoch(self, loss: str, objective: str) -> dict[str, Any]:
        """The row of the epoch whose weights were kept: a head's last, else the best."""
        kept = (loss, self.profiles[loss])
        rows = [row for row in self.history if (row["loss"], row["profile"]) == kept]
        if self.profiles[loss] == "head":
            return rows[-1]
        return max(rows, key=lambda row: row[objective])


@dataclass(frozen=True)
class Features:
    """What heads learn from and are tested on: features, targets, and those of the label names."""

    learned: Examples
    test: Examples
    names: np.ndarray


def all_features(
    start: Classifier, parts: dict[str, Part], found: Learned, params: Params
) -> Features:
    """Features of all documents and label names, from the cache as far as it has them."""
    # Without folds val is compared with fine-tuned models, which score it as they are served.
    fast = params.head.bf16 and found.n_folds > 0
    learned = features_of(start, found.docs.texts, params, fast=fast)
    # As served, so that what is judged is what is served.
    test = features_of(start, parts["test"].texts, params, fast=False)
    return Features(
        Examples(learned, found.docs.targets, found.docs.doubt),
        Examples(test, parts["test"].targets),
        name_features(start),
    )


def make_losses(names: Sequence[str], mu: float, params: Params) -> dict[str, MakeLoss]:
    """What makes each of these losses."""
    own = {name: {"mu": mu} if "mu" in loss_options(name) else {} for name in names}
    return {
        name: partial(make_loss, name, **(own[name] | params.loss_options.get(name, {})))
        for name in names
    }


def train_heads(
    start: Classifier,
    features: Features,
    found: Learned,
    losses: dict[str, MakeLoss],
    params: Params,
    choice: Choice,
) -> Trained:
    """Train one model per loss, all with the frozen encoder of `start`."""
    fitted = fit_heads(features, found, losses, params, features.names, "heads", choice.keep)
    models = {name: with_head(start, own.head) for name, own in fitted.items()}
    scores = {name: _scores(own, features, choice.keep) for name, own in fitted.items()}
    history = [
        {"loss": name, "profile": "head", **row}
        for name, own in fitted.items()
        for row in own.history
    ]
    served = {name: choice.served(by_part["val"]) for name, by_part in scores.items()}
    return Trained(models, scores, served, dict.fromkeys(models, "head"), history)


def with_head(start: Classifier, head: Head) -> Classifier:
    """A model that shares the frozen encoder, which is large, but not the head."""
    model = copy.copy(start)
    model._modules = {**start._modules, "head": head}
    return model


def _scores(own: CrossFitted, features: Features, keep: Keep) -> Scores:
    return {"val": own.scores, "test": kept_scores(own.head, features.test, keep)}


def scores_without_label_names(
    loss: str,
    losses: dict[str, MakeLoss],
    features: Features,
    found: Learned,
    params: Params,
    keep: Keep,
) -> Scores:
    """The scores of the model that `loss` trains if it is not told the labels' names."""
    title = f"{loss} heads without label names"
    own = fit_heads(features, found, {loss: losses[loss]}, params, None, title, keep)
    return _scores(own[loss], features, keep)


def fit_heads(
    features: Features,
    found: Learned,
    losses: dict[str, MakeLoss],
    params: Params,
    names: np.ndarray | None,
    title: str,
    keep: Keep = EVERYTHING,
) -> dict[str, CrossFitted]:
    """The cross-fitted head of each loss; without `names` it is not told the labels' names."""
    own = params.head
    memory = HeadStore.cached(device())
    with progress(title, "heads") as show:
        fitted = cross_fit(
            features.learned,
            found.plan,
            losses,
            shape=HeadShape(own.hidden, own.dropout, names if own.label_names else None),
            how=HeadTraining(**own.model_dump(exclude={"hidden", "dropout", "label_names"})),
            keep=keep,
            device=device(),
            seed=params.seed,
            n_jobs=cores(),
            memory=memory,
            progress=show,
        )
    every = sum(shared(lambda _: [memory.counts], range(n_ranks())), Counter())
    print(f"{title}: {every['known']} from the cache, {every['put']} trained", flush=True)
    return fitted
