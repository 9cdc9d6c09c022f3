"""Trains the head alone, on features computed once by the frozen encoder (linear probing)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from longtail.evaluation.selection import validation_f1
from longtail.models.classifier import Head
from longtail.models.progress import Progress, silent


@dataclass(frozen=True)
class HeadTraining:
    """How a head is trained: AdamW with a cosine schedule; the best epoch on val is kept.

    Attributes:
        learning_rate: peak of the schedule.
        weight_decay: AdamW's.
        epochs: passes over train.
        batch_size: documents.
        evaluate_every: epochs from one evaluation on val to the next; the last one always counts.
    """

    learning_rate: float
    weight_decay: float
    epochs: int
    batch_size: int
    evaluate_every: int = 1


@dataclass(frozen=True)
class Examples:
    """Features `(n_docs, n_features)` and 0/1 CSR targets `(n_docs, n_labels)` of one part."""

    features: np.ndarray
    targets: sp.csr_matrix


def train_head(
    head: Head,
    loss: nn.Module,
    train: Examples,
    val: Examples,
    *,
    how: HeadTraining,
    objective: str = "mean_f1",
    seed: int = 0,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Train `head` in place; it ends with the weights of its best epoch.

    The same seed gives the same weights on the same machine with the same number of threads.

    Args:
        head: trained from its current weights.
        loss: maps logits and targets, both `(batch, n_labels)`, to a scalar.
        train: what is learned from.
        val: what the best epoch is chosen on.
        how: the settings.
        objective: `micro_f1`, `macro_f1` or `mean_f1` on val.
        seed: of the order of the documents.
        progress: called with the epochs done and in total.

    Returns:
        The history, one row per evaluated epoch: `epoch`, `train_loss`, and `micro_f1`, `macro_f1`,
        `mean_f1` on val.
    """
    device = next(head.parameters()).device
    loss = loss.to(device)
    generator = np.random.default_rng(seed)
    n_steps = how.epochs * -(-len(train.features) // how.batch_size)
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    history: list[dict[str, Any]] = []
    best, best_weights = -1.0, copy.deepcopy(head.state_dict())
    for epoch in range(1, how.epochs + 1):
        mean_loss = _one_epoch(head, loss, train, optimizer, schedule, how.batch_size, generator)
        if epoch % how.evaluate_every == 0 or epoch == how.epochs:
            row = validation_f1(predict(head, val.features), val.targets)
            history.append({"epoch": epoch, "train_loss": mean_loss, **row})
            if row[objective] > best:
                best, best_weights = row[objective], copy.deepcopy(head.state_dict())
        progress(epoch, how.epochs)
    head.load_state_dict(best_weights)
    return history


def _one_epoch(
    head: Head,
    loss: nn.Module,
    train: Examples,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    batch_size: int,
    generator: np.random.Generator,
) -> float:
    """One pass over `train` in random order, and its mean loss per document."""
    head.train()
    total, order = 0.0, generator.permutation(len(train.features))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        targets = _tensor(train.targets[rows].toarray(), head)
        ensemble = head.ensemble(_tensor(train.features[rows], head))
        value = torch.stack([loss(logits, targets) for logits in ensemble]).mean()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        schedule.step()
        total += value.item() * len(rows)
    return total / len(order)


@torch.inference_mode()
def predict(head: Head, features: np.ndarray, *, batch_size: int = 1024) -> np.ndarray:
    """Scores σ(z) `(n_docs, n_labels)` float32 of `features` `(n_docs, n_features)`."""
    head.eval()
    parts = [
        head(_tensor(features[start : start + batch_size], head)).sigmoid().cpu().numpy()
        for start in range(0, len(features), batch_size)
    ]
    return np.concatenate(parts)


def _tensor(array: np.ndarray, head: Head) -> Tensor:
    return torch.tensor(array).to(head.mean)
