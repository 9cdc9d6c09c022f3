"""Precision of the suspected label errors when 5% of the labels are swapped at random.

python -m benchmarks.label_errors [data/corpus.parquet]
python -m benchmarks.label_errors sizes   # time and memory by number of documents, simulated
"""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from longtail.label_matrix import encode, vocabulary
from longtail.validation import agreement, neighbors
from longtail.validation import label_errors as le

SWAPPED, CUTS = 0.05, (100, 500, 1000)


def swap(targets: sp.csr_matrix, seed: int) -> tuple[sp.csr_matrix, dict[str, np.ndarray]]:
    """Move 5% of the ones to random other labels of their rows; also returns the errors."""
    rng = np.random.default_rng(seed)
    dirty = targets.toarray().astype(bool)
    clean = dirty.copy()
    rows, columns = np.nonzero(clean)
    for k in rng.choice(len(rows), int(SWAPPED * len(rows)), replace=False):
        free = np.flatnonzero(~dirty[rows[k]] & ~clean[rows[k]])
        dirty[rows[k], columns[k]] = False
        dirty[rows[k], rng.choice(free)] = True
    return sp.csr_matrix(dirty.astype(np.int8)), {
        "wrong": dirty & ~clean,
        "missing": clean & ~dirty,
    }


def variants(features: np.ndarray, targets: sp.csr_matrix) -> dict[str, np.ndarray]:
    """Scores `(n_docs, n_labels)` by model."""
    columns = np.arange(targets.shape[1])
    blocks = le.leave_one_out(features, targets, columns)
    ridge = np.hstack([scores for _, scores in blocks])
    near, by_clusters = (
        (neighbors.nearest(features, exact=exact) @ targets).toarray()
        for exact in (len(features), 0)
    )
    return {
        "ridge": ridge,
        "30 neighbors": near,
        "mean of both (in use)": (ridge + near) / 2,
        "30 neighbors, by clusters": by_clusters,
        "mean of both, by clusters": (ridge + by_clusters) / 2,
    }


def precision(rank: np.ndarray, candidate: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    """Share of true errors among the first 100, 500 and 1,000 candidates."""
    best = [(k, i) for k, i, _ in le._best(rank, candidate, CUTS[-1])]
    hits = np.array([truth[pair] for pair in best])
    return tuple(float(hits[:cut].mean()) for cut in CUTS)


def main(path: Path) -> None:
    corpus = pd.read_parquet(path)
    lists = [list(labels) for labels in corpus["labels"]]
    labels = vocabulary(lists)
    targets = encode(lists, labels)
    started = time.perf_counter()
    features = le.text_features(corpus["text"].tolist(), 256, 0)
    print(f"features: {time.perf_counter() - started:.1f} s")
    print("| seed | model | kind | base rate | P@100 | P@500 | P@1000 | P@100 of all pairs |")
    print("|---|---|---|---|---|---|---|---|")
    for seed in (1, 2, 3):
        dirty, truth = swap(targets, seed)
        given = dirty.toarray().astype(bool)
        enough = given.sum(axis=0) >= le.LEAST_SUPPORT
        for model, scores in variants(features, dirty).items():
            for kind, (rank, candidate) in le.doubts(scores, given).items():
                pairs = (given if kind == "wrong" else ~given) & enough
                base = truth[kind].sum() / pairs.sum()
                found = precision(rank, candidate & enough, truth[kind])
                every = precision(rank, pairs, truth[kind])[0]
                figures = " | ".join(f"{value:.2f}" for value in (*found, every))
                print(f"| {seed} | {model} | {kind} | {base:.4f} | {figures} |")
    started = time.perf_counter()
    le.suspects(features, dirty, 500)
    print(f"suspects(): {time.perf_counter() - started:.1f} s")


def sizes() -> None:
    """Simulated input; one process per function and number of documents."""
    print("| function | documents | CPU s | peak GiB, beyond the input |")
    print("|---|---|---|---|", flush=True)
    for name in SIMULATED:
        for n_docs in ("10000", "50000", "100000"):
            subprocess.run([sys.executable, "-m", "benchmarks.label_errors", name, n_docs])


def simulated_features(n_docs: int) -> tuple[np.ndarray]:
    """Unit vectors around one topic for every ten documents, and the constant."""
    rng = np.random.default_rng(0)
    topics = rng.normal(size=(n_docs // 10, 256)).astype(np.float32)
    rows = topics[rng.integers(len(topics), size=n_docs)]
    for start in range(0, n_docs, 10_000):
        noise = rng.normal(size=rows[start : start + 10_000].shape)
        rows[start : start + 10_000] += 0.8 * noise.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (np.hstack([rows, np.ones((n_docs, 1), np.float32)]),)


def simulated_kinds(n_docs: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """Distinct label sets, 400 labels with probability 0.6/rank, and the judgments of each."""
    rng = np.random.default_rng(0)
    share = np.minimum(0.5, 0.6 / np.arange(1, 401))
    blocks = [
        sp.csr_matrix((rng.random((1000, 400)) < share).astype(np.int8))
        for _ in range(n_docs // 1000)
    ]
    kinds, kind = agreement.distinct_rows(sp.csr_matrix(sp.vstack(blocks)))
    return kinds, np.bincount(kind)


SIMULATED = {
    "nearest": (neighbors.nearest, simulated_features),
    "mean_distance": (agreement._mean_distance, simulated_kinds),
}


def size(name: str, n_docs: int) -> None:
    function, simulate = SIMULATED[name]
    given = simulate(n_docs)
    started = time.process_time()
    tracemalloc.start()  # sees NumPy's arrays
    function(*given)
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    print(f"| `{name}` | {n_docs:,} | {seconds:.1f} | {peak / 2**30:.2f} |", flush=True)


if __name__ == "__main__":
    arguments = sys.argv[1:] or ["data/corpus.parquet"]
    if arguments == ["sizes"]:
        sizes()
    elif arguments[0] in SIMULATED:
        size(arguments[0], int(arguments[1]))
    else:
        main(Path(arguments[0]))
