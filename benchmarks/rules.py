"""Threshold rules compared: chosen out of fold, test beside the choice.

    python -m benchmarks.scores NAME CORPUS.parquet ASSIGNMENT.parquet FOLDER [--redraw]
    python -m benchmarks.rules compare FOLDER
    python -m benchmarks.rules table

`compare` tunes each rule on four folds and measures it on the fifth, in turn; then it tunes on all
folds and measures on test. Before the
rules a network's scores are blended with the SVM's; the weight is the best by `global`, so that
the rules alone differ. Results go to benchmarks/results/rules.jsonl; models whose seeds have not
changed are not repeated. The intervals of the differences to `global` come from sign flips
(`longtail.evaluation.sign_flips`), documents that belong together flipped together; over seeds the
same flips are averaged, since the seeds share documents.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.crossfit import LEVEL, METRICS, N_DRAWS, Seed, all_seeds, interval, shown_interval
from benchmarks.rules_tried import RULES, Rule
from benchmarks.scores import SVM
from longtail.evaluation.metrics import apply_thresholds
from longtail.evaluation.selection import f1
from longtail.evaluation.sign_flips import critical_value, null_differences
from longtail.models.blending import best_weight, blend

RESULTS = Path(__file__).parent / "results" / "rules.jsonl"
REFERENCE = "global"
Rows = list[dict[str, Any]]


def predictions(
    seed: Seed, model: str, rules: dict[str, Rule]
) -> dict[str, tuple[sp.csr_matrix, sp.csr_matrix]]:
    """Rule to predictions for the documents held out, tuned on other folds, and for test."""
    own, svm, truth = seed.pair(model), seed.pair(SVM), seed.truth().held_out
    folds, groups = seed.scored(model)["folds"], seed.scored(model)["groups"]
    nested = {rule: sp.lil_matrix(truth.shape, dtype=np.int8) for rule in rules}
    on_test = {}
    for fold in [*np.unique(folds), None]:
        rows, others = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        learned, known = own.held_out[rows], truth[rows]
        weight = best_weight(learned, svm.held_out[rows], known) if model != SVM else 0.0
        mixed = blend(learned, svm.held_out[rows], weight)
        asked = (own.test, svm.test)
        if fold is not None:
            asked = (own.held_out[others], svm.held_out[others])
        judged = blend(*asked, weight)
        for name, rule in rules.items():
            found = apply_thresholds(judged, rule(mixed, known, groups, folds[rows]))
            if fold is None:
                on_test[name] = found
            else:
                nested[name][others] = found
    return {name: (nested[name].tocsr(), on_test[name]) for name in rules}


def compared(seeds: list[Seed], model: str) -> Rows:
    """One row per rule: figures of each seed, and the differences to `REFERENCE` over the seeds."""
    found = [predictions(seed, model, RULES) for seed in seeds]
    rows = []
    for rule in RULES:
        row: dict[str, Any] = {"corpus": seeds[0].corpus, "model": model, "rule": rule,
                               "seeds": [seed.number for seed in seeds]}  # fmt: skip
        for at, (name, keys) in enumerate((("held_out", "keys"), ("test", "test_keys"))):
            figures, nulls = [], []
            for seed, predicted in zip(seeds, found, strict=True):
                saved, truth = seed.scored(model), seed.truth()[at]
                own, base = predicted[rule][at], predicted[REFERENCE][at]
                masks = {
                    "all": np.ones(truth.shape[1], bool),
                    "TAIL": saved["groups"] == "TAIL",
                }
                figures.append({
                    part: f1(own[:, mask], truth[:, mask]) for part, mask in masks.items()
                })  # fmt: skip
                nulls.append(null_differences(
                    own, base, truth, METRICS,
                    label_masks=masks, groups=saved[keys].tolist(), n_draws=N_DRAWS,
                ))  # fmt: skip
            row[name] = figures
            row[f"{name}_gain"] = {
                part: {metric: _gain([null[part][metric] for null in nulls]) for metric in METRICS}
                for part in ("all", "TAIL")
            }
        rows.append(row)
        gain = row["held_out_gain"]["all"]["mean_f1"]
        print(seeds[0].corpus, model, rule, gain, flush=True)
    return rows


def _gain(nulls: list[Any]) -> dict[str, Any]:
    """The difference of each seed and of their mean, each with the reach of its interval."""
    level = (1 - LEVEL) / 2
    return {
        "seeds": [[null.difference, critical_value(null.differences, level)] for null in nulls],
        "mean": interval(nulls),
    }


def compare(folder: Path, models: list[str]) -> None:
    for corpus, seeds in all_seeds(folder).items():
        for model in models:
            own = [seed for seed in seeds if seed.has(model)]
            rows = recorded()
            same = [row for row in rows if (row["corpus"], row["model"]) == (corpus, model)]
            numbers = [seed.number for seed in own]
            if own and [row["rule"] for row in same if row["seeds"] == numbers] != list(RULES):
                kept = [row for row in rows if row not in same] + compared(own, model)
                text = "".join(json.dumps(row) + "\n" for row in kept)
                RESULTS.write_text(text, encoding="utf-8")


def recorded() -> Rows:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def table() -> str:
    """Micro / macro F1 in %, means over the seeds; differences to `REFERENCE` in points."""
    lines, rows = [], recorded()
    for corpus, model in sorted({(row["corpus"], row["model"]) for row in rows}):
        mine = [row for row in rows if (row["corpus"], row["model"]) == (corpus, model)]
        blended = "" if model == SVM else " + SVM"
        count = len(mine[0]["seeds"])
        lines += [f"**{corpus}**, {model}{blended}, {count} seed{'s' * (count != 1)}", ""]
        lines += ["| rule | out of fold | TAIL | mean F1 − global (95%) | by seed "
                  "| test | TAIL | mean F1 − global (95%) |", "|---" * 8 + "|"]  # fmt: skip
        for row in mine:
            cells = []
            for name in ("held_out", "test"):
                cells += [_mean_of(row[name], part) for part in ("all", "TAIL")]
                gain = row[f"{name}_gain"]["all"]["mean_f1"]
                at_reference = row["rule"] == REFERENCE
                cells.append("" if at_reference else shown_interval(*gain["mean"]))
                if name == "held_out":
                    by_seed = ", ".join(f"{100 * own:+.1f}" for own, _ in gain["seeds"])
                    cells.append("" if at_reference else by_seed)
            lines.append(f"| {row['rule']} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _mean_of(figures: Rows, part: str) -> str:
    return " / ".join(
        f"{100 * mean(row[part][metric] for row in figures):.1f}" for metric in METRICS[:2]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("table")
    command = commands.add_parser("compare")
    command.add_argument("folder", type=Path, help="of the scores")
    command.add_argument("--models", nargs="+", default=["logit_adjusted", SVM])
    given = parser.parse_args()
    return compare(given.folder, given.models) if given.what == "compare" else print(table())


if __name__ == "__main__":
    main()
