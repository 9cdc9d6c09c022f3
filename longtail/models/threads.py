"""How many threads PyTorch computes with, and how batches share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from joblib import cpu_count  # what a container allows


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Compute in one thread on a CPU, because sums of several depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device == "cpu" else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def each_in_a_thread(
    compute: Callable[[Any], Any], batches: Iterable[Any], device: str, n_jobs: int | None
) -> Iterator[Any]:
    """What `compute` makes of each batch, in their order.

    Threads with a batch each idle less than threads that share one: its layers are small.

    Args:
        compute: of one batch; it runs in one thread, so its result does not depend on `n_jobs`.
        batches: read in the calling thread.
        device: of the model; on a GPU, one batch at a time.
        n_jobs: threads; None: one per core.
    """
    with (
        one_thread(device),
        # A new thread has its number of threads from the environment until it is told.
        ThreadPoolExecutor(
            (n_jobs or cpu_count()) if device == "cpu" else 1,
            "",
            torch.set_num_threads,
            (torch.get_num_threads(),),
        ) as pool,
    ):
        yield from pool.map(compute, batches)
