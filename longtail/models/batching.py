"""Batches of similar length under a budget of tokens, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def token_budget_batches(lengths: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Row numbers `(batch,)` of batches, longest documents first.

    A batch of b rows costs b × its longest row, padding included, and stays within
    `batch_tokens`; a single row over the budget is a batch of its own. Starting with the longest
    shows at once whether the largest batch fits in memory.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + size])
        start += size
    return batches


class TokenBudgetSampler:
    """A batch sampler: shuffled every epoch, each batch of similar lengths under a token budget.

    Documents are shuffled, sorted by length in steps of `STEP` tokens, and cut into batches, which
    are shuffled again. The sorted lengths are the same in every epoch, so the number of batches is
    too (schedulers are built from it), while documents of one step of length change company. The
    order depends on (seed, epoch) only, so that a resumed run sees the same batches. The number
    of batches is a multiple of `multiple_of`: a few random ones are left out of an epoch for it.
    """

    STEP = 16

    def __init__(
        self, lengths: np.ndarray, batch_tokens: int, *, seed: int, multiple_of: int = 1
    ) -> None:
        self.steps = -(-np.asarray(lengths) // self.STEP) * self.STEP
        self.batch_tokens, self.seed, self.epoch = batch_tokens, seed, 0
        n_batches = len(token_budget_batches(self.steps, batch_tokens))
        # Processes that share the batches must get equally many, or they wait for ever.
        self._n_batches = max(multiple_of, n_batches - n_batches % multiple_of)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of epoch number `epoch`."""
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
