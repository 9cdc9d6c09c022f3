"""How often the gate promotes: simulated contests on the test scores of two trained models.

Run `python -m benchmarks.gate [--trials 1000]` in the project's root after `dvc repro`. The scores
are those of the registered model and of the same head trained with BCE, both blended.

- equal: each document's two predictions are swapped at random, so neither side is better.
- better: like equal, then a random share of the challenger's errors is fixed: +1 point of micro-F1.
- medium: like better, but true positives on MEDIUM are dropped until MEDIUM has lost 10 points.

`--speed 45000 18211 15` times one decision on simulated predictions instead.

For comparison, what templates do: promote on the higher macro-F1 (or micro-F1).
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import beta

from components._formats.json_file import read_json
from components._formats.scores import read_scores
from components._frame.params import load_params
from components._registry import evidence
from components._registry.rules import Params
from longtail import gate
from longtail.evaluation.metrics import apply_thresholds, compute
from longtail.models.blending import blend

Pair = tuple[sp.csr_matrix, sp.csr_matrix]
GAIN, LOSS = 0.01, 0.10


class Material:
    """The predictions of two real models on one test set."""

    def __init__(self) -> None:
        table = read_json(evidence.THRESHOLDS)["models"]
        frequencies = read_json(evidence.FREQUENCIES)
        model, baseline = evidence.test_scores()
        bce = read_scores(Path("artifacts/train/comparison/bce/test"))
        mixed = blend(bce.scores, baseline.scores, table["bce"]["blend_weight"])
        scores = {"model": model.scores, "bce": mixed, "baseline": baseline.scores}
        self.labels, self.targets = model.labels, model.targets
        self.groups = np.asarray(frequencies["groups"])
        self.one, self.other, self.baseline = (
            apply_thresholds(found, table[name]["thresholds"]) for name, found in scores.items()
        )

    def f1(self, predicted: sp.csr_matrix, group: str | None = None) -> float:
        """Micro-F1 of one label group, or of all labels."""
        columns = np.flatnonzero(self.groups == group) if group else slice(None)
        return compute("micro_f1", predicted[:, columns], self.targets[:, columns])


def equal(material: Material, rng: np.random.Generator) -> Pair:
    """Each side gets either model's predictions for a document, with equal probability."""
    swap = sp.diags_array(
        (rng.random(material.targets.shape[0]) < 0.5).astype(np.int8), dtype=np.int8
    )
    difference = swap @ (material.other - material.one)
    return _binary(material.one + difference), _binary(material.other - difference)


def better(material: Material, rng: np.random.Generator, gain: float = GAIN) -> Pair:
    """`equal`, then random errors of the challenger are fixed until its F1 has risen by `gain`."""
    challenger, champion = equal(material, rng)
    errors = (challenger != material.targets).tocoo()
    order = rng.permutation(errors.nnz)
    aim = material.f1(challenger) + gain

    def fixed(count: int) -> sp.csr_matrix:
        return _flipped(challenger, errors, order[:count])

    return fixed(_first(lambda n: material.f1(fixed(n)) >= aim, errors.nnz)), champion


def medium(material: Material, rng: np.random.Generator) -> Pair:
    """Better by 1 point overall, although MEDIUM lost 10."""
    challenger, champion = equal(material, rng)
    hits = challenger.multiply(material.targets).tocsc()
    columns = np.flatnonzero(material.groups == "MEDIUM")
    keep = sp.csc_matrix(hits)
    inside = np.isin(keep.tocoo().col, columns)
    found = keep.tocoo()
    order = rng.permutation(np.flatnonzero(inside))
    aim = material.f1(challenger, "MEDIUM") - LOSS

    def dropped(count: int) -> sp.csr_matrix:
        return _flipped(challenger, found, order[:count])

    worse = dropped(_first(lambda n: material.f1(dropped(n), "MEDIUM") <= aim, len(order)))
    errors = (worse != material.targets).tocoo()
    elsewhere = rng.permutation(np.flatnonzero(~np.isin(errors.col, columns)))
    goal = material.f1(challenger) + GAIN

    def fixed(count: int) -> sp.csr_matrix:
        return _flipped(worse, errors, elsewhere[:count])

    return fixed(_first(lambda n: material.f1(fixed(n)) >= goal, len(elsewhere))), champion


def _binary(matrix: sp.spmatrix) -> sp.csr_matrix:
    made = sp.csr_matrix(matrix).astype(np.int8)
    made.eliminate_zeros()
    return made


def _flipped(predicted: sp.csr_matrix, cells: sp.coo_matrix, chosen: np.ndarray) -> sp.csr_matrix:
    """`predicted` with the chosen cells flipped."""
    ones = np.ones(len(chosen), dtype=np.int8)
    place = (cells.row[chosen], cells.col[chosen])
    return _binary(predicted != sp.csr_matrix((ones, place), shape=predicted.shape))


def _first(reached: Callable[[int], bool], most: int) -> int:
    """The smallest count from which on `reached` holds."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return low


def contest(material: Material, pair: Pair) -> gate.Contest:
    seen = np.zeros(material.targets.shape[0], dtype=bool)
    return gate.Contest(
        material.labels,
        material.groups.tolist(),
        material.targets,
        pair[0],
        material.baseline,
        gate.Champion(pair[1], material.labels, seen),
    )


def bounds(hits: int, trials: int) -> str:
    """A rate with its exact (Clopper-Pearson) 95% interval, in percent."""
    low = beta.ppf(0.025, hits, trials - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, trials - hits) if hits < trials else 1.0
    return f"{100 * hits / trials:.1f} ({100 * low:.1f} to {100 * high:.1f})"


SCENARIOS: dict[str, Callable[[Material, np.random.Generator], Pair]] = {
    "equal": equal,
    "better": better,
    "medium": medium,
}


def simulate(material: Material, scenario: str, rules: gate.Rules, trials: int) -> list[str]:
    """One row of the table: promoted by the gate, by macro-F1, by micro-F1; mean differences."""
    rng = np.random.default_rng(list(SCENARIOS).index(scenario))
    hits = {"gate": 0, "macro_f1": 0, "micro_f1": 0}
    seconds = 0.0
    for _ in track(range(trials), scenario, transient=True):
        pair = SCENARIOS[scenario](material, rng)
        made = contest(material, pair)
        started = time.perf_counter()
        hits["gate"] += gate.passed(gate.against_champion(made, rules))
        seconds += time.perf_counter() - started
        for metric in ("macro_f1", "micro_f1"):
            ours, theirs = (compute(metric, side, material.targets) for side in pair)
            hits[metric] += ours > theirs
    rates = [bounds(count, trials) for count in hits.values()]
    return [scenario, str(trials), *rates, f"{seconds / trials:.2f}"]


def speed(n_docs: int, n_labels: int, per_document: int) -> str:
    """Seconds and peak memory of one decision on simulated predictions, a third of them wrong."""
    rng = np.random.default_rng(0)

    def matrix() -> sp.csr_matrix:
        count = n_docs * per_document
        # Zipf: label frequencies fall as 1 / rank.
        weights = 1 / np.arange(1, n_labels + 1)
        columns = rng.choice(n_labels, count, p=weights / weights.sum())
        rows = np.repeat(np.arange(n_docs), per_document)
        made = sp.csr_matrix((np.ones(count, dtype=np.int8), (rows, columns)), (n_docs, n_labels))
        return _binary(made > 0)

    def near(truth: sp.csr_matrix) -> sp.csr_matrix:
        cells = truth.tocoo()
        chosen = np.flatnonzero(rng.random(cells.nnz) < 0.3)
        missed = _flipped(truth, cells, chosen)
        moved = (cells.row[chosen], rng.permutation(cells.col[chosen]))
        ones = np.ones(len(chosen), dtype=np.int8)
        return _binary((missed + sp.csr_matrix((ones, moved), truth.shape)) > 0)

    targets = matrix()
    challenger, champion, baseline = (near(targets) for _ in range(3))
    labels = [str(i) for i in range(n_labels)]
    groups = np.repeat(["HEAD", "MEDIUM", "TAIL"], -(-n_labels // 3))[:n_labels].tolist()
    held = gate.Champion(champion, labels, np.zeros(n_docs, dtype=bool))
    rules = load_params("promote", Params).rules()
    started = time.perf_counter()
    gate.judge(gate.Contest(labels, groups, targets, challenger, baseline, held), rules)
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{n_docs} x {n_labels}, {rules.n_draws} draws: {seconds:.1f} s, {memory:.1f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--only", choices=SCENARIOS)
    parser.add_argument("--speed", nargs=3, type=int, metavar=("DOCS", "LABELS", "PER_DOC"))
    arguments = parser.parse_args()
    if arguments.speed:
        return print(speed(*arguments.speed))
    rules = load_params("promote", Params).rules()
    material = Material()
    table = Table(title="Promoted, percent of the trials (95% interval)")
    for column in (
        "challenger is",
        "trials",
        "gate",
        "macro-F1 alone",
        "micro-F1 alone",
        "s/trial",
    ):
        table.add_column(column, justify="right")
    for scenario in [arguments.only] if arguments.only else SCENARIOS:
        table.add_row(*simulate(material, scenario, rules, arguments.trials))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
