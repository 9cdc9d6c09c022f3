"""Runs a stage in several processes (ranks) that torchrun starts, one per GPU if there are any.

Rank 0 alone locks and writes the outputs and prints; see `longtail.models.ranks` for how they share
the work.
"""

from __future__ import annotations

import logging
import os
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
# In which all ranks must have started.
START = timedelta(minutes=5)
# What torchrun reads on each of several machines; Kubeflow Trainer sets them.
NODES, NODE, ADDRESS = "PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR"
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
    """On how many machines the stage was started together, as torchrun's own variable says.

    Raises:
        ParameterError: it is no number from 1 on, or on several machines another one is missing.
    """
    given = os.environ.get(NODES, "1")
    if not given.isdecimal() or int(given) < 1:
        raise ParameterError(f"{NODES} is {given!r}, expected the number of machines, 1 or more.")
    missing = [name for name in (NODE, ADDRESS) if name not in os.environ]
    if int(given) > 1 and missing:
        raise ParameterError(
            f"{NODES} is {given}, but {' and '.join(missing)} is not set: each machine needs its "
            "number, from 0, and the address of the first."
        )
    return int(given)


def run_in_ranks(n: int, module: str, argv: Sequence[str]) -> None:
    """Run `python -m module …` in `n` processes on this machine, until all have succeeded.

    Where it was started on several machines, these processes join those of the others. When one
    fails, the others are ended.

    Raises:
        SystemExit: one failed, with its exit code, or 128 plus the signal that ended it.
        TemporaryError: another machine did not come.
    """
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (cores or 1) // n)))
    logging.disable()  # this process does nothing else, and the ranks say what is wrong
    options = ["--nproc-per-node", str(n)]
    if (nodes := n_nodes()) == 1:
        options += ["--standalone", "--local-addr", "127.0.0.1"]
    else:  # torchrun reads from its variables where they meet
        print(f"{nodes} machines meet at {os.environ[ADDRESS]}.", flush=True)
    try:
        run(parse_args([*options, "-m", module, *argv]))
    except SignalException as error:
        sys.exit(128 + error.sigval)
    except DistError as error:
        raise TemporaryError(f"Not all {nodes} machines came ({error!s:.200}).") from None
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        code = failure.exitcode
        if code < 0:
            name = signal.Signals(-code).name
            print(
                f"Rank {number} of {n * nodes} was ended by {name}, so the others were, too.",
                file=sys.stderr,
            )
        sys.exit(code if code > 0 else 128 - code)


@contextmanager
def joined(stage: str) -> Iterator[None]:
    """Join this process with the others of the stage; alone it does nothing.

    Raises:
        ParameterError: PyTorch sees GPUs, but fewer than there are ranks.
        TemporaryError: of several machines, a process of one has ended or never started.
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
    try:
        _init(backend)
        yield
    except RuntimeError as error:
        # On one machine torchrun knows which process ended first, and why.
        known = isinstance(error, distributed.DistError) or "gloo" in str(error)
        if n_nodes() == 1 or not known:
            raise
        raise TemporaryError(
            "A process of this training has ended, or never started, here or on another machine "
            f"({error!s:.200}). Its own log says why; run this again."
        ) from None
    distributed.destroy_process_group()


def _init(backend: str) -> None:
    """Join the other ranks, once all are there; one that has failed by now never comes."""
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", rank(), n_ranks(), timeout=START))
    store.set(f"started/{rank()}", "")
    store.wait([f"started/{number}" for number in range(n_ranks())], START)
    distributed.init_process_group(
        backend, store=store, rank=rank(), world_size=n_ranks(), timeout=PATIENCE
    )


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
