"""Metrics and bootstrap: against scikit-learn in a loop, and at 45,000 x 18,211.

python -m benchmarks.metrics
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import f1_score

from longtail.evaluation.intervals import intervals
from longtail.evaluation.metrics import macro_f1, micro_f1
from longtail.evaluation.sign_flips import N_DRAWS, paired_differences

NAMES = ["micro_f1", "macro_f1"]
LOOP_DRAWS = 20


def labeled(n_docs: int, n_labels: int, per_document: float, seed: int) -> sp.csr_matrix:
    """Targets `(n_docs, n_labels)` with Zipf frequencies, sparse throughout."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, n_labels + 1)
    rows = np.repeat(np.arange(n_docs), rng.poisson(per_document, n_docs))
    columns = rng.choice(n_labels, size=len(rows), p=share / share.sum())
    found = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n_docs, n_labels))
    found.data[:] = 1
    return found.astype(np.int8)


def predicted_from(targets: sp.csr_matrix, share: float, seed: int) -> sp.csr_matrix:
    """Predictions that keep `share` of the positives and add as many wrong ones."""
    rng = np.random.default_rng(seed)
    cells = targets.tocoo()
    kept = rng.random(cells.nnz) < share
    columns = np.where(kept, cells.col, rng.permutation(cells.col))
    found = sp.csr_matrix((np.ones(cells.nnz), (cells.row, columns)), shape=targets.shape)
    found.data[:] = 1
    return found.astype(np.int8)


def timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def loop_of_scikit_learn(predicted: np.ndarray, targets: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for _ in range(LOOP_DRAWS):
        rows = rng.integers(len(targets), size=len(targets))
        for average in ("micro", "macro"):
            f1_score(targets[rows], predicted[rows], average=average, zero_division=0)


def main() -> None:
    targets = labeled(3019, 90, 1.235, 0)
    a, b = (predicted_from(targets, share, 1) for share in (0.85, 0.8))
    dense, dense_a = targets.toarray(), a.toarray()
    print("| 3,019 x 90 | s, best of 3 | scikit-learn s | ratio |\n|---|---|---|---|")
    runs: list[tuple[str, Callable[[], object], Callable[[], object], float]] = [
        (
            "micro- and macro-F1",
            lambda: (micro_f1(a, targets), macro_f1(a, targets)),
            lambda: [f1_score(dense, dense_a, average=kind) for kind in ("micro", "macro")],
            1,
        ),
        (
            f"1,000 draws of both (peer: {LOOP_DRAWS} draws, scaled)",
            lambda: intervals(a, targets, NAMES, n_draws=1000),
            lambda: loop_of_scikit_learn(dense_a, dense),
            1000 / LOOP_DRAWS,
        ),
    ]
    for name, ours, peer, scale in runs:
        pairs = [(timed(ours), timed(peer) * scale) for _ in range(3)]
        fast, slow = (min(column) for column in zip(*pairs, strict=True))
        print(f"| {name} | {fast:.4f} | {slow:.4f} | {slow / fast:.1f} |", flush=True)
    spent = timed(lambda: paired_differences(a, b, targets, NAMES, n_draws=1000))
    print(f"| sign flips of both, 1,000 draws | {spent:.4f} | | |")

    targets = labeled(45_000, 18_211, 12.3, 0)
    a, b = (predicted_from(targets, share, 1) for share in (0.7, 0.6))
    freq = np.bincount(targets.indices, minlength=18_211)
    masks = {"all": freq >= 0, "HEAD": freq >= 35, "TAIL": freq <= 8}
    names = [*NAMES, "samples_f1"]
    spent = timed(lambda: paired_differences(a, b, targets, names, label_masks=masks))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\n45,000 x 18,211, {N_DRAWS} sign flips, 3 metrics, 3 slices: {spent:.1f} s, ", end="")
    print(f"peak {peak:.2f} GiB")


if __name__ == "__main__":
    main()
