"""Cross-fitting on a corpus: losses and thresholds chosen out of fold, test beside the choice.

    python -m benchmarks.crossfit run NAME CORPUS.parquet ASSIGNMENT.parquet [--seeds 0 1 2]
    python -m benchmarks.crossfit table

For each seed, the documents of train and val get five folds; the SVM and each loss are fitted as
the stages do, with the parameters of params.yaml; beside it without folds, where train learns and
val is held out. A row is one loss (or the mean of the candidates) with one threshold objective,
blended. `chosen` is the loss with the best mean F1 on the documents held out, with weight and
thresholds tuned on other fifths of them than they are measured on (otherwise thresholds per label
would look better than they are). Test is looked at once a row. Results go to
benchmarks/results/crossfit.jsonl; what is there is not repeated. LONGTAIL_CACHE holds the features.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import scipy.sparse as sp

from components._formats.assignment import Part, read_groups, read_parts
from components._formats.comparison import MEAN_OF_LOSSES
from components._formats.learned import Learned, learned
from components._frame.params import load_params
from components._train.features import pretrained
from components._train.heads import Features, all_features, fit_heads, make_losses, members
from components._train.params import Params
from components.baseline import Params as BaselineParams
from longtail.evaluation.metrics import apply_thresholds
from longtail.evaluation.selection import f1
from longtail.frequency import class_frequencies, frequency_groups
from longtail.losses import suggest_mu
from longtail.models.blending import blend
from longtail.models.heads import averaged, predict
from longtail.models.linear import fit_svm
from longtail.models.served import Rule, tune_served
from longtail.splitting.folds import cross_folds
from longtail.splitting.rounds import make_plan

RESULTS = Path(__file__).parent / "results" / "crossfit.jsonl"
OBJECTIVES = ("global", "per_label")
N_FOLDS = 5
SVM = "svm"
Pair = tuple[np.ndarray, np.ndarray]  # scores of held-out and of test documents


@dataclass(frozen=True)
class Data:
    """A corpus with its parts; `groups` are HEAD, MEDIUM, TAIL of each label."""

    labels: list[str]
    parts: dict[str, Part]
    atoms: list[str]
    groups: np.ndarray
    mu: float

    @property
    def whole(self) -> Learned:
        """Train and val without folds."""
        return learned(self.parts, folds=False)

    def folded(self, seed: int) -> Learned:
        """Train and val with the folds of this seed."""
        docs = self.whole.docs
        everything = np.ones(len(docs.ids), bool)
        folds = cross_folds(
            docs.targets,
            everything,
            N_FOLDS,
            ids=docs.ids,
            groups=self.atoms,
            fixed=np.full(len(docs.ids), -1),
            seed=seed,
        )
        return Learned(replace(docs, folds=folds), make_plan(folds, ~everything))


def read(corpus: Path, assignment: Path, head: int | None, tail: int | None) -> Data:
    labels, parts = read_parts(corpus, assignment)
    train = parts["train"].targets
    counts = class_frequencies(train)
    if head is None or tail is None:
        head, tail = cut_offs(counts)
    of_doc = read_groups(assignment)
    ids = parts["train"].ids + parts["val"].ids
    groups = frequency_groups(counts, head=head, tail=tail)
    return Data(labels, parts, of_doc.loc[ids].tolist(), groups, suggest_mu(train, counts))


def cut_offs(counts: np.ndarray) -> tuple[int, int]:
    """HEAD and TAIL by share of the labels, as `frequencies` does by default."""
    ranked = np.sort(counts)[::-1]
    return int(ranked[int(0.2 * len(ranked)) - 1]), int(ranked[-int(0.4 * len(ranked))])


def judged(data: Data, found: Learned, own: Pair, svm: Pair, rule: Rule) -> dict[str, Any]:
    """Weight and thresholds tuned on held-out documents; what they give there and on test."""
    targets = found.scored.targets
    folds = np.random.default_rng(0).integers(N_FOLDS, size=targets.shape[0])
    predicted = sp.lil_matrix(targets.shape, dtype=np.int8)
    for fold in range(N_FOLDS):
        others, mine = folds != fold, folds == fold
        tuned = tune_served(own[0][others], svm[0][others], targets[others], rule)
        mixed = blend(own[0][mine], svm[0][mine], tuned.blend_weight)
        predicted[np.flatnonzero(mine)] = apply_thresholds(mixed, tuned.thresholds)
    tuned = tune_served(own[0], svm[0], targets, rule)
    on_test = apply_thresholds(blend(own[1], svm[1], tuned.blend_weight), tuned.thresholds)
    truth = data.parts["test"].targets
    test = {"all": f1(on_test, truth)}
    for group in ("HEAD", "MEDIUM", "TAIL"):
        mask = data.groups == group
        test[group] = f1(on_test[:, mask], truth[:, mask])
    return {"weight": tuned.blend_weight, "held_out": f1(predicted.tocsr(), targets),
            "test": test}  # fmt: skip


def rows_of(data: Data, features: Features, found: Learned, params: Params) -> Any:
    """One row per loss and threshold objective."""
    costs = load_params("baseline", BaselineParams)
    started = time.time()
    model, out_of_fold, _ = fit_svm(
        found.docs.texts, found.docs.targets, found.plan, costs=costs.costs,
        max_terms=costs.max_terms, n_jobs=os.cpu_count() or 1,
    )  # fmt: skip
    svm = (out_of_fold, model.scores(data.parts["test"].texts))
    scores = {SVM: (svm, time.time() - started)}
    fitted, seconds = {}, {}
    for name, loss in make_losses(data.mu, params).items():
        started = time.time()
        fitted |= fit_heads(features, found, {name: loss}, params, features.names, name)
        seconds[name] = time.time() - started
    names = members(MEAN_OF_LOSSES, params)
    fitted[MEAN_OF_LOSSES] = averaged([fitted[name] for name in names])
    seconds[MEAN_OF_LOSSES] = sum(seconds[name] for name in names)
    for name, own in fitted.items():
        scores[name] = ((own.scores, predict(own.head, features.test)), seconds[name])
    for name, (pair, took) in scores.items():
        for objective in OBJECTIVES:
            rule = Rule(objective, 0.5, 1, blend=name != SVM)
            row = judged(data, found, pair, svm, rule)
            yield {"loss": name, "thresholds": objective, "seconds": round(took), **row}


def run(name: str, data: Data, seeds: list[int]) -> None:
    params = load_params("train", Params)
    start = pretrained(data.labels, params)
    for seed in seeds:
        if any((row["corpus"], row["seed"]) == (name, seed) for row in recorded()):
            continue
        lines = []
        for found in (data.folded(seed), data.whole):
            features = all_features(start, data.parts, found, params)
            mine = params.model_copy(update={"seed": seed})
            facts = {"corpus": name, "seed": seed, "folds": found.n_folds,
                     "date": str(datetime.date.today())}  # fmt: skip
            rows = rows_of(data, features, found, mine)
            lines += [json.dumps(facts | row) + "\n" for row in rows]
        with RESULTS.open("a", encoding="utf-8") as file:
            file.writelines(lines)


def recorded() -> list[dict[str, Any]]:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def table() -> str:
    """Mean over the seeds (± deviation); the chosen losses of all seeds in the last lines."""
    rows, lines = recorded(), []
    for corpus, folds in dict.fromkeys((row["corpus"], row["folds"]) for row in rows):
        mine = [row for row in rows if (row["corpus"], row["folds"]) == (corpus, folds)]
        seeds = sorted({row["seed"] for row in mine})
        lines += [f"**{corpus}**, {folds or 'no'} folds, {len(seeds)} seeds", ""]
        lines += ["| loss | thresholds | SVM | held out | test, all | HEAD | MEDIUM | TAIL |",
                  "|---|---|---|---|---|---|---|---|"]  # fmt: skip
        for key in dict.fromkeys((row["loss"], row["thresholds"]) for row in mine):
            same = [row for row in mine if (row["loss"], row["thresholds"]) == key]
            weight = f"{mean(row['weight'] for row in same):.2f}" if key[0] != SVM else "–"
            lines.append(f"| {key[0]} | {key[1]} | {weight} | {' | '.join(_cells(same))} |")
        for objective in OBJECTIVES:  # a setting; the loss is what the pipeline chooses
            tuned = [row for row in mine if row["thresholds"] == objective and row["loss"] != SVM]
            chosen = [_best([row for row in tuned if row["seed"] == seed]) for seed in seeds]
            names = ", ".join(sorted({row["loss"] for row in chosen}))
            lines.append(f"| **chosen** ({names}) | {objective} | | {' | '.join(_cells(chosen))} |")
        lines.append("")
    return "\n".join(lines)


def _cells(rows: list[dict[str, Any]]) -> list[str]:
    groups = ("all", "HEAD", "MEDIUM", "TAIL")
    held_out = _cell([row["held_out"] for row in rows])
    return [held_out, *(_cell([row["test"][group] for row in rows]) for group in groups)]


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return max(rows, key=lambda row: row["held_out"]["mean_f1"])


def _cell(figures: list[dict[str, float]]) -> str:
    """Micro / macro F1 in %."""
    parts = []
    for name in ("micro_f1", "macro_f1"):
        values = [100 * row[name] for row in figures]
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        parts.append(f"{mean(values):.1f}{spread}")
    return " / ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("table")
    command = commands.add_parser("run")
    command.add_argument("name", help="of the corpus, in the table")
    command.add_argument("corpus", type=Path)
    command.add_argument("assignment", type=Path)
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    command.add_argument("--head", type=int, help="HEAD: train documents of a label, at least")
    command.add_argument("--tail", type=int, help="TAIL: train documents of a label, at most")
    given = parser.parse_args()
    if given.what == "table":
        return print(table())
    data = read(given.corpus, given.assignment, given.head, given.tail)
    return run(given.name, data, given.seeds)


if __name__ == "__main__":
    main()
