"""Trains heads alone, on features computed once by the frozen encoder (linear probing)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import joblib
import numpy as np
import scipy.sparse as sp
import torch
from joblib import Parallel, delayed
from torch import Tensor

from longtail.evaluation.keeping import EVERYTHING, Keep
from longtail.evaluation.selection import validation_f1
from longtail.evaluation.sparse_scores import ScoreMatrix, stacked, taken
from longtail.frequency import class_frequencies
from longtail.losses.base import MultiLabelLoss
from longtail.models.classifier import EVERY, Columns, Head
from longtail.models.lazy_rows import LazyRows
from longtail.models.precision import computes_bf16
from longtail.models.progress import Progress, silent
from longtail.models.ranks import shared
from longtail.models.sampling import sampled
from longtail.models.threads import one_thread
from longtail.splitting.rounds import Plan, Rows

# Documents times epochs below which starting processes takes longer than the training.
SMALL = 20_000
# Batches per epoch, at least, as long as they have LEAST documents: few documents, many steps.
BATCHES, LEAST = 32, 8
MakeLoss = Callable[[np.ndarray, int], MultiLabelLoss]


@dataclass(frozen=True)
class HeadTraining:
    """How a head is trained: AdamW with a cosine schedule.

    Attributes:
        learning_rate: peak of the schedule.
        weight_decay: AdamW's.
        epochs: passes over the documents.
        batch_size: documents, at most; fewer where an epoch would have fewer than 32 batches.
        bf16: mixed precision, if the device computes in it.
        negatives: labels that a batch is learned from, at most, beside those that its documents
            have; see `longtail.models.sampling`.
    """

    learning_rate: float
    weight_decay: float
    epochs: int
    batch_size: int
    bf16: bool
    negatives: int = sys.maxsize

    def batch_of(self, n_docs: int) -> int:
        """Documents per batch where there are so many in all.

        >>> [HeadTraining(1e-3, 0.01, 16, 256, True).batch_of(n) for n in (100, 640, 50_000)]
        [8, 20, 256]
        """
        return min(self.batch_size, max(LEAST, -(-n_docs // BATCHES)))


@dataclass(frozen=True)
class HeadShape:
    """What a head is made of, see `longtail.models.classifier.Head`.

    Attributes:
        names: features of the label names `(n_labels, n_features)`; None: no label similarities.
    """

    hidden: int
    dropout: float
    names: np.ndarray | None


@dataclass(frozen=True)
class Examples:
    """What is learned from.

    Attributes:
        features: `(n_docs, n_features)`, float32 or float16; may be a memory map.
        targets: 0/1 CSR `(n_docs, n_labels)`.
        doubt: CSR float32 `(n_docs, n_labels)`: an entry counts 1 − doubt; None: all count 1.
    """

    features: np.ndarray | LazyRows
    targets: sp.csr_matrix
    doubt: sp.csr_matrix | None = None

    def at(self, rows: Rows) -> Examples:
        """Some documents."""
        doubt = None if self.doubt is None else self.doubt[rows]
        return Examples(LazyRows(self.features, rows), self.targets[rows], doubt)

    def answers(self, labels: Rows | slice = EVERY) -> list[np.ndarray]:
        """Targets of some labels, and what they count unless it is 1, dense."""
        targets = self.targets[:, labels].toarray()
        return [targets] if self.doubt is None else [targets, 1 - self.doubt[:, labels].toarray()]

    def occurring(self) -> np.ndarray:
        """Whether any document has each label, `(n_labels,)` bool."""
        found = np.zeros(self.targets.shape[1], dtype=bool)
        found[self.targets.indices] = True
        return found


class Fitted(NamedTuple):
    """What one round of one loss gives.

    Attributes:
        head: on the CPU; None if its scores are all that is asked for.
        scores: σ(z) float32 of the documents that the round scores.
        history: see `CrossFitted`; of these scores, if it is the first round.
    """

    head: Head | None
    scores: ScoreMatrix
    history: list[dict[str, Any]]


class Memory(Protocol):
    """Keeps rounds by a digest of everything that they were made from. It may forget."""

    def known(self, key: str) -> Fitted | None:
        """What was put under this key, if it is still there."""

    def put(self, key: str, fitted: Fitted) -> None:
        """Keep a round."""


@dataclass(frozen=True)
class CrossFitted:
    """The head of one loss.

    Attributes:
        head: of the refit, or of the only round.
        scores: σ(z) `(n_scored, n_labels)` float32 of the documents held out.
        history: one row per epoch of the first round: `epoch`, `train_loss`, and `micro_f1`,
            `macro_f1`, `mean_f1` on the documents that it scores.
    """

    head: Head
    scores: ScoreMatrix
    history: list[dict[str, Any]]


def new_head(examples: Examples, shape: HeadShape, seed: int) -> Head:
    """An untrained head: standardized, starting from label names and label frequencies.

    Args:
        examples: what it will learn from.
        shape: what it is made of.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    n_docs, n_features = examples.features.shape
    n_labels = examples.targets.shape[1]
    head = Head(n_features, n_labels, shape.hidden, shape.dropout, shape.names is not None)
    head.standardize_by(examples.features)
    if shape.names is not None:
        head.name_labels(torch.tensor(shape.names), examples.features)
    head.start_from_prior(torch.tensor(class_frequencies(examples.targets)), n_docs)
    return head


def cross_fit(
    examples: Examples,
    plan: Plan,
    losses: dict[str, MakeLoss],
    *,
    shape: HeadShape,
    how: HeadTraining,
    keep: Keep = EVERYTHING,
    device: str = "cpu",
    seed: int = 0,
    n_jobs: int = 1,
    memory: Memory | None = None,
    progress: Progress = silent,
) -> dict[str, CrossFitted]:
    """Train the heads of every loss and round; the same seed gives the same weights.

    On a CPU one thread trains a head, so the weights do not depend on the number of cores. Ranks
    (see `longtail.models.ranks`) share the heads.

    Args:
        examples: of train and val.
        plan: who learns from which of them.
        losses: by name, what makes the loss of label frequencies `(n_labels,)` and the number of
            documents that they were counted in.
        shape: of the heads.
        how: they are trained.
        keep: what is kept of the scores.
        device: `cpu` or `cuda`.
        seed: of the weights, and of the order of the documents.
        n_jobs: processes that train heads at the same time, on a CPU.
        memory: of heads that were trained before; each new one is put into it at once. With it,
            losses must be picklable: no lambdas.
        progress: called with the heads trained and to train, of this rank.
    """
    n_docs = len(examples.features)
    rounds = [*plan.rounds, *([(np.arange(n_docs), np.arange(0))] if plan.refit else [])]
    rest = (shape, how, keep, device, seed)
    jobs = [
        (*round_, make, *rest, not at, at == len(rounds) - 1)
        for make in losses.values()
        for at, round_ in enumerate(rounds)
    ]
    alone = device != "cpu" or n_docs * how.epochs < SMALL

    def fit(mine: Sequence[int]) -> list[Fitted]:
        keys = [] if memory is None else _keys(examples, [jobs[at] for at in mine])
        found = [memory.known(key) for key in keys] if memory is not None else [None] * len(mine)
        new = [place for place, one in enumerate(found) if one is None]
        calls = (delayed(_fit)(examples, *jobs[mine[place]]) for place in new)
        results = Parallel(1 if alone else n_jobs, return_as="generator")(calls)
        for done, (place, one) in enumerate(zip(new, results, strict=True), 1):
            if memory is not None:
                memory.put(keys[place], one)
            found[place] = one
            progress(done, len(new))
        return [one for one in found if one is not None]

    found = shared(fit, range(len(jobs)))
    fitted = {}
    for at, name in enumerate(losses):
        heads, scores, histories = zip(*found[at * len(rounds) :][: len(rounds)], strict=True)
        held_out = taken(stacked(scores[: len(plan.rounds)]), plan.order)
        assert heads[-1] is not None
        fitted[name] = CrossFitted(heads[-1].to(device), held_out, histories[0])
    return fitted


def _keys(examples: Examples, jobs: Sequence[tuple[Any, ...]]) -> list[str]:
    """A digest of all that `_fit` is given, for each of its calls."""
    matrices = (examples.targets, examples.doubt)
    # SciPy notes in a matrix what was found out about it, so its arrays are taken.
    arrays = [None if m is None else (m.shape, m.indptr, m.indices, m.data) for m in matrices]
    documents = joblib.hash((examples.features, arrays))  # once: by far the largest part
    return [joblib.hash((documents, job)) for job in jobs]


def _fit(
    examples: Examples,
    learned: Rows,
    scored: Rows,
    make_loss: MakeLoss,
    shape: HeadShape,
    how: HeadTraining,
    keep: Keep,
    device: str,
    seed: int,
    watched: bool,
    kept: bool,
) -> Fitted:
    """Train one head; `watched` asks for the F1 of each epoch, `kept` for the head."""
    train, others = examples.at(learned), examples.at(scored)
    with one_thread(device):
        head = new_head(train, shape, seed).to(device)
        loss = make_loss(class_frequencies(train.targets), len(learned))
        history = train_head(
            head, loss, train, how=how, keep=keep, seed=seed, watched=others if watched else None
        )
        scores = kept_scores(head, others, keep)
        return Fitted(head.cpu() if kept else None, scores, history)


def train_head(
    head: Head,
    loss: MultiLabelLoss,
    train: Examples,
    *,
    how: HeadTraining,
    keep: Keep = EVERYTHING,
    seed: int = 0,
    watched: Examples | None = None,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Train `head` in place for all epochs: the schedule ends at 0, so none has to be chosen.

    Args:
        head: trained from its current weights.
        loss: maps logits, targets, and what entries count if `train` says so, all
            `(batch, n_labels)`, to a scalar.
        train: what is learned from.
        how: the settings.
        keep: what is kept of the scores of what is watched.
        seed: of the order of the documents, and of dropout.
        watched: documents whose F1 is measured after each epoch.
        progress: called with the epochs done and in total.

    Returns:
        The history, one row per epoch: `epoch`, `train_loss`, and of what is watched `micro_f1`,
        `macro_f1`, `mean_f1`.
    """
    device = next(head.parameters()).device
    loss = loss.to(device)
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    n_steps = how.epochs * -(-len(train.features) // how.batch_of(len(train.features)))
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    history: list[dict[str, Any]] = []
    for epoch in range(1, how.epochs + 1):
        mean_loss = _one_epoch(head, loss, train, optimizer, schedule, how, generator)
        row: dict[str, Any] = {"epoch": epoch, "train_loss": mean_loss}
        if watched is not None:
            row |= validation_f1(kept_scores(head, watched, keep), watched.targets)
        history.append(row)
        progress(epoch, how.epochs)
    return history


def _one_epoch(
    head: Head,
    loss: MultiLabelLoss,
    train: Examples,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    how: HeadTraining,
    generator: np.random.Generator,
) -> float:
    """One pass over `train` in random order, and its mean loss per document."""
    head.train()
    device = head.mean.device.type
    mixed = torch.autocast(device, torch.bfloat16, enabled=how.bf16 and computes_bf16(device))
    total, order = 0.0, generator.permutation(len(train.features))
    size = how.batch_of(len(order))
    for start in range(0, len(order), size):
        batch = train.at(order[start : start + size])
        own, answers, labels = _of_batch(loss, batch, head, how, generator)
        with mixed:
            ensemble = head.ensemble(_tensor(batch.features[:], head), labels)
        value = torch.stack([own(logits.float(), *answers) for logits in ensemble]).mean()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        schedule.step()
        total += value.item() * len(batch.features)
    return total / len(order)


def _of_batch(
    loss: MultiLabelLoss,
    batch: Examples,
    head: Head,
    how: HeadTraining,
    generator: np.random.Generator,
) -> tuple[MultiLabelLoss, list[Tensor], Columns]:
    """The loss of a batch, what it is given beside the logits, and the labels that these are of."""
    some = sampled(batch.occurring(), how.negatives, generator)
    if some is None:
        return loss, [_tensor(part, head) for part in batch.answers()], EVERY
    labels, counts = some
    targets, *weights = batch.answers(labels)
    weight = counts * weights[0] if weights else np.broadcast_to(counts, targets.shape)
    columns = torch.from_numpy(labels).to(head.mean.device)
    part = loss.of_labels(columns)
    return part, [_tensor(targets, head), _tensor(weight, head)], columns


def kept_scores(head: Head, examples: Examples, keep: Keep) -> ScoreMatrix:
    """What is kept of the head's scores of some documents."""
    return keep.scored(lambda rows: predict(head, examples.features[rows]), examples.targets)


@torch.inference_mode()
def predict(head: Head, features: np.ndarray | LazyRows, *, batch_size: int = 1024) -> np.ndarray:
    """Scores σ(z) `(n_docs, n_labels)` float32 of `features` `(n_docs, n_features)`."""
    head.eval()
    parts = [
        head(_tensor(features[start : start + batch_size], head)).sigmoid().cpu().numpy()
        for start in range(0, max(len(features), 1), batch_size)
    ]
    return np.concatenate(parts)


def _tensor(array: np.ndarray, head: Head) -> Tensor:
    return torch.tensor(array).to(next(head.parameters()))
