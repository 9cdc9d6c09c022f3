"""How the processes that train together (ranks) share work; a process alone does all of it.

Whoever starts several processes joins them in one process group of `torch.distributed` first. All
ranks must call these functions in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed

T = TypeVar("T")


def rank() -> int:
    """The number of this process among those that train together, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def n_ranks() -> int:
    """How many processes train together; 1 if this one is alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def shared(work: Callable[[Sequence[Any]], Sequence[T]], items: Sequence[Any]) -> list[T]:
    """What `work` makes of each item, in their order, on every rank.

    Rank r does every n-th item from r on, so that long and short ones are dealt out evenly if
    they are sorted.

    Args:
        work: one result per item that it is given; results are pickled, so on the CPU.
        items: the same on all ranks.
    """
    mine = list(work(items[rank() :: n_ranks()]))
    if n_ranks() == 1:
        return mine
    every: list[Any] = [None] * n_ranks()
    distributed.all_gather_object(every, mine)
    return [every[at % n_ranks()][at // n_ranks()] for at in range(len(items))]


def of_first(make: Callable[[], T]) -> T:
    """What `make` returns on rank 0, which alone calls it; the others wait for it."""
    found: list[Any] = [make() if rank() == 0 else None]
    if n_ranks() > 1:
        distributed.broadcast_object_list(found, src=0)
    return found[0]


def fill_from_first(array: np.ndarray) -> None:
    """Copy rank 0's contents of a numeric array into those of the others, which have its shape."""
    if n_ranks() > 1:
        distributed.broadcast(torch.from_numpy(array), src=0)
