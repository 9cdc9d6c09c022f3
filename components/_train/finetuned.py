"""The profile `finetune`: encoder and head learn together, starting from the head's profile."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from components._formats.assignment import Part
from components._formats.comparison import COMPARED
from components._formats.learned import rows_of
from components._frame.progress import progress
from components._frame.scratch import scratch
from components._train.choice import Choice
from components._train.features import cores
from components._train.heads import Rows, Trained, with_head
from components._train.params import Params
from longtail.evaluation.keeping import Keep
from longtail.evaluation.sparse_scores import ScoreMatrix, stacked
from longtail.frequency import class_frequencies
from longtail.models.classifier import Classifier
from longtail.models.documents import Documents
from longtail.models.encoder import encoder_digest
from longtail.models.finetune import FineTuning, batches_per_rank, fine_tune, refit
from longtail.models.heads import MakeLoss
from longtail.models.ranks import n_ranks, of_first, shared

Parts = dict[str, Part]


def finetune_best(
    heads: Trained,
    losses: dict[str, MakeLoss],
    parts: Parts,
    docs: Part,
    params: Params,
    choice: Choice,
) -> Trained:
    """Fine-tune the chosen loss and the one it is compared with, if tried, from their heads.

    A model that would not be served better on val for it is left as it was. With `refit`, the
    others learn once more, from `docs`, which are train and val: their scores of val, by which all
    choices are made, stay those of the model that has not seen val.
    """
    others = {name: served for name, served in heads.served.items() if name != COMPARED}
    # Two, so that the last choice's margin decides between fine-tuned models, not before.
    names = [choice.of(others or heads.served)]
    names += [COMPARED] if COMPARED in heads.models and COMPARED not in names else []
    found = replace(
        heads,
        models={name: heads.models[name] for name in names},
        scores={name: heads.scores[name] for name in names},
        served={name: heads.served[name] for name in names},
        profiles=dict.fromkeys(names, "head"),
        history=list(heads.history),
    )
    finished = []
    for name in names:
        tuned, epochs, folder = finetune(heads.models[name], name, losses[name], parts, params)
        finished.append(folder)
        found.history.extend(epochs)
        val = _scores(tuned, parts["val"], choice.keep)
        served = choice.served(val)
        if choice.value(served) <= choice.value(heads.served[name]):
            continue
        if params.finetune.refit:
            best = max(epochs, key=lambda row: row[params.objective])["epoch"]
            tuned, folder = finetune_again(
                heads.models[name], name, losses[name], docs, best, params
            )
            finished.append(folder)
        test = _scores(tuned, parts["test"], choice.keep)
        found.models[name], found.served[name] = tuned, served
        found.scores[name], found.profiles[name] = {"val": val, "test": test}, "finetune"
    for folder in finished:  # not before: what is finished is not computed again after a kill
        of_first(partial(shutil.rmtree, folder, ignore_errors=True))
    return found


def finetune(
    start: Classifier, name: str, make_loss: MakeLoss, parts: Parts, params: Params
) -> tuple[Classifier, Rows, Path]:
    """Fine-tune a copy of `start` on train, resuming where a killed run stopped.

    Returns:
        The model of the best epoch, one row per epoch, and the folder of the checkpoints.
    """
    train, val = parts["train"], parts["val"]
    model = _copy(start)
    # Val too: it decides on the best epoch, and when to stop.
    checkpoints = _checkpoints(start, name, [train, val], {}, params)
    with progress(f"fine-tuning {name}", "steps") as show:
        rows = fine_tune(
            model,
            _loss(make_loss, train),
            _documents(model, train),
            Documents(model.tokenize(val.texts), val.targets),
            how=fine_tuning(params),
            checkpoints=checkpoints,
            objective=params.objective,
            seed=params.seed,
            progress=show,
        )
    return model, [{"loss": name, "profile": "finetune", **row} for row in rows], checkpoints


def finetune_again(
    start: Classifier, name: str, make_loss: MakeLoss, docs: Part, n_epochs: int, params: Params
) -> tuple[Classifier, Path]:
    """Fine-tune a copy of `start` on all that may be learned from, for so many epochs."""
    model = _copy(start)
    checkpoints = _checkpoints(start, name, [docs], {"epochs": n_epochs}, params)
    with progress(f"fine-tuning {name} on train and val", "steps") as show:
        refit(
            model,
            _loss(make_loss, docs),
            _documents(model, docs),
            n_epochs,
            how=fine_tuning(params),
            checkpoints=checkpoints,
            seed=params.seed,
            progress=show,
        )
    return model, checkpoints


def _copy(start: Classifier) -> Classifier:
    model = with_head(start, copy.deepcopy(start.head))
    model.encoder = copy.deepcopy(start.encoder)
    return model


def _loss(make_loss: MakeLoss, part: Part) -> nn.Module:
    return make_loss(class_frequencies(part.targets), part.targets.shape[0])


def _documents(model: Classifier, part: Part) -> Documents:
    return Documents(model.tokenize(part.texts), part.targets, part.doubt)


def fine_tuning(params: Params) -> FineTuning:
    """The settings of `fine_tune` and `refit`."""
    return FineTuning(**params.finetune.model_dump(exclude={"refit"}))


def _checkpoints(
    start: Classifier, name: str, parts: Sequence[Part], more: dict[str, Any], params: Params
) -> Path:
    """The folder of the checkpoints of a run with these documents."""
    facts = {
        "params": params.model_dump(),
        "encoder": encoder_digest(start.encoder, start.tokenizer),
        "loss": name,
        "labels": start.labels,
        # Steps of a checkpoint are steps of so many batches.
        "batches_per_step": n_ranks() * batches_per_rank(params.finetune.accumulation),
        **more,
    }
    texts = [text for part in parts for text in part.texts]
    targets = [array for part in parts for array in _arrays(part)]
    return of_first(lambda: scratch("checkpoints", facts, texts, targets))


def _scores(model: Classifier, part: Part, keep: Keep) -> ScoreMatrix:
    """What is kept of the scores of a part's documents, which the ranks share."""
    blocks = np.array_split(np.arange(len(part.texts)), n_ranks())

    def scored(mine: Sequence[np.ndarray]) -> list[ScoreMatrix]:
        return [of(rows_of(part, rows)) for rows in mine]

    def of(some: Part) -> ScoreMatrix:
        return keep.scored(
            lambda rows: model.scores(some.texts[rows], n_jobs=cores()), some.targets
        )

    return stacked(shared(scored, blocks))


def _arrays(part: Part) -> Iterator[np.ndarray]:
    """All of the part's targets and doubt; its number of documents is in the length of `indptr`."""
    for matrix in (part.targets, part.doubt):
        if matrix is not None:
            yield from (matrix.indptr, matrix.indices, matrix.data)
