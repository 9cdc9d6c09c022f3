"""The profile `finetune`: encoder and head learn together, starting from the head's profile."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace

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
from longtail.models.encoder import encoder_digest
from longtail.models.finetune import Documents, FineTuning, batches_per_rank, fine_tune
from longtail.models.heads import MakeLoss
from longtail.models.ranks import n_ranks, of_first, shared

Parts = dict[str, Part]
SCORED = ("val", "test")


def finetune_best(
    heads: Trained, losses: dict[str, MakeLoss], parts: Parts, params: Params, choice: Choice
) -> Trained:
    """Fine-tune the chosen loss and the one it is compared with, if tried, from their heads.

    A model that would not be served better on val for it is left as it was.
    """
    names = [choice.of(heads.served)]
    names += [COMPARED] if COMPARED in heads.models and COMPARED not in names else []
    found = replace(
        heads,
        models={name: heads.models[name] for name in names},
        scores={name: heads.scores[name] for name in names},
        served={name: heads.served[name] for name in names},
        profiles=dict.fromkeys(names, "head"),
        history=list(heads.history),
    )
    train = parts["train"].targets
    for name in names:
        loss = losses[name](class_frequencies(train), train.shape[0])
        tuned, epochs = finetune(heads.models[name], name, loss, parts, params)
        scores = {part: _scores(tuned, parts[part], choice.keep) for part in SCORED}
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
    model = with_head(start, copy.deepcopy(start.head))
    model.encoder = copy.deepcopy(start.encoder)
    train, val = parts["train"], parts["val"]
    documents = {
        "train": Documents(model.tokenize(train.texts), train.targets, train.doubt),
        "val": Documents(model.tokenize(val.texts), val.targets),
    }
    facts = {
        "params": params.model_dump(),
        "encoder": encoder_digest(start.encoder, start.tokenizer),
        "loss": name,
        "labels": model.labels,
        # Steps of a checkpoint are steps of so many batches.
        "batches_per_step": n_ranks() * batches_per_rank(params.finetune.accumulation),
    }
    texts = [text for part in documents for text in parts[part].texts]
    # Val too: it decides on the best epoch, and when to stop.
    targets = [array for part in documents for array in _arrays(parts[part])]
    checkpoints = of_first(lambda: scratch("checkpoints", facts, texts, targets))
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
    of_first(lambda: shutil.rmtree(checkpoints))
    return model, [{"loss": name, "profile": "finetune", **row} for row in rows]


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
