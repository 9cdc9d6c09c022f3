"""Threshold rules compared: chosen out of fold, test beside the choice.

    python -m benchmarks.rules scores NAME CORPUS.parquet ASSIGNMENT.parquet FOLDER [--redraw]
    python -m benchmarks.rules compare FOLDER
    python -m benchmarks.rules table

`scores` cross-fits the SVM and losses, with other folds for each seed (`--redraw`: with other test
documents too), and writes the scores to FOLDER. `compare` tunes each rule on four folds and
measures it on the fifth, in turn; then it tunes on all folds and measures on test. Before the
rules a network's scores are blended with the SVM's; the weight is the best by `global`, so that
the rules alone differ. Results go to benchmarks/results/rules.jsonl; models whose seeds have not
changed are not repeated. The intervals of the differences to `global` come from sign flips
(`longtail.evaluation.sign_flips`), documents that belong together flipped together; over seeds the
same flips are averaged, since the seeds share documents.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.crossfit import Data, cut_offs, read
from benchmarks.rules_tried import RULES, Rule
from components._formats.assignment import Part, read_groups
from components._formats.learned import rows_of
from components._frame.params import load_params
from components._train.features import pretrained
from components._train.heads import Features, all_features, fit_heads, make_losses
from components._train.params import Params
from components.baseline import Params as BaselineParams
from longtail.evaluation.metrics import apply_thresholds
from longtail.evaluation.selection import f1
from longtail.evaluation.sign_flips import critical_value, null_differences
from longtail.frequency import class_frequencies, frequency_groups
from longtail.losses import suggest_mu
from longtail.models.blending import best_weight, blend
from longtail.models.heads import Examples, predict
from longtail.models.linear import fit_svm
from longtail.splitting.iterative import iterative_split

RESULTS = Path(__file__).parent / "results" / "rules.jsonl"
SVM, REFERENCE = "svm", "global"
SHARES = (0.6, 0.2, 0.2)
N_DRAWS, LEVEL = 1999, 0.95
METRICS = ("micro_f1", "macro_f1", "mean_f1")
Rows = list[dict[str, Any]]


def redrawn(
    data: Data, features: Features, atoms: dict[str, str], seed: int
) -> tuple[Data, Features]:
    """The corpus with train, val and test drawn anew, and the features of its documents."""
    names = ("train", "val", "test")
    old = [data.parts[name] for name in names]
    everything = Part(
        [name for part in old for name in part.ids],
        [text for part in old for text in part.texts],
        sp.vstack([part.targets for part in old], "csr"),
        np.concatenate([part.folds for part in old]),
    )
    of_doc = [atoms[name] for name in everything.ids]
    found = iterative_split(
        everything.targets, SHARES, ids=everything.ids, groups=of_doc,
        fixed=np.full(len(of_doc), -1), seed=seed,
    )  # fmt: skip
    rows = [np.flatnonzero(found == code) for code in range(3)]
    parts = {name: rows_of(everything, mine) for name, mine in zip(names, rows, strict=True)}
    train = parts["train"].targets
    counts = class_frequencies(train)
    head, tail = cut_offs(counts)
    values = np.concatenate([features.learned.features, features.test])
    learned_rows = np.concatenate(rows[:2])
    new = Data(
        data.labels, parts, [of_doc[row] for row in learned_rows],
        frequency_groups(counts, head=head, tail=tail), suggest_mu(train, counts),
    )  # fmt: skip
    examples = Examples(values[learned_rows], everything.targets[learned_rows])
    return new, Features(examples, values[rows[2]], features.names)


def save_scores(
    path: Path, data: Data, features: Features, atoms: dict[str, str], model: str, seed: int
) -> None:
    """Out-of-fold and test scores of one model, with the targets, as one file."""
    started, found = time.time(), data.folded(seed)
    params = load_params("train", Params).model_copy(update={"seed": seed})
    if model == SVM:
        costs = load_params("baseline", BaselineParams)
        linear, held_out, _ = fit_svm(
            found.docs.texts, found.docs.targets, found.plan, costs=costs.costs,
            max_terms=costs.max_terms, n_jobs=1,
        )  # fmt: skip
        on_test = linear.scores(data.parts["test"].texts)
    else:
        losses = {model: make_losses(data.mu, params)[model]}
        own = fit_heads(features, found, losses, params, features.names, model)[model]
        held_out, on_test = own.scores, predict(own.head, features.test)
    truth, test = found.scored.targets, data.parts["test"].targets
    positives = {
        f"{key}_{axis}": value
        for key, matrix in (("truth", truth), ("test", test))
        for axis, value in zip(("rows", "columns"), matrix.nonzero(), strict=True)
    }
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary, held_out=held_out.astype(np.float32), on_test=on_test.astype(np.float32),
        groups=data.groups.astype(str), folds=found.scored.folds,
        keys=np.array([atoms[name] for name in found.scored.ids]),
        test_keys=np.array([atoms[name] for name in data.parts["test"].ids]), **positives,
    )  # fmt: skip
    temporary.rename(path)
    print(f"{path.name}: {time.time() - started:.0f} s", flush=True)


def scores(name: str, data: Data, atoms: dict[str, str], given: argparse.Namespace) -> None:
    params = load_params("train", Params)
    start = pretrained(data.labels, params)
    features = all_features(start, data.parts, data.whole, params)
    given.folder.mkdir(exist_ok=True)
    for seed in given.seeds:
        paths = {model: given.folder / f"{name}-{seed}-{model}.npz" for model in given.models}
        missing = [model for model, path in paths.items() if not path.exists()]
        own = redrawn(data, features, atoms, seed) if given.redraw and missing else (data, features)
        for model in missing:
            save_scores(paths[model], *own, atoms, model, seed)


@dataclass(frozen=True)
class Scored:
    """One model's scores out of fold and on test, blended; what `scores` wrote."""

    path: Path

    @cached_property
    def saved(self) -> dict[str, np.ndarray]:
        with np.load(self.path) as file:
            return dict(file)

    def targets(self, name: str, shape: tuple[int, ...]) -> sp.csr_matrix:
        at = (self.saved[f"{name}_rows"], self.saved[f"{name}_columns"])
        return sp.csr_matrix((np.ones(len(at[0]), np.int8), at), shape=shape)

    @cached_property
    def held_out(self) -> sp.csr_matrix:
        return self.targets("truth", self.saved["held_out"].shape)

    @cached_property
    def test(self) -> sp.csr_matrix:
        return self.targets("test", self.saved["on_test"].shape)

    def predictions(self, rules: dict[str, Rule]) -> dict[str, tuple[sp.csr_matrix, sp.csr_matrix]]:
        """Rule to predictions for the documents held out, tuned on other folds, and for test."""
        own, folds, groups = self.saved, self.saved["folds"], self.saved["groups"]
        model = self.path.stem.split("-")[2]
        svm = (
            own
            if model == SVM
            else Scored(self.path.with_stem(self.path.stem.replace(model, SVM))).saved
        )
        nested = {rule: sp.lil_matrix(self.held_out.shape, dtype=np.int8) for rule in rules}
        on_test = {}
        for fold in [*np.unique(folds), None]:
            rows = np.flatnonzero(folds != fold)
            learned, truth = own["held_out"][rows], self.held_out[rows]
            weight = best_weight(learned, svm["held_out"][rows], truth) if model != SVM else 0.0
            mixed = blend(learned, svm["held_out"][rows], weight)
            others = np.flatnonzero(folds == fold)
            where = "on_test" if fold is None else "held_out"
            asked = slice(None) if fold is None else others
            judged = blend(own[where][asked], svm[where][asked], weight)
            for name, rule in rules.items():
                found = apply_thresholds(judged, rule(mixed, truth, groups, folds[rows]))
                if fold is None:
                    on_test[name] = found
                else:
                    nested[name][others] = found
        return {name: (nested[name].tocsr(), on_test[name]) for name in rules}


def compared(folder: Path, corpus: str, model: str, seeds: list[int]) -> Rows:
    """One row per rule: figures of each seed, and the differences to `REFERENCE` over the seeds."""
    runs = [Scored(folder / f"{corpus}-{seed}-{model}.npz") for seed in seeds]
    found = [run.predictions(RULES) for run in runs]
    rows = []
    for rule in RULES:
        row: dict[str, Any] = {"corpus": corpus, "model": model, "rule": rule, "seeds": seeds}
        for at, (name, keys) in enumerate((("held_out", "keys"), ("test", "test_keys"))):
            figures, nulls = [], []
            for run, predicted in zip(runs, found, strict=True):
                truth = run.test if at else run.held_out
                own, base = predicted[rule][at], predicted[REFERENCE][at]
                masks = {
                    "all": np.ones(truth.shape[1], bool),
                    "TAIL": run.saved["groups"] == "TAIL",
                }
                figures.append({
                    part: f1(own[:, mask], truth[:, mask]) for part, mask in masks.items()
                })  # fmt: skip
                nulls.append(null_differences(
                    own, base, truth, METRICS,
                    label_masks=masks, groups=run.saved[keys].tolist(), n_draws=N_DRAWS,
                ))  # fmt: skip
            row[name] = figures
            row[f"{name}_gain"] = {
                part: {metric: _gain([null[part][metric] for null in nulls]) for metric in METRICS}
                for part in ("all", "TAIL")
            }
        rows.append(row)
        print(corpus, model, rule, row["held_out_gain"]["all"]["mean_f1"], flush=True)
    return rows


def _gain(nulls: list[Any]) -> dict[str, Any]:
    """The difference of each seed and of their mean, each with the reach of its interval."""
    level = (1 - LEVEL) / 2
    joint = np.mean([null.differences for null in nulls], axis=0)
    return {
        "seeds": [[null.difference, critical_value(null.differences, level)] for null in nulls],
        "mean": [mean(null.difference for null in nulls), critical_value(joint, level)],
    }


def compare(folder: Path) -> None:
    seeds: dict[tuple[str, str], list[int]] = {}
    for path in sorted(folder.glob("*-*-*.npz")):
        corpus, seed, model = path.stem.split("-")
        if (folder / f"{corpus}-{seed}-{SVM}.npz").exists():
            seeds.setdefault((corpus, model), []).append(int(seed))
    for (corpus, model), own in seeds.items():
        rows = recorded()
        same = [row for row in rows if (row["corpus"], row["model"]) == (corpus, model)]
        if [row["rule"] for row in same if row["seeds"] == own] != list(RULES):
            kept = [row for row in rows if row not in same] + compared(folder, corpus, model, own)
            RESULTS.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


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
                cells.append("" if at_reference else _interval(*gain["mean"]))
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


def _interval(difference: float, reach: float) -> str:
    low, middle, high = (100 * (difference + sign * reach) for sign in (-1, 0, 1))
    return f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("table")
    commands.add_parser("compare").add_argument("folder", type=Path)
    command = commands.add_parser("scores")
    command.add_argument("name", help="of the corpus, in the table; without a hyphen")
    command.add_argument("corpus", type=Path)
    command.add_argument("assignment", type=Path)
    command.add_argument("folder", type=Path, help="of the scores")
    command.add_argument("--redraw", action="store_true", help="other test documents a seed")
    command.add_argument("--models", nargs="+", default=["logit_adjusted", SVM])
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    command.add_argument("--head", type=int, help="HEAD: train documents of a label, at least")
    command.add_argument("--tail", type=int, help="TAIL: train documents of a label, at most")
    given = parser.parse_args()
    if given.what == "table":
        return print(table())
    if given.what == "compare":
        return compare(given.folder)
    data = read(given.corpus, given.assignment, given.head, given.tail)
    return scores(given.name, data, read_groups(given.assignment).to_dict(), given)


if __name__ == "__main__":
    main()
