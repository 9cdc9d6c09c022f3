"""The split compared with scikit-multilearn and iterative-stratification: quality and seconds.

python -m benchmarks.splitting peers --reuters reuters21578.tar.gz --corpus data/corpus.parquet
python -m benchmarks.splitting large     # simulated 224,897 x 18,211, one process per order
python -m benchmarks.splitting compile   # first call of a process, without and with the cache
python -m benchmarks.splitting coverage  # missing labels against exhaustive search
python -m benchmarks.splitting copies --corpus data/corpus.parquet  # copies across parts
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

from components._sources import reuters
from components.split import find_copies
from longtail.label_matrix import encode, vocabulary
from longtail.splitting.atoms import atoms
from longtail.splitting.iterative import (
    SPLITS,
    coverage_need,
    iterative_split,
    reachable_sizes,
    scikit_multilearn_split,
)
from longtail.splitting.quality import quality

FRACTIONS = (0.6, 0.2, 0.2)
LARGE = (224_897, 18_211, 12.3)  # documents, labels, labels per document
MEASURES = ("label_share_deviation", "ld", "rld", "dcp")


def iterative_stratification(labels: sp.csr_matrix, ids: list[str], seed: int) -> np.ndarray:
    """Apply MultilabelStratifiedShuffleSplit twice: first split off test, then val."""
    dense, rows = labels.toarray(), np.arange(labels.shape[0])
    assignment = np.zeros(len(rows), np.int8)
    for j, share in ((2, FRACTIONS[2]), (1, FRACTIONS[1] / (FRACTIONS[0] + FRACTIONS[1]))):
        splitter = MultilabelStratifiedShuffleSplit(1, test_size=share, random_state=seed)
        rest, part = next(splitter.split(rows, dense[rows]))
        assignment[rows[part]] = j
        rows = rows[rest]
    return assignment


def read_reuters(path: str) -> tuple[sp.csr_matrix, list[str], None]:
    [rows] = reuters.read_reuters(Path(path), None, 0)
    columns = rows.columns
    return encode(columns["labels"], vocabulary(columns["labels"])), columns["id"], None


def read_corpus(path: str) -> tuple[sp.csr_matrix, list[str], list[Hashable]]:
    frame = pd.read_parquet(path, columns=["id", "labels", "group"])
    lists = frame["labels"].tolist()
    return encode(lists, vocabulary(lists)), frame["id"].tolist(), frame["group"].tolist()


def peers(reuters: str | None, corpus: str | None, rounds: int) -> None:
    for name, path, read in (("Reuters", reuters, read_reuters), ("default", corpus, read_corpus)):
        if path:
            labels, ids, groups = read(path)
            print(f"\n{name}: {labels.shape[0]} documents x {labels.shape[1]} labels")
            compare(labels, ids, groups, rounds)
            print(f"lowest rLD that whole documents allow: {least_rld(labels):.4f}")


def compare(
    labels: sp.csr_matrix, ids: list[str], groups: list[Hashable] | None, rounds: int
) -> None:
    """Run all methods on `rounds` seeds, interleaved; print medians."""

    def ours(order: int, groups: list[Hashable] | None, seed: int) -> np.ndarray:
        return iterative_split(labels, FRACTIONS, ids=ids, groups=groups, order=order, seed=seed)

    methods: dict[str, tuple[Callable[..., np.ndarray], list[Hashable] | None]] = {
        "ours, order 1": (partial(ours, 1, None), None),
        "ours, order 2": (partial(ours, 2, None), None),
        "scikit-multilearn": (
            lambda seed: scikit_multilearn_split(labels, FRACTIONS, ids=ids, seed=seed),
            None,
        ),
        "iterative-stratification": (
            lambda seed: iterative_stratification(labels, ids, seed),
            None,
        ),
    }
    if groups is not None:
        methods["ours, order 1, groups"] = (partial(ours, 1, groups), groups)
    for order in (1, 2):
        ours(order, None, 0)  # loads the compiled loops
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    reports: dict[str, list[dict]] = {name: [] for name in methods}
    for seed in range(rounds):
        for name, (split, grouped) in methods.items():
            start = time.perf_counter()
            assignment = split(seed=seed)
            seconds[name].append(time.perf_counter() - start)
            reports[name].append(quality(labels, assignment, FRACTIONS, groups=grouped))
    print_table(seconds, reports)


def print_table(seconds: dict[str, list[float]], reports: dict[str, list[dict]]) -> None:
    print(f"medians over {len(next(iter(seconds.values())))} seeds; worst seed for missing, sizes")
    print("| method | s | share dev. | LD | rLD | DCP | pair share dev. | missing | size error |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, found in reports.items():
        figures = [np.median([report[m] for report in found]) for m in MEASURES]
        pairs = np.median([report["pairs"]["share_deviation"] for report in found])
        missing = "/".join(str(max(len(r["missing"][part]) for r in found)) for part in SPLITS)
        error = max(
            abs(size["docs"] - size["docs_wanted"]) for r in found for size in r["sizes"].values()
        )
        shown = " | ".join(f"{figure:.3g}" for figure in [*figures, pairs])
        print(f"| {name} | {np.median(seconds[name]):.3f} | {shown} | {missing} | {error:.1f} |")


def least_rld(labels: sp.csr_matrix) -> float:
    """The rLD of exact sizes with each label alone at its best counts, a bound nobody reaches.

    The costs are convex in the counts, so giving each document to the part where it costs least is
    optimal.
    """
    n_docs = labels.shape[0]
    size = np.round(np.array(FRACTIONS) * n_docs)
    total = np.bincount(labels.indices, minlength=labels.shape[1])

    def gain(d: float, got: int, j: int) -> float:
        return (abs(d - (got + 1) / size[j]) - abs(d - got / size[j])) / d

    errors = []
    for count in total[total > 0]:
        d, got = count / n_docs, [0, 0, 0]
        queue = [(gain(d, 0, j), j) for j in range(3)]
        heapq.heapify(queue)
        for _ in range(count):
            _, j = heapq.heappop(queue)
            got[j] += 1
            heapq.heappush(queue, (gain(d, got[j], j), j))
        errors.append(np.abs(d - got / size) / d)
    return float(np.mean(errors))


def copies(corpus: str, rounds: int) -> None:
    """What it takes from the split, and what it brings, to keep copies together."""
    frame = pd.read_parquet(corpus, columns=["text"])
    labels, ids, groups = read_corpus(corpus)
    start = time.process_time()
    found = find_copies(ids, frame["text"].tolist(), 0.8)
    print(f"{time.process_time() - start:.1f} CPU s to find the copies")
    print("| together | atoms | largest | share dev. | rLD | missing | exact in test | near |")
    print("|---|---|---|---|---|---|---|---|")
    for name, together in (
        ("groups", groups),
        ("and exact copies", atoms(ids, groups, found._replace(near=None))),
        ("and near-copies", atoms(ids, groups, found)),
    ):
        reports = []
        for seed in range(rounds):
            part = iterative_split(labels, FRACTIONS, ids=ids, groups=together, seed=seed)
            reports.append(quality(labels, part, FRACTIONS, groups=together, copies=found))
        share, rld = (
            np.median([r[measure] for r in reports]) for measure in ("label_share_deviation", "rld")
        )
        missing = max(sum(map(len, r["missing"].values())) for r in reports)
        across = [
            ", ".join(str(r["copies_across"][kind]["test"]) for r in reports)
            for kind in ("exact", "near")
        ]
        print(
            f"| {name} | {len(set(together)):,} | {reports[0]['largest_group']} | {share:.4f} "
            f"| {rld:.4f} | {missing} | {across[0]} | {across[1]} |"
        )


def coverage() -> None:
    """Missing labels of small corpora with dense labels, against the best assignment."""
    for title, n_corpora, docs, overfull in (
        ("nothing frozen", 800, (4, 9), False),
        ("val or test frozen beyond its share", 1500, (8, 12), True),
    ):
        rng = np.random.default_rng(0)
        found = [against_best(rng, seed, docs, overfull) for seed in range(n_corpora)]
        lacking, more, fits = (np.array(column) for column in zip(*found, strict=True))
        print(
            f"{title}: {n_corpora} corpora, sizes right in {fits.sum()}, a label missing in "
            f"{(lacking > 0).sum()}; a better assignment exists for {(more > 0).sum()}, by at "
            f"most {more.max()} labels",
            flush=True,
        )


def against_best(
    rng: np.random.Generator, seed: int, docs: tuple[int, int], overfull: bool
) -> tuple[int, int, bool]:
    """Labels that the split misses, how many of them needlessly, and whether its sizes fit."""
    n_docs, n_labels = rng.integers(docs[0], docs[1] + 1), rng.integers(1, 6)
    labels = rng.random((n_docs, n_labels)) < rng.uniform(0.2, 0.7)
    fixed = np.full(n_docs, -1, np.int8)
    if overfull:
        fixed[: rng.integers(0.3 * n_docs, 0.5 * n_docs + 1)] = rng.integers(1, 3)
    part = iterative_split(sp.csr_matrix(labels, dtype=np.int8), FRACTIONS, fixed=fixed, seed=seed)
    [mine], [fits] = missing_labels(labels, part[None], fixed)
    if not mine:
        return 0, 0, fits
    free = np.flatnonzero(fixed < 0)
    every = np.tile(fixed, (3 ** len(free), 1))
    every[:, free] = np.array(list(itertools.product(range(3), repeat=len(free))), dtype=np.int8)
    missing, fit = missing_labels(labels, every, fixed)
    return mine, mine - missing[fit].min(), fits


def missing_labels(
    labels: np.ndarray, parts: np.ndarray, fixed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each assignment of `parts` `(n, n_docs)`: labels missing, and whether its sizes fit."""
    need = coverage_need(labels.sum(axis=0), np.array(FRACTIONS))
    frozen = np.bincount(fixed[fixed >= 0], minlength=3)
    reachable = reachable_sizes(np.array(FRACTIONS), frozen, len(labels))
    missing, fits = np.zeros(len(parts), int), np.ones(len(parts), bool)
    for j in range(3):
        inside = parts == j
        size = inside.sum(axis=1)
        missing += (need[:, j] & ~(inside[:, :, None] & labels).any(axis=1)).sum(axis=1)
        if reachable[j] > frozen[j] + 1e-9:
            fits &= np.abs(size - reachable[j]) <= 1 + 1e-9
        else:
            fits &= size <= max(frozen[j], FRACTIONS[j] * len(labels) + 1) + 1e-9
    return missing, fits


def zipf_corpus(n_docs: int, n_labels: int, mean: float, seed: int = 0) -> sp.csr_matrix:
    """Labels drawn with probability 1/rank; a document has about a Poisson number of them."""
    rng = np.random.default_rng(seed)
    cumulative = np.cumsum(1 / np.arange(1, n_labels + 1))
    wanted = np.maximum(1, rng.poisson(mean, n_docs))
    keys = np.empty(0, np.int64)
    for _ in range(6):  # a label drawn twice counts once: draw what is lacking again
        lack = wanted - np.bincount(keys // n_labels, minlength=n_docs)
        row = np.repeat(np.arange(n_docs), lack)
        column = np.searchsorted(cumulative, rng.random(len(row)) * cumulative[-1])
        keys = np.unique(np.concatenate([keys, row * n_labels + column]))
    at = (keys // n_labels, keys % n_labels)
    return sp.csr_matrix((np.ones(len(keys), np.int8), at), shape=(n_docs, n_labels))


def large(order: int) -> None:
    labels = zipf_corpus(*LARGE)
    ids = [f"doc-{i}" for i in range(labels.shape[0])]
    iterative_split(labels[:100], FRACTIONS, order=order)  # loads the compiled loops
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu_start = time.perf_counter(), time.process_time()
    assignment = iterative_split(labels, FRACTIONS, ids=ids, order=order)
    taken, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = quality(labels, assignment, FRACTIONS)
    missing = "/".join(str(len(report["missing"][part])) for part in SPLITS)
    sizes = "/".join(str(report["sizes"][part]["docs"]) for part in SPLITS)
    print(
        f"| {order} | {labels.nnz / labels.shape[0]:.1f} | {taken:.1f} | {cpu:.1f} "
        f"| {peak / 2**20:.2f} | {before / 2**20:.2f} "
        f"| {report['label_share_deviation']:.3g} | {report['ld']:.3g} "
        f"| {report['rld']:.3g} | {missing} | {sizes} |",
        flush=True,
    )


FIRST_CALL = """
import time
import numpy as np, scipy.sparse as sp
from longtail.splitting.iterative import iterative_split
start = time.perf_counter()
iterative_split(sp.csr_matrix(np.ones((10, 2))), (0.6, 0.2, 0.2))
print(f"{time.perf_counter() - start:.2f} s")
"""


def first_call() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for state in ("empty", "filled"):
            print(f"first call of a process, cache {state}:", end=" ", flush=True)
            environment = os.environ | {"NUMBA_CACHE_DIR": folder}
            root = Path(__file__).parents[1]
            subprocess.run(
                [sys.executable, "-c", FIRST_CALL], env=environment, cwd=root, check=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("peers", "large", "compile", "coverage", "copies"))
    parser.add_argument("--reuters", help="the archive reuters21578.tar.gz")
    parser.add_argument("--corpus", help="a corpus.parquet with id, labels, group")
    parser.add_argument("--rounds", type=int, default=3, help="seeds per method")
    parser.add_argument("--order", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.what == "peers":
        peers(options.reuters, options.corpus, options.rounds)
    elif options.what == "compile":
        first_call()
    elif options.what == "coverage":
        coverage()
    elif options.what == "copies":
        copies(options.corpus, options.rounds)
    elif options.order:
        large(options.order)
    else:
        print(
            "| order | labels/doc | s | CPU s | peak GiB | before | share dev. | LD | rLD "
            "| missing | sizes |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
        for order in ("1", "2"):  # one process each, so that each has its own peak
            subprocess.run(
                [sys.executable, "-m", "benchmarks.splitting", "large", "--order", order]
            )


if __name__ == "__main__":
    main()
