"""Precision of the suspected label errors when 5% of the labels are swapped at random.

python -m benchmarks.label_errors [data/corpus.parquet]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from longtail.label_matrix import encode, vocabulary
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
    near = (le.nearest(features) @ targets).toarray()
    return {"ridge": ridge, "30 neighbors": near, "mean of both (in use)": (ridge + near) / 2}


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
    le.suspects(corpus["text"].tolist(), dirty, 500, 256, 0)
    print(f"suspects(): {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/corpus.parquet"))
