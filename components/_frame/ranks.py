"""Runs a stage in several processes (ranks) that torchrun starts, one per GPU if there are any.

Rank 0 alone locks and writes the outputs, keeps the caches, and prints; see `longtail.models.ranks`
for how they share the work.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta

from components._frame.exit_codes import BUG, TemporaryError
from components._frame.launch import exit_code
from longtail.errors import ParameterError

# For a rank that has more to do than the others, such as one head more; torchrun itself sees at
# once when one ends.
PATIENCE = timedelta(hours=2)
# In which torchrun ends the ranks that fail only because another one has, or for the same reason;
# a process takes seconds to end.
GRACE_SECONDS = 10.0
# What gloo and NCCL say where a process on another machine is gone.
LOST = re.compile(r"by peer|[Bb]roken pipe|remote process|timed out|[Tt]imeout")
NODES = "PET_NNODES"  # which Kubeflow Trainer sets, with the others that begin so
WATCH_SECONDS = 2.0


def rank() -> int:
    """The number of this process, from 0, as torchrun says; 0 without it."""
    return int(os.environ.get("RANK", 0))


def n_ranks() -> int:
    """How many processes torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def n_local_ranks() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def n_nodes() -> int:
    """On how many machines the stage was started together, as torchrun's own variable says."""
    return int(os.environ.get(NODES, 1))


def run_in_ranks(n: int, module: str, argv: Sequence[str]) -> None:
    """Run `python -m module …` in `n` processes on this machine, until all have succeeded.

    Where it was started on several machines, these processes join those of the others. When one
    fails, the others are ended.

    Raises:
        SystemExit: one failed, with its exit code, or 128 plus the signal that ended it.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (cores or 1) // n)))
    logging.disable()  # this process does nothing else, and the ranks say what is wrong
    # On several machines, torchrun reads from its variables where they meet.
    alone = ["--standalone", "--local-addr", "127.0.0.1"] if n_nodes() == 1 else []
    try:
        run(parse_args([*alone, "--nproc-per-node", str(n), "-m", module, *argv]))
    except SignalException as error:
        sys.exit(128 + error.sigval)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        code = failure.exitcode
        if code < 0:
            name = signal.Signals(-code).name
            print(
                f"Rank {number} of {n * n_nodes()} was ended by {name}, so the others were, too.",
                file=sys.stderr,
            )
        sys.exit(code if code > 0 else 128 - code)


@contextmanager
def joined(stage: str) -> Iterator[None]:
    """Join this process with the others of the stage; alone it does nothing.

    Raises:
        ParameterError: PyTorch sees GPUs, but fewer than there are ranks.
        TemporaryError: a process of another machine has ended.
    """
    if n_ranks() == 1:
        yield
        return
    import torch
    from torch import distributed

    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    backend = "gloo"
    if torch.cuda.is_available():
        local, seen = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= seen:
            raise ParameterError(
                f"{stage} was started in {n_ranks()} processes, one per GPU, but PyTorch sees "
                f"{seen}; start as many, or set CUDA_VISIBLE_DEVICES= to train on the CPU."
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
    except RuntimeError as error:
        # On one machine torchrun knows which process ended first, and why.
        if n_nodes() == 1 or not LOST.search(str(error)):
            raise
        raise TemporaryError(
            f"A process on another machine has ended, or cannot be reached ({error!s:.200}). "
            "Its own log says why; run this again."
        ) from None
    distributed.destroy_process_group()


@contextmanager
def one_voice() -> Iterator[None]:
    """Let rank 0 print, and of several errors show only the one that the others come from.

    All ranks often find the same fault, and a rank that has lost another one fails as well; so
    rank 0 tells its known errors at once, and everything else waits until torchrun would have ended
    this process for another one's error.
    """
    if n_ranks() == 1:
        yield
        return
    with open(os.devnull, "w") as nowhere:
        try:
            with redirect_stdout(nowhere if rank() else sys.stdout):
                yield
        except Exception as error:
            if rank() or exit_code(error) == BUG:
                time.sleep(GRACE_SECONDS)
            raise


def _end_with_parent(parent: int) -> None:
    """End this process when torchrun is gone, as after SIGKILL, which it cannot pass on."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(128 + signal.SIGTERM)
