"""Simulated annotation: what each strategy of `longtail queue` brings, round after round.

    python -m benchmarks.annotation run NAME CORPUS.parquet ASSIGNMENT.parquet [RESULTS.jsonl]
    python -m benchmarks.annotation table [RESULTS.jsonl] [PLOT.png]

A random fifth of train is labeled at first (documents that belong together, together). In each
round, a head on the frozen encoder (logit adjustment, parameters of params.yaml) or, with `--svm`,
the SVM on words alone (C = 1) learns from what is labeled, the threshold is tuned on val, and the
strategy chooses the next documents, a fifth of them at random as in the command; their true labels
are the annotation. The counts and the anchors are those of the documents labeled so far. A
simulation that is there is not repeated. LONGTAIL_CACHE holds the features of the encoder.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.over_seeds import interval
from benchmarks.scores import Data, read
from components._frame.params import load_params
from components._train.features import features_of, pretrained
from components._train.heads import make_losses
from components._train.params import Params
from longtail import thresholds
from longtail.annotation.queue import RANDOM, STRATEGIES, Pool, draw
from longtail.evaluation.metrics import apply_thresholds
from longtail.evaluation.selection import f1
from longtail.frequency import class_frequencies
from longtail.models.features import name_features
from longtail.models.heads import Examples, HeadShape, HeadTraining, new_head, predict, train_head
from longtail.models.linear import fit_svm
from longtail.splitting.rounds import make_plan
from longtail.validation.label_errors import text_features

RESULTS = Path(__file__).parent / "results" / "annotation.jsonl"
LOSS, START, N_FEATURES = "logit_adjusted", 0.2, 256
SHARE = 0.6  # of the rounds
SHOWN = {"test_tail": "TAIL macro-F1", "test_micro": "micro-F1"}
Row = dict[str, Any]


class Learner(Protocol):
    """Scores `(n_docs, n_labels)` of every part by what has learned from these rows of train."""

    def __call__(self, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Corpus:
    """A corpus, and the features of train's words, `(n_train, N_FEATURES)`."""

    data: Data
    words: np.ndarray

    @property
    def tail(self) -> np.ndarray:
        """The TAIL labels, by the counts of all of train."""
        return np.flatnonzero(self.data.groups == "TAIL")

    def start(self, seed: int) -> np.ndarray:
        """Rows of train that are labeled from the start, `(n,)`, sorted."""
        ids = self.data.parts["train"].ids
        atoms = pd.factorize(np.array([self.data.atoms[name] for name in ids]))[0]
        place = np.random.default_rng(seed).permutation(atoms.max() + 1)[atoms]
        first = np.argsort(place, kind="stable")
        return np.sort(first[: int(START * len(ids))])


def load(path: Path, assignment: Path) -> Corpus:
    data = read(path, assignment, None)
    return Corpus(data, text_features(data.parts["train"].texts, N_FEATURES, 0)[:, :-1])


def head(data: Data) -> Learner:
    """A head on the frozen encoder."""
    params = load_params("train", Params)
    start = pretrained(data.labels, params)
    names, own = name_features(start), params.head
    how = HeadTraining(**own.model_dump(exclude={"hidden", "dropout", "label_names"}))
    loss = make_losses([LOSS], data.mu, params)[LOSS]
    parts = {
        name: Examples(features_of(start, part.texts, params, fast=False), part.targets)
        for name, part in data.parts.items()
    }

    def scores(rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        examples = parts["train"].at(rows)
        learned = new_head(examples, HeadShape(own.hidden, own.dropout, names), seed)
        frequencies = class_frequencies(examples.targets)
        train_head(learned, loss(frequencies, len(rows)), examples, how=how, seed=seed)
        return {name: predict(learned, part.features) for name, part in parts.items()}

    return scores


def svm(data: Data) -> Learner:
    """The linear SVM on words, which knows nothing of the seed."""
    train, val = data.parts["train"], data.parts["val"]

    def scores(rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        texts = [train.texts[row] for row in rows] + list(val.texts)
        in_val = np.arange(len(texts)) >= len(rows)
        targets = sp.vstack([train.targets[rows], val.targets], format="csr")
        plan = make_plan(np.full(len(texts), -1), in_val)
        model, _, _ = fit_svm(texts, targets, plan, costs=(1.0,), n_jobs=1)
        return {name: model.scores(part.texts) for name, part in data.parts.items()}

    return scores


def measured(corpus: Corpus, scores: dict[str, np.ndarray], limits: np.ndarray) -> Row:
    """Micro-F1 of all labels and macro-F1 of those in TAIL, on val and test."""
    row = {}
    for part in ("val", "test"):
        truth = corpus.data.parts[part].targets
        predicted = apply_thresholds(scores[part], limits)
        row[f"{part}_micro"] = f1(predicted, truth)["micro_f1"]
        row[f"{part}_macro"] = f1(predicted, truth)["macro_f1"]
        row[f"{part}_tail"] = f1(predicted[:, corpus.tail], truth[:, corpus.tail])["macro_f1"]
    return row


def simulate(corpus: Corpus, learner: Learner, strategy: str, seed: int, size: int) -> list[Row]:
    """The rounds of one simulation, from the first fifth to all of train."""
    labeled, targets = corpus.start(seed), corpus.data.parts["train"].targets
    rows: list[Row] = []
    while True:
        started = time.time()
        scores = learner(labeled, seed)
        limits = thresholds.tune(scores["val"], corpus.data.parts["val"].targets)
        counts = class_frequencies(targets[labeled])
        rows.append({
            "round": len(rows), "labeled": len(labeled), **measured(corpus, scores, limits),
            "tail_positives": int(counts[corpus.tail].sum()),
        })  # fmt: skip
        free = np.setdiff1d(np.arange(targets.shape[0]), labeled)
        if not len(free):
            return rows
        pool = Pool(
            scores["train"][free], limits, counts, corpus.words[free], corpus.words[labeled],
            targets[labeled],
        )  # fmt: skip
        chosen, _ = draw(pool, size, strategy=strategy, seed=seed + 1000 * len(rows))
        labeled = np.union1d(labeled, free[chosen])
        print(f"{strategy} {seed}: {rows[-1]} {time.time() - started:.0f} s", flush=True)


def run(given: argparse.Namespace) -> None:
    """Simulate what is missing."""
    corpus = load(given.corpus, given.assignment)
    learner = (svm if given.svm else head)(corpus.data)
    for seed in given.seeds:
        for strategy in given.strategies:
            key = {"corpus": given.name, "size": given.size, "seed": seed, "strategy": strategy}
            if any(key.items() <= row.items() for row in read_rows(given.results)):
                continue
            rows = simulate(corpus, learner, strategy, seed, given.size)
            with given.results.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(key | row) + "\n" for row in rows)


def read_rows(path: Path = RESULTS) -> list[Row]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def curves(rows: list[Row], corpus: str, strategy: str, metric: str) -> np.ndarray:
    """The metric of each seed and round, `(n_seeds, n_rounds)`."""
    mine = [row for row in rows if (row["corpus"], row["strategy"]) == (corpus, strategy)]
    seeds = sorted({row["seed"] for row in mine})
    return np.array([[row[metric] for row in mine if row["seed"] == seed] for seed in seeds])


def share_needed(curve: np.ndarray, goal: float) -> float:
    """The share of the rounds after which a mean curve `(n_rounds,)` first reaches the goal.

    >>> share_needed(np.array([0.1, 0.3, 0.2, 0.4, 0.4]), 0.25), share_needed(np.array([0.1]), 1)
    (0.25, inf)
    """
    there = np.flatnonzero(curve >= goal)
    return float(there[0] / (len(curve) - 1)) if len(there) else math.inf


def table(rows: list[Row]) -> str:
    """Shares of the rounds, and differences at 60% of them with 95 % intervals over the seeds."""
    lines = [
        "| corpus | strategy | seeds | share of the rounds | TAIL macro-F1 at 60% "
        "| − random order's at the end | micro-F1 at 60% | − random order's there |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for corpus in sorted({row["corpus"] for row in rows}):
        random = {name: curves(rows, corpus, RANDOM, f"test_{name}") for name in ("tail", "micro")}
        own = dict.fromkeys(row["strategy"] for row in rows if row["corpus"] == corpus)
        for strategy in own:
            tail, micro = (curves(rows, corpus, strategy, f"test_{name}") for name in random)
            at, n = _at(tail), len(tail)
            needed = share_needed(tail.mean(axis=0), random["tail"][:n].mean(axis=0)[-1])
            share = f"{needed:.0%}" if math.isfinite(needed) else "never"
            cells = [corpus, f"`{strategy}`", f"{n}", share]
            for ours, theirs in (
                (tail[:, at], random["tail"][:n, -1]),
                (micro[:, at], random["micro"][:n, at]),
            ):
                cells += [f"{100 * ours.mean():.1f}", interval(100 * (ours - theirs), 1)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _at(curves: np.ndarray) -> int:
    """The last round within `SHARE` of them."""
    return int(SHARE * (curves.shape[1] - 1))


def draw_curves(rows: list[Row], path: Path) -> None:
    """TAIL macro-F1 and micro-F1 of every strategy by documents labeled; bands are the seeds."""
    corpora = sorted({row["corpus"] for row in rows})
    figure, axes = plt.subplots(
        len(corpora), 2, figsize=(11, 4 * len(corpora)), squeeze=False, layout="constrained"
    )
    for line, corpus in zip(axes, corpora, strict=True):
        names = dict.fromkeys(row["strategy"] for row in rows if row["corpus"] == corpus)
        for axis, (metric, title) in zip(line, SHOWN.items(), strict=True):
            for strategy in names:
                color = f"C{list(STRATEGIES).index(strategy)}"
                x = curves(rows, corpus, strategy, "labeled")[0]
                y = curves(rows, corpus, strategy, metric)
                axis.plot(x, y.mean(axis=0), label=strategy, color=color)
                axis.fill_between(x, y.min(axis=0), y.max(axis=0), alpha=0.15, color=color)
            axis.set(title=f"{corpus}: {title}", xlabel="documents labeled", ylabel=title)
            axis.legend()
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    simulation = commands.add_parser("run")
    simulation.add_argument("name", help="of the corpus, in the tables")
    simulation.add_argument("corpus", type=Path)
    simulation.add_argument("assignment", type=Path)
    simulation.add_argument("results", type=Path, nargs="?", default=RESULTS)
    simulation.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    simulation.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    simulation.add_argument("--size", type=int, default=200, help="documents per round")
    simulation.add_argument("--svm", action="store_true", help="the SVM instead of a head")
    results = commands.add_parser("table")
    results.add_argument("results", type=Path, nargs="?", default=RESULTS)
    results.add_argument("plot", type=Path, nargs="?")
    given = parser.parse_args()
    if given.command == "run":
        run(given)
        return
    rows = read_rows(given.results)
    print(table(rows), end="")
    if given.plot:
        draw_curves(rows, given.plot)


if __name__ == "__main__":
    main()
