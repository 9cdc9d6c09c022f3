"""Forward + backward of every loss, compared with stock BCE and with DB from stock calls.

    python -m benchmarks.losses [--batch 32 --n-labels 18211 --repeats 60 --threads N --device cpu]

All peers run in one process, interleaved, on the same logits and targets (12.3 labels per document,
Zipf frequencies). Time is the median over the turns; ratios are medians of the ratios to BCE in the
same turn. Extra memory is the peak of live tensor storage that one forward + backward adds to its
inputs, in units of the logits; the returned gradient counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from longtail.losses import LOSSES, loss_options, make_loss

LABELS_PER_DOC, TRAIN_NUM, MU = 12.3, 224_897, 0.05
Step = Callable[[Tensor], Tensor]


def plain_db(logits: Tensor, targets: Tensor, n: Tensor) -> Tensor:
    """DB as a straightforward chain of stock calls, from the equations."""
    shifted = logits - 0.05 * torch.log(TRAIN_NUM / n - 1)
    scaled = torch.where(targets > 0, shifted, 2 * shifted)
    bce = F.binary_cross_entropy_with_logits(scaled, targets, reduction="none")
    p = torch.sigmoid(scaled)
    focus = torch.where(targets > 0, 1 - p, p) ** 2
    r = (1 / n) / (targets / n).sum(1, keepdim=True)
    weights = 0.1 + torch.sigmoid(10 * (r - MU))
    loss = weights * focus * bce
    return torch.where(targets > 0, loss, loss / 2).mean()


def draw(batch: int, n_labels: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Logits and targets `(batch, n_labels)`, and the labels' Zipf frequencies `(n_labels,)`."""
    generator = torch.Generator().manual_seed(0)
    n = (1e5 / torch.arange(1, n_labels + 1)).floor().clamp(min=1)
    logits = torch.randn(batch, n_labels, generator=generator) - 3
    drawn = torch.multinomial(n.expand(batch, -1), round(LABELS_PER_DOC), generator=generator)
    targets = torch.zeros(batch, n_labels).scatter_(1, drawn, 1)
    return logits.to(device), targets.to(device), n.to(device)


def seconds(step: Step, logits: Tensor) -> float:
    leaf = logits.clone().requires_grad_()
    wait = torch.cuda.synchronize if logits.is_cuda else lambda: None
    wait()
    start = time.perf_counter()
    step(leaf).backward()
    wait()
    return time.perf_counter() - start


def extra_memory(step: Step, logits: Tensor) -> float:
    """Peak of memory allocated during one forward + backward, in units of the logits."""
    leaf = logits.clone().requires_grad_()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step(leaf).backward()
    live = peak = 0
    memory = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(memory, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak / (logits.numel() * logits.element_size())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--n-labels", type=int, default=18_211)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logits, targets, n = draw(args.batch, args.n_labels, args.device)
    peers: dict[str, Step] = {
        "F.binary_cross_entropy_with_logits": lambda z: F.binary_cross_entropy_with_logits(
            z, targets
        ),
        "db, chain of stock calls": lambda z: plain_db(z, targets, n),
    }
    for name in LOSSES:
        options: dict[str, Any] = {"mu": MU} if "mu" in loss_options(name) else {}
        loss = make_loss(name, n.cpu(), TRAIN_NUM, **options).to(args.device)
        peers[name] = partial(lambda loss, z: loss(z, targets), loss)
    warm_up = 5
    turns = [
        [seconds(step, logits) for step in peers.values()] for _ in range(warm_up + args.repeats)
    ][warm_up:]
    print(
        f"({args.batch}, {args.n_labels}) float32 on {args.device}, {args.threads} threads, "
        f"{args.repeats} turns, torch {torch.__version__}\n"
    )
    print("| loss | ms | × BCE | extra memory, × logits |\n|---|---|---|---|")
    for i, (name, step) in enumerate(peers.items()):
        ms = statistics.median(turn[i] for turn in turns) * 1e3
        ratio = statistics.median(turn[i] / turn[0] for turn in turns)
        memory = f"{extra_memory(step, logits):.1f}" if args.device == "cpu" else "–"
        print(f"| {name} | {ms:.2f} | {ratio:.2f} | {memory} |")


if __name__ == "__main__":
    main()
