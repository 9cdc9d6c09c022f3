"""Documents as token ids with their targets, and how a batch of them is padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase


class Documents(Dataset):
    """Token ids and target rows `(n_labels,)`, which stay sparse until they are batched.

    With `doubt`, see `longtail.models.heads.Examples`, each row has a second one: of doubt.
    """

    def __init__(
        self,
        token_ids: Sequence[Sequence[int]],
        targets: sp.csr_matrix,
        doubt: sp.csr_matrix | None = None,
    ) -> None:
        self.token_ids, self.targets, self.doubt = token_ids, targets, doubt
        self.lengths = np.array([len(ids) for ids in token_ids])

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, row: int) -> dict[str, Any]:
        labels = self.targets[row]
        if self.doubt is not None:
            labels = sp.vstack([labels, self.doubt[row]], "csr")
        return {"input_ids": self.token_ids[row], "labels": labels}


@dataclass(frozen=True)
class Collator:
    """Pads token ids to the longest document of the batch and makes its targets dense.

    `labels` are the targets `(batch, n_labels)`; with doubt, targets and what they count,
    `(batch, 2, n_labels)`: the Trainer takes one tensor.
    """

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, documents: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch = self.tokenizer.pad(
            {"input_ids": [document["input_ids"] for document in documents]}, return_tensors="pt"
        )
        labels = sp.vstack([document["labels"] for document in documents]).toarray()
        if len(labels) > len(documents):
            labels = labels.reshape(len(documents), 2, -1)
            labels[:, 1] = 1 - labels[:, 1]
        return {
            "input_ids": batch["input_ids"],
            "attention_mask": batch["attention_mask"],
            "labels": torch.from_numpy(labels.astype(np.float32)),
        }
