"""Trains the head alone, on features that were computed once (linear probing and its small kin)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from longtail.evaluation.selection import validation_f1
from longtail.models.classifier import Head


@dataclass(frozen=True)
class HeadTraining:
    """How a head is trained: AdamW with a cosine schedule over `epochs`, best epoch kept."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    epochs: int = 30
    batch_size: int = 64
    evaluate_every: int = 1


@dataclass(frozen=True)
class Examples:
    """Features `(n_docs, n_features)` and 0/1 targets `(n_docs, n_labels)` CSR of one part."""

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
    name: str = "head",
) -> list[dict[str, Any]]:
    """Train `head` in place; it ends with the weights of its best epoch by val `objective`.

    Returns the history, one row an epoch: `epoch`, `train_loss`, `micro_f1`, `macro_f1`,
    `mean_f1` (val). The same seed gives the same weights on the same machine and thread count.
    """
    device = next(head.parameters()).device
    loss = loss.to(device)
    generator = np.random.default_rng(seed)
    n_steps = how.epochs * -(-len(train.features) // how.batch_size)
    optimiser = torch.optim.AdamW(
        head.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    history: list[dict[str, Any]] = []
    best, best_weights = -1.0, copy.deepcopy(head.state_dict())
    for epoch in tqdm(range(1, how.epochs + 1), desc=name, unit="epoch", disable=None):
        mean_loss = _one_epoch(head, loss, train, optimiser, schedule, how.batch_size, generator)
        if epoch % how.evaluate_every and epoch != how.epochs:
            continue
        row = validation_f1(predict(head, val.features), val.targets)
        history.append({"epoch": epoch, "train_loss": mean_loss, **row})
        if row[objective] > best:
            best, best_weights = row[objective], copy.deepcopy(head.state_dict())
    head.load_state_dict(best_weights)
    return history


def _one_epoch(
    head: Head,
    loss: nn.Module,
    train: Examples,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    batch_size: int,
    generator: np.random.Generator,
) -> float:
    """One pass over `train` in random order; returns the mean loss per document."""
    head.train()
    total, order = 0.0, generator.permutation(len(train.features))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        targets = _tensor(train.targets[rows].toarray(), head)
        members = head.members(_tensor(train.features[rows], head))
        value = torch.stack([loss(logits, targets) for logits in members]).mean()
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        schedule.step()
        total += value.item() * len(rows)
    return total / len(order)


@torch.inference_mode()
def predict(head: Head, features: np.ndarray, *, batch_size: int = 1024) -> np.ndarray:
    """Scores σ(z) float32 `(n_docs, n_labels)` of `features` `(n_docs, n_features)`."""
    head.eval()
    parts = [
        head(_tensor(features[start : start + batch_size], head)).sigmoid().cpu().numpy()
        for start in range(0, len(features), batch_size)
    ]
    return np.concatenate(parts)


def _tensor(array: np.ndarray, head: Head) -> Tensor:
    return torch.tensor(array).to(head.mean)
