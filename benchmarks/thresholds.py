"""Thresholds: speed against a grid search, memory at 45,000 x 18,211.

python -m benchmarks.thresholds speed
python -m benchmarks.thresholds memory            # writes 1.6 GB to a temporary folder

Which rule is the best is a question for `benchmarks.rules`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import f1_score, precision_score, recall_score

from longtail import thresholds
from longtail.evaluation.metrics import apply_thresholds, micro_f1

LARGE = (45_000, 18_211)


def simulated(n_docs: int, n_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores float32 and targets bool, both `(n_docs, n_labels)`, with a long tail."""
    rng = np.random.default_rng(seed)
    frequency = np.minimum(0.35, 0.4 / np.arange(1, n_labels + 1))
    targets = rng.random((n_docs, n_labels)) < frequency
    logits = rng.normal(-4, 1.2, targets.shape) + 5 * targets
    return (1 / (1 + np.exp(-logits))).astype(np.float32), targets


def grid_search(scores: np.ndarray, targets: np.ndarray) -> float:
    """The peer: 60 steps from 0 to 1, scikit-learn's F1, precision and recall at each."""
    best, chosen = -1.0, 0.5
    for step in np.linspace(0, 1, 60, endpoint=False):
        predicted = scores >= step
        f1, *_ = (
            metric(targets, predicted, average="micro", zero_division=0)
            for metric in (f1_score, precision_score, recall_score)
        )
        if f1 > best:
            best, chosen = f1, step
    return chosen


def speed() -> None:
    print("3,019 x 90 float32, 5 rounds, interleaved\n")
    print("| seed | grid search s | exact ms | ratio | grid micro-F1 | exact micro-F1 |")
    print("|---|---|---|---|---|---|")
    for seed in range(5):
        scores, targets = simulated(3019, 90, seed)
        started = time.perf_counter()
        coarse = grid_search(scores, targets)
        middle = time.perf_counter()
        exact = thresholds.tune(scores, targets)
        ended = time.perf_counter()
        slow, fast = middle - started, ended - middle
        f1 = [micro_f1(apply_thresholds(scores, limit), targets) for limit in (coarse, exact)]
        print(
            f"| {seed} | {slow:.2f} | {1000 * fast:.1f} | {slow / fast:.0f} "
            f"| {f1[0]:.6f} | {f1[1]:.6f} |"
        )
        assert f1[1] >= f1[0], "the exact optimum is below the grid's"


def write_large(folder: Path) -> None:
    """Write scores (float16 .npy) and targets (.npz) of `LARGE` shape, 12.3 labels per document."""
    n_docs, n_labels = LARGE
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, n_labels + 1)
    rows = np.repeat(np.arange(n_docs), rng.poisson(12.3, n_docs))
    columns = rng.choice(n_labels, size=len(rows), p=share / share.sum())
    targets = sp.csr_matrix((np.ones(len(rows), bool), (rows, columns)), shape=LARGE)
    sp.save_npz(folder / "targets.npz", targets)
    scores = np.lib.format.open_memmap(
        folder / "scores.npy", mode="w+", dtype=np.float16, shape=LARGE
    )
    for start in range(0, n_docs, 1000):
        logits = rng.standard_normal((1000, n_labels), dtype=np.float32) * 1.2 - 7
        logits += 6 * targets[start : start + 1000].toarray()
        scores[start : start + 1000] = 1 / (1 + np.exp(-logits))
    scores.flush()


def tune_large(folder: Path) -> None:
    scores = np.load(folder / "scores.npy", mmap_mode="r")
    targets = sp.load_npz(folder / "targets.npz")

    def report(name: str, act: Callable[[], object]) -> object:
        started = time.perf_counter()
        result = act()
        status = Path("/proc/self/status").read_text()  # ru_maxrss survives exec, VmHWM does not
        peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20
        print(f"| {name} | {time.perf_counter() - started:.1f} | {peak:.2f} |", flush=True)
        return result

    print("| 45,000 x 18,211 float16 on disk | s | peak resident GiB so far |\n|---|---|---|")
    report("nothing (imports, targets)", lambda: None)
    report("global", lambda: thresholds.tune(scores, targets))
    own = report("per_label", lambda: thresholds.tune(scores, targets, objective="per_label"))
    report("apply_thresholds", lambda: apply_thresholds(scores, np.asarray(own)))


def memory() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_large(Path(folder))
        command = [sys.executable, "-m", "benchmarks.thresholds", "tune-large", folder]
        subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["speed", "memory", "tune-large"])
    parser.add_argument("path", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.part == "tune-large":
        if arguments.path is None:
            parser.error("tune-large needs a path")
        tune_large(arguments.path)
    else:
        {"speed": speed, "memory": memory}[arguments.part]()


if __name__ == "__main__":
    main()
