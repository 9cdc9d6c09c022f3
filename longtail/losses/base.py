"""What every loss shares: checks, float32 under autocast, and the reduction of the sum."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from longtail.errors import DataError, ParameterError, unknown_name

REDUCTIONS = ("mean", "sum")


class Frequencies(NamedTuple):
    """Label counts of train: `n` `(n_labels,)` float64, and the number of documents."""

    n: Tensor
    train_num: int

    @property
    def seen(self) -> Tensor:
        """`n`, or 1 for a label without a document so that 1/n is finite; `(n_labels,)`."""
        return self.n.clamp(min=1)


def check_frequencies(
    class_freq: Sequence[float] | np.ndarray | Tensor, train_num: int
) -> Frequencies:
    """The counts, if a training part can have them; see `make_loss`.

    Raises:
        ParameterError: not one-dimensional, or a count or `train_num` out of range.
    """
    n = torch.as_tensor(class_freq, dtype=torch.float64)
    if n.ndim != 1 or not len(n):
        raise ParameterError(f"class_freq must have shape (n_labels,), got {tuple(n.shape)}.")
    if not float(train_num).is_integer() or train_num < 2:
        raise ParameterError(f"train_num must be an integer >= 2, got {train_num}.")
    wrong = ~((n >= 0) & (n <= train_num))  # also true for NaN
    if wrong.any():
        at = int(wrong.nonzero()[0])
        raise ParameterError(
            f"class_freq[{at}] must be from 0 to train_num = {train_num}, "
            f"got {n[at].item()}; count the positives of the training part."
        )
    return Frequencies(n, int(train_num))


def number(name: str, value: float, low: float = -1e6, high: float = 1e6) -> float:
    """`value` as a float.

    Raises:
        ParameterError: not a number, NaN, or outside [low, high].
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
        raise ParameterError(
            f"{name} must be a number from {low:g} to {high:g}, got {value!r:.60}."
        )
    return float(value)


class MultiLabelLoss(nn.Module):
    """A sum over (document, label) entries, reduced; what `make_loss` returns.

    `reduction="sum"` divided by batch · n_labels equals `"mean"`, so
    `loss(logits, labels) / num_items_in_batch` is correct under gradient accumulation in
    `transformers.Trainer`, which counts every entry of `labels`.

    Args:
        entries: module that maps logits, targets, the positives' row and column indices, and the
            weights of the entries (None: 1) to the sum over all entries.
        n_labels: number of labels.
        loss_weight: multiplies the result; at least 0.
        reduction: `mean` or `sum`.
    """

    def __init__(
        self, entries: nn.Module, n_labels: int, loss_weight: float = 1.0, reduction: str = "mean"
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise unknown_name("reduction", reduction, REDUCTIONS)
        self.entries = entries
        self.n_labels = n_labels
        self.loss_weight = number("loss_weight", loss_weight, low=0)
        self.reduction = reduction

    def forward(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Loss of a batch.

        Args:
            logits: `(batch, n_labels)`, any float dtype; not modified.
            targets: `(batch, n_labels)`, 0 or 1, any dtype.
            weights: `(batch, n_labels)`, what each entry counts, 0 or more; None: 1. The mean is
                still over the number of entries.

        Returns:
            A scalar in float32, or in float64 for float64 logits.

        Raises:
            DataError: another shape or another target value.
        """
        self._check_shapes(logits, targets=targets, weights=weights)
        # Half precision cannot hold the loss of many labels: compute in float32, without autocast.
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits if logits.dtype == torch.float64 else logits.float()
            targets = targets.to(logits.dtype)
            positives = targets.nonzero(as_tuple=True)
            _check_ones(targets, positives)
            weights = None if weights is None else weights.to(logits.dtype)
            total = self.entries(logits, targets, positives, weights)
        return total * (self.loss_weight / (logits.numel() if self.reduction == "mean" else 1))

    def of_labels(self, columns: Tensor) -> MultiLabelLoss:
        """The part of the loss that some labels have, as a loss of these labels.

        Their frequencies stay what they are among all labels, and a mean stays one over the entries
        of all labels. Documents have no other labels than these.

        Args:
            columns: `(n_columns,)` int.
        """
        part = copy.deepcopy(self)
        for module in part.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.shape[-1] == self.n_labels:
                    setattr(module, name, buffer[..., columns])
        part.n_labels = len(columns)
        if self.reduction == "mean":
            part.loss_weight *= len(columns) / self.n_labels
        return part

    def _check_shapes(self, logits: Tensor, **others: Tensor | None) -> None:
        expected = f"(batch, {self.n_labels})"
        if logits.ndim != 2 or logits.shape[1] != self.n_labels or not len(logits):
            raise DataError(f"logits must have shape {expected}, got {tuple(logits.shape)}.")
        for name, other in others.items():
            if other is not None and other.shape != logits.shape:
                raise DataError(
                    f"{name} must have the shape of logits, {tuple(logits.shape)}, "
                    f"got {tuple(other.shape)}."
                )


def _check_ones(targets: Tensor, positives: tuple[Tensor, ...]) -> None:
    """Reject soft, masked (-100) and NaN targets; the losses are defined for 0 and 1."""
    wrong = targets[positives] != 1
    if wrong.any():
        row, column = (int(index[wrong][0]) for index in positives)
        raise DataError(
            f"targets must be 0 or 1, got {targets[row, column].item()} "
            f"at row {row}, label {column}."
        )
