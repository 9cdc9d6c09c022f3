"""How often the gate promotes: simulated contests on the test scores of two trained models.

Run in the project's root after `dvc repro`:

    python -m benchmarks.gate rates [--trials 1000]   # false promotions and power, one decision
    python -m benchmarks.gate chains [--chains 500]   # 100 nights on one test set
    python -m benchmarks.gate table                   # the tables, from benchmarks/results
    python -m benchmarks.gate speed 45000 18211 15    # one decision on simulated predictions

The two models are the registered one and the same head trained with BCE, each as it is served:
blended with the SVM, with its weight and thresholds tuned on val. Each group of documents swaps
their predictions at random, so that neither side is better. "Better" then fixes random errors of
the challenger until the objective has risen by the gain. A smaller test set is drawn without
replacement from the real one; copies repeat each of its documents.

Results go to benchmarks/results/gate.jsonl, a line per setting (or chain); what is there already is
not repeated.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.table import Table
from scipy.stats import beta

from components._formats.assignment import read_groups
from components._formats.json_file import read_json
from components._formats.scores import read_scores
from components._frame.params import load_params
from components._registry import evidence
from components._registry.rules import Params
from longtail import gate
from longtail.evaluation import sign_flips
from longtail.evaluation.metrics import (
    Counts,
    apply_thresholds,
    averaged,
    compute,
    counts,
    set_metric,
)
from longtail.models.blending import blend

Pair = tuple[sp.csr_matrix, sp.csr_matrix]
RESULTS = Path(__file__).parent / "results" / "gate.jsonl"
OBJECTIVES = ("micro_f1", "macro_f1", "mean_f1")
SIZES, COPIES = (100, 300, 1000, 2524), (1, 2, 5, 10)
GAINS = {"micro_f1": (0.005, 0.01, 0.02), "mean_f1": (0.005, 0.01, 0.015, 0.02)}
LEVEL = 0.04
ONE_DECISION = gate.Budget(2 * LEVEL, 1)  # half of it is spent by the first decision
DRAWS = 999  # of the test, which is exact with any number of them
NIGHTS, BETTER_FROM, GAIN = 100, 50, 0.02


class Material:
    """Two real models' predictions for some test documents, and which of these belong together."""

    def __init__(self) -> None:
        table = read_json(evidence.THRESHOLDS)["models"]
        model, baseline = evidence.test_scores()
        bce = read_scores(Path("artifacts/train/comparison/bce/test"))
        mixed = blend(bce.scores, baseline.scores, table["bce"]["blend_weight"])
        scores = {"model": model.scores, "bce": mixed, "baseline": baseline.scores}
        self.labels, self.targets = model.labels, model.targets
        self.label_groups = read_json(evidence.FREQUENCIES)["groups"]
        self.groups = np.array(read_groups(evidence.ASSIGNMENT).loc[model.ids].tolist())
        self.one, self.other, self.baseline = (
            apply_thresholds(found, table[name]["thresholds"]) for name, found in scores.items()
        )

    def drawn(self, rng: np.random.Generator, size: int, copies: int | None) -> Material:
        """A smaller test set; `copies` of each document, or (None) whole groups of the corpus."""
        n_docs = len(self.groups)
        if copies is None:
            names, group = np.unique(self.groups, return_inverse=True)
            rows = np.argsort(rng.permutation(len(names))[group], kind="stable")[:size]
            groups = self.groups[rows]
        else:
            rows = rng.permutation(n_docs)[: size // copies].repeat(copies)
            groups = rows.astype(str)
        new = object.__new__(Material)
        new.labels, new.label_groups, new.groups = self.labels, self.label_groups, groups
        for name in ("targets", "one", "other", "baseline"):
            setattr(new, name, getattr(self, name)[rows])
        return new


def equal(material: Material, rng: np.random.Generator) -> Pair:
    """Each side gets either model's predictions for a group, with equal probability."""
    names, group = np.unique(material.groups, return_inverse=True)
    coins = rng.random(len(names)) < 0.5
    swap = sp.diags_array(coins[group].astype(np.int8), dtype=np.int8)
    difference = swap @ (material.other - material.one)
    return _binary(material.one + difference), _binary(material.other - difference)


def better(
    challenger: sp.csr_matrix,
    targets: sp.csr_matrix,
    objective: str,
    gain: float,
    rng: np.random.Generator,
) -> sp.csr_matrix:
    """The challenger with random errors fixed until the objective has risen by `gain`."""
    errors = (challenger != targets).tocoo()
    order = rng.permutation(errors.nnz)
    column, missed = (
        errors.col[order],
        np.asarray(targets[errors.row, errors.col]).ravel()[order] > 0,
    )
    labels = counts(challenger, targets, axis=0)
    everything = np.ones((1, len(labels.tp)), dtype=bool)

    def value(count: int) -> float:
        """The objective after the first `count` errors were fixed."""
        found, gone = (
            np.bincount(column[:count][which[:count]], minlength=len(labels.tp))
            for which in (missed, ~missed)
        )
        now = Counts(labels.tp + found, labels.n_pred + found - gone, labels.n_pos)
        now = Counts(*(part[:, None] for part in now))
        return float(averaged(set_metric(objective), now, now, everything)[0, 0])

    aim = value(0) + gain
    return _flipped(challenger, errors, order[: _first(lambda n: value(n) >= aim, errors.nnz)])


def worse_on_medium(
    challenger: sp.csr_matrix, material: Material, rng: np.random.Generator
) -> sp.csr_matrix:
    """The challenger 10 points of micro-F1 worse on MEDIUM, yet 1.5 of mean F1 better."""
    medium = np.asarray(material.label_groups) == "MEDIUM"
    hits = challenger.multiply(material.targets).tocoo()
    order = rng.permutation(np.flatnonzero(medium[hits.col]))
    truth = material.targets[:, medium]
    low = compute("micro_f1", challenger[:, medium], truth) - 0.10

    def dropped(count: int) -> sp.csr_matrix:
        return _flipped(challenger, hits, order[:count])

    worse = dropped(
        _first(lambda n: compute("micro_f1", dropped(n)[:, medium], truth) <= low, len(order))
    )
    errors = (worse != material.targets).tocoo()
    elsewhere = rng.permutation(np.flatnonzero(~medium[errors.col]))
    aim = compute("mean_f1", challenger, material.targets) + 0.015

    def fixed(count: int) -> sp.csr_matrix:
        return _flipped(worse, errors, elsewhere[:count])

    return fixed(
        _first(lambda n: compute("mean_f1", fixed(n), material.targets) >= aim, len(elsewhere))
    )


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
        material.label_groups,
        material.groups.tolist(),
        material.targets,
        pair[0],
        material.baseline,
        gate.Champion(pair[1], material.labels, seen),
    )


def settings() -> Iterator[dict[str, Any]]:
    """The settings of `rates`: equal challengers first, then better ones, then a group's loss."""
    for size in SIZES:
        for copies in (*COPIES, None):
            yield {"kind": "equal", "size": size, "copies": copies, "gain": 0.0}
    for objective, gains in GAINS.items():
        for gain in gains:
            for size in SIZES[1:]:
                yield {"kind": objective, "size": size, "copies": 1, "gain": gain}
    yield {"kind": "medium", "size": SIZES[-1], "copies": 1, "gain": 0.015}


def rates(material: Material, setting: dict[str, Any], trials: int) -> dict[str, Any]:
    """How many trials each objective's gain rule, and the whole gate with it, let pass."""
    rng = np.random.default_rng(list(json.dumps(setting, sort_keys=True).encode()))
    own = load_params("promote", Params)
    objectives = [setting["kind"]] if setting["kind"] in GAINS else OBJECTIVES
    hits: dict[str, int] = {f"{o} {w}": 0 for o in objectives for w in ("gain", "gate")}
    hits["higher macro"] = hits["higher micro"] = 0
    for trial in range(trials):
        sign_flips.SEED = trial  # else the trials would share the chance in few draws
        drawn = material.drawn(rng, setting["size"], setting["copies"])
        challenger, champion = equal(drawn, rng)
        if setting["kind"] in GAINS:
            challenger = better(challenger, drawn.targets, setting["kind"], setting["gain"], rng)
        elif setting["kind"] == "medium":
            challenger = worse_on_medium(challenger, drawn, rng)
        made = contest(drawn, (challenger, champion))
        for metric in ("macro", "micro"):
            found = made.comparison.differences[gate.ALL][f"{metric}_f1"]  # type: ignore[union-attr]
            hits[f"higher {metric}"] += found.difference > 0
        for objective in objectives:
            rules = replace(own.rules(objective), error_budget=ONE_DECISION)
            gained = gate.answered(made, rules).exceeded
            hits[f"{objective} gain"] += gained
            hits[f"{objective} gate"] += gained and gate.passed(gate.judge(made, rules))
    return {**setting, "trials": trials, "hits": hits}


class Mixtures:
    """Mixtures of the two models, and the sign-flip null of two of them, faster than in general.

    A mixture is `(n_groups,)` 0/1: whose predictions a group gets. `check` compares the null with
    that of `sign_flips` for a pair.
    """

    def __init__(self, material: Material) -> None:
        self.material = material
        names, group = np.unique(material.groups, return_inverse=True)
        self.n_groups, self.group = len(names), group
        member = sp.csr_matrix((np.ones(len(group)), (group, np.arange(len(group)))))
        sides = [material.one, material.other]
        hits = [side.multiply(material.targets) for side in sides]
        tp, pred = ((member @ (a - b).astype(np.float64)).tocsc() for a, b in (hits, sides))
        unlike = np.flatnonzero(np.diff(pred.indptr))
        self.tp, self.pred = (part[:, unlike].T.tocsr() for part in (tp, pred))
        self.base_tp, self.base_pred, positives = (
            np.asarray(part.sum(axis=0)).ravel()
            for part in (hits[1], material.other, material.targets)
        )
        self.rest_tp, self.rest_n = (
            np.delete(part, unlike).sum() for part in (self.base_tp, self.base_pred + positives)
        )
        self.base_tp, self.base_pred = self.base_tp[unlike], self.base_pred[unlike]
        self.positives = positives[unlike][:, None].astype(float)
        self.signs = np.hstack(list(sign_flips._signs(names.tolist(), sign_flips.N_DRAWS, (1, 1))))

    def predictions(self, mixture: np.ndarray) -> sp.csr_matrix:
        swap = sp.diags_array(mixture[self.group].astype(np.int8), dtype=np.int8)
        return _binary(self.material.other + swap @ (self.material.one - self.material.other))

    def null(self, challenger: np.ndarray, champion: np.ndarray) -> sign_flips.Null:
        """Mean F1 of both, and its differences under equality."""
        sides = [
            (self.base_tp + self.tp @ mixture, self.base_pred + self.pred @ mixture)
            for mixture in (challenger, champion)
        ]
        a, b = (float(self._mean_f1(*(part[:, None] for part in side))[0]) for side in sides)
        apart = sp.diags_array((challenger.astype(float) - champion) / 2)
        up = [(part @ apart).tocsr() @ self.signs for part in (self.tp, self.pred)]
        middle = [(one + other)[:, None] / 2 for one, other in zip(*sides, strict=True)]
        nulls = [
            self._mean_f1(*(m + sign * u for m, u in zip(middle, up, strict=True)))
            for sign in (1, -1)
        ]
        return sign_flips.Null(a, b, nulls[0] - nulls[1])

    def _mean_f1(self, tp: np.ndarray, pred: np.ndarray) -> np.ndarray:
        macro = (2 * tp / np.maximum(pred + self.positives, 1)).sum(axis=0)
        micro = 2 * (tp.sum(axis=0) + self.rest_tp)
        micro = micro / (pred.sum(axis=0) + self.positives.sum() + self.rest_n)
        return (micro + macro / len(self.material.labels)) / 2

    def check(self, rng: np.random.Generator) -> None:
        one, other = (rng.integers(0, 2, self.n_groups) for _ in range(2))
        expected = self._general(self.predictions(one), self.predictions(other))
        found = self.null(one, other)
        assert np.allclose(found.differences, expected.differences, atol=1e-12)
        assert np.isclose(found.difference, expected.difference, atol=1e-12)

    def _general(self, challenger: sp.csr_matrix, champion: sp.csr_matrix) -> sign_flips.Null:
        return sign_flips.null_differences(
            challenger, champion, self.material.targets, ["mean_f1"],
            groups=self.material.groups.tolist(),
        )["all"]["mean_f1"]  # fmt: skip

    def better(self, champion: np.ndarray, rng: np.random.Generator) -> sign_flips.Null:
        """A challenger that is really better by `GAIN`."""
        challenger = self.predictions(rng.integers(0, 2, self.n_groups))
        fixed = better(challenger, self.material.targets, "mean_f1", GAIN, rng)
        return self._general(fixed, self.predictions(champion))


def chain(mixtures: Mixtures, seed: int, better_from: int | None) -> dict[str, Any]:
    """Challengers night after night on one test set; from a night on better by `GAIN`, or never."""
    rng = np.random.default_rng([seed, better_from or 0])
    budget = gate.Budget(**load_params("promote", Params).error_budget.model_dump())
    champion = rng.integers(0, 2, mixtures.n_groups)
    asked, moves, gained = gate.Asked(), [], 0.0
    for night in range(1, (better_from + 2 if better_from else NIGHTS) + 1):
        challenger = rng.integers(0, 2, mixtures.n_groups)
        really = better_from is not None and night >= better_from
        null = mixtures.better(champion, rng) if really else mixtures.null(challenger, champion)
        answer = asked.answer(null, 0.0, budget)
        asked = answer.after
        if answer.exceeded:
            moves.append(night)
            gained += null.difference
            champion = challenger
            if really:
                break
    # The models are equal, so all that the champion's score has gained is luck.
    return {"kind": "chain", "seed": seed, "better_from": better_from, "moves": moves,
            "gained": gained}  # fmt: skip


def append(row: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def recorded() -> list[dict[str, Any]]:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def run_rates(trials: int) -> None:
    material = Material()
    keys = ("kind", "size", "copies", "gain")
    done = [{key: row[key] for key in keys} for row in recorded() if row["kind"] != "chain"]
    for setting in settings():
        if setting not in done:
            append(rates(material, setting, trials))


def run_chains(chains: int) -> None:
    mixtures = Mixtures(Material())
    mixtures.check(np.random.default_rng(0))
    done = {(row["seed"], row["better_from"]) for row in recorded() if row["kind"] == "chain"}
    for seed in range(chains):
        for better_from in (None, BETTER_FROM):
            if (seed, better_from) not in done:
                append(chain(mixtures, seed, better_from))


def bounds(hits: int, trials: int) -> str:
    """A rate with its exact (Clopper-Pearson) 95% interval, in percent."""
    low = beta.ppf(0.025, hits, trials - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, trials - hits) if hits < trials else 1.0
    return f"{100 * hits / trials:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def show() -> None:
    """The tables of docs/benchmarks/gate.md."""
    rows = recorded()
    console = Console(width=150)
    table = Table(
        "kind", "docs", "copies", "gain", *OBJECTIVES, "gate", "higher macro", "higher micro"
    )
    for row in rows:
        if row["kind"] == "chain":
            continue
        hits, trials = row["hits"], row["trials"]
        cells = [
            bounds(hits[f"{o} gain"], trials) if f"{o} gain" in hits else "" for o in OBJECTIVES
        ]
        gates = [bounds(n, trials) for name, n in hits.items() if name.endswith(" gate")][-1:]
        higher = [bounds(hits[f"higher {m}"], trials) for m in ("macro", "micro")]
        setting = [row["kind"], str(row["size"]), str(row["copies"] or "own")]
        table.add_row(*setting, f"{100 * row['gain']:g}", *cells, *gates, *higher)
    console.print(table)
    chains = [row for row in rows if row["kind"] == "chain"]
    equal_nights = [row for row in chains if row["better_from"] is None]
    if equal_nights:
        n = len(equal_nights)
        flattered = 100 * np.array([row["gained"] for row in equal_nights])
        console.print(f"{n} chains of {NIGHTS} nights, equal challengers: any false promotion in "
                      f"{bounds(sum(bool(r['moves']) for r in equal_nights), n)}%, the champion "
                      f"flattered by {flattered.mean():.3f} points "
                      f"(standard error {flattered.std() / n**0.5:.3f}).")  # fmt: skip
    gained = [row for row in chains if row["better_from"]]
    for nights in (1, 3) if gained else ():
        hits = sum(0 <= night - BETTER_FROM < nights for r in gained for night in r["moves"])
        rate = bounds(hits, len(gained))
        console.print(f"+{100 * GAIN:g} points from night {BETTER_FROM} on: promoted within "
                      f"{nights} night(s) in {rate}% of {len(gained)}.")  # fmt: skip


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
    labels, docs = [str(i) for i in range(n_labels)], [str(i) for i in range(n_docs)]
    groups = np.repeat(["HEAD", "MEDIUM", "TAIL"], -(-n_labels // 3))[:n_labels].tolist()
    held = gate.Champion(champion, labels, np.zeros(n_docs, dtype=bool))
    rules = load_params("promote", Params).rules("mean_f1")
    started = time.perf_counter()
    gate.judge(gate.Contest(labels, groups, docs, targets, challenger, baseline, held), rules)
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    draws = sign_flips.N_DRAWS
    return f"{n_docs} x {n_labels}, {draws} draws: {seconds:.1f} s, {memory:.1f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rates", "chains", "table", "speed"])
    parser.add_argument("shape", nargs="*", type=int, metavar="DOCS LABELS PER_DOC")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--chains", type=int, default=500)
    arguments = parser.parse_args()
    if arguments.what == "speed":
        return print(speed(*arguments.shape))
    if arguments.what == "table":
        return show()
    sign_flips.N_DRAWS = DRAWS
    if arguments.what == "rates":
        return run_rates(arguments.trials)
    return run_chains(arguments.chains)


if __name__ == "__main__":
    main()
