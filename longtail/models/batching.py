"""Batches of similar length within a token budget, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# So few that what a layer computes stays in a core's cache, on a CPU; a GPU wants more at once.
CPU_TOKENS, GPU_TOKENS = 1024, 16384


def token_budget_batches(lengths: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Cut documents into batches, longest first.

    A batch of b rows costs b × its longest row, padding included. Starting with the longest shows
    right away whether the largest batch fits in memory.

    Args:
        lengths: `(n_docs,)` tokens of each document.
        batch_tokens: the cost of a batch at most; a single row over it is a batch of its own.

    Returns:
        The row numbers of each batch, `(batch,)`.

    >>> [rows.tolist() for rows in token_budget_batches(np.array([3, 9, 2, 4]), 8)]
    [[1], [3, 0], [2]]
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + size])
        start += size
    return batches


class TokenBudgetSampler:
    """A batch sampler that shuffles every epoch and keeps batches within a token budget.

    Documents are shuffled, sorted by length in steps of `STEP` tokens, and cut into batches, which
    are shuffled again. The sorted lengths are the same in every epoch, and so is the number of
    batches (schedulers are built from it), while documents of about the same length are regrouped.
    The order depends on (seed, epoch) only, so a resumed run sees the same batches.

    Args:
        lengths: `(n_docs,)` tokens of each document.
        batch_tokens: see `token_budget_batches`.
        seed: of the order.
        multiple_of: the number of batches is a multiple of this; a few random ones are left out of
            an epoch to get there.

    Attributes:
        documents_per_batch: the mean.
    """

    STEP = 16

    def __init__(
        self, lengths: np.ndarray, batch_tokens: int, *, seed: int, multiple_of: int = 1
    ) -> None:
        self.steps = -(-np.asarray(lengths) // self.STEP) * self.STEP
        self.batch_tokens, self.seed, self.epoch = batch_tokens, seed, 0
        n_batches = len(token_budget_batches(self.steps, batch_tokens))
        self.documents_per_batch = len(self.steps) / max(1, n_batches)
        # Processes that share the batches must get equally many, or they wait forever.
        self._n_batches = max(multiple_of, n_batches - n_batches % multiple_of)

    def set_epoch(self, epoch: int) -> None:
        """Use the order of epoch number `epoch`."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        shuffled = rng.permutation(len(self.steps))
        batches = token_budget_batches(self.steps[shuffled], self.batch_tokens)
        order = np.resize(rng.permutation(len(batches)), self._n_batches)
        for i in order:
            yield shuffled[batches[i]].tolist()

    def __len__(self) -> int:
        return self._n_batches
