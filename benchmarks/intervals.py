"""How often the report's 95% intervals hold the truth, on the predictions of the registered model.

Run `python -m benchmarks.intervals [--sets 1000]` in the project's root after `dvc repro`.

The test documents with the model's predictions are taken as the population. A test set is drawn
from it, with replacement, so that the truth is known: the mean of the metric over many test sets of
that size. The last rows draw test sets as `split` does: stratified, from ten copies of the
population, so that every label has its share in every test set.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.gate import Material, bounds
from longtail.evaluation.intervals import intervals
from longtail.evaluation.metrics import compute
from longtail.splitting import iterative_split

SIZES = (300, 1000, 2524)
STRATIFIED, COPIES = 1000, 10
TRUTH_SETS, DRAWS = 4000, 400
KINDS = {"micro_f1": "all", "macro_f1": "all", "TAIL macro_f1": "TAIL"}


def independent(n_docs: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of a test set drawn with replacement."""
    return rng.integers(n_docs, size=size)


def stratified(targets: sp.csr_matrix, size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of a test set that `iterative_split` takes from copies of the population."""
    n_docs = targets.shape[0]
    shuffled = rng.permutation(n_docs * COPIES) % n_docs
    share = size / len(shuffled)
    part = iterative_split(targets[shuffled], [1 - share, share], seed=int(rng.integers(2**31)))
    return shuffled[part == 1]


def coverage(
    material: Material, draw: Callable[[], np.ndarray], n_sets: int, n_truth: int
) -> dict[str, tuple[int, float, float]]:
    """Per metric: intervals that hold the truth, the truth, and the mean width in points."""
    tail = np.asarray(material.label_groups) == "TAIL"
    masks = {"all": np.ones(len(tail), dtype=bool), "TAIL": tail}
    sets = [draw() for _ in range(n_truth)]

    def score(rows: np.ndarray, kind: str) -> float:
        mask = masks[KINDS[kind]]
        found, truth = material.one[rows][:, mask], material.targets[rows][:, mask]
        return compute(kind.split()[-1], found, truth)

    truth = {kind: float(np.mean([score(rows, kind) for rows in sets])) for kind in KINDS}
    hits, widths = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0.0)
    for rows in track(sets[:n_sets], transient=True):
        found = intervals(
            material.one[rows], material.targets[rows], ["micro_f1", "macro_f1"],
            label_masks=masks, n_draws=DRAWS,
        )  # fmt: skip
        for kind, slice_name in KINDS.items():
            row = found[slice_name][kind.split()[-1]]
            hits[kind] += row["low"] <= truth[kind] <= row["high"]
            widths[kind] += 100 * (row["high"] - row["low"]) / n_sets
    return {kind: (hits[kind], truth[kind], widths[kind]) for kind in KINDS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=1000)
    n_sets = parser.parse_args().sets
    material, rng = Material(), np.random.default_rng(0)
    n_docs = material.targets.shape[0]
    table = Table("test sets", "docs", "metric", "truth", "coverage, %", "mean width, points")

    def add(name: str, size: int, draw: Callable[[], np.ndarray], sets: int, truths: int) -> None:
        for kind, (hits, truth, width) in coverage(material, draw, sets, truths).items():
            cells = [name, f"{size:,}", kind, f"{100 * truth:.1f}", bounds(hits, sets)]
            table.add_row(*cells, f"{width:.1f}")
        Console(width=110).print(table)

    for size in SIZES:
        add("independent", size, lambda n=size: independent(n_docs, n, rng), n_sets, TRUTH_SETS)
    few = max(1, n_sets // 10)
    add("stratified", STRATIFIED, lambda: stratified(material.targets, STRATIFIED, rng), few, few)


if __name__ == "__main__":
    main()
