"""Cross-fitting, and what each part of the pipeline brings on a corpus.

    python -m benchmarks.scores NAME CORPUS.parquet ASSIGNMENT.parquet FOLDER
    python -m benchmarks.crossfit compare FOLDER
    python -m benchmarks.crossfit table

A row is a way to make a model, with everything else as in `REFERENCE`: logit adjustment with label
names, learned from train and val, blended with the SVM, one threshold; weight and threshold are
chosen out of fold. `held out` is measured on one fifth of these documents after the other, with
weight and thresholds tuned on the rest. Test is looked at once per row. The differences of test are
paired sign flips (`longtail.evaluation.sign_flips`), documents that belong together flipped
together; over seeds the same flips are averaged, since the seeds share documents.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, logit

from benchmarks.scores import BASE, DESCRIBED, SVM, UNNAMED, Scored
from components._frame.params import load_params
from components._train.params import Params
from longtail.evaluation.metrics import apply_thresholds
from longtail.evaluation.selection import f1
from longtail.evaluation.sign_flips import critical_value, null_differences
from longtail.models.blending import blend
from longtail.models.served import Rule, tune_served

RESULTS = Path(__file__).parent / "results" / "crossfit.jsonl"
N_FIFTHS, N_DRAWS, LEVEL = 5, 1999, 0.95
METRICS = ("micro_f1", "macro_f1", "mean_f1")
GROUPS = ("all", "HEAD", "MEDIUM", "TAIL")
REFERENCE, MEAN_OF_LOSSES = "logit_adjusted", "mean_of_losses"
EPS = 1e-7  # σ(z) of float32 is 1 from z = 17 on
ONE = Rule("global", 0.5, 1, blend=True)
Rows = list[dict[str, Any]]


class Pair(NamedTuple):
    """Scores of the documents held out and of test, by one model."""

    held_out: np.ndarray
    test: np.ndarray


class Truth(NamedTuple):
    """0/1 CSR of the documents held out and of test."""

    held_out: sp.csr_matrix
    test: sp.csr_matrix


@dataclass(frozen=True)
class Seed:
    """The scores of one corpus and seed."""

    folder: Path
    corpus: str
    number: int

    def scored(self, model: str) -> Scored:
        return Scored(self.folder / f"{self.corpus}-{self.number}-{model}.npz")

    def has(self, model: str) -> bool:
        names = self.losses if model == MEAN_OF_LOSSES else [model]
        return all(self.scored(name).path.exists() for name in names)

    @property
    def losses(self) -> list[str]:
        """The candidates of `train.loss: auto`."""
        return load_params("train", Params).losses

    def pair(self, model: str, *, folds: bool = True) -> Pair:
        """Of the refit and the folds before it, or of the model that has train alone."""
        if model == MEAN_OF_LOSSES:
            pairs = [self.pair(name, folds=folds) for name in self.losses]
            return Pair(*(mean_of_logits(scores) for scores in zip(*pairs, strict=True)))
        found = self.scored(model)
        names = ("held_out", "on_test") if folds else ("val", "on_test_of_train")
        return Pair(*(found[name] for name in names))

    def truth(self, *, folds: bool = True) -> Truth:
        found = self.scored(SVM)
        return Truth(found.targets("held_out" if folds else "val"), found.targets("on_test"))


def mean_of_logits(scores: Sequence[np.ndarray]) -> np.ndarray:
    """σ of the mean logit `(n_docs, n_labels)` of several models' scores."""
    clipped = [np.clip(one.astype(float), EPS, 1 - EPS) for one in scores]
    return expit(np.mean([logit(one) for one in clipped], axis=0))


@dataclass(frozen=True)
class Made:
    """What one way gives: the SVM's weight, F1 held out, and predictions for test."""

    weight: float
    held_out: dict[str, float] | None
    test: sp.csr_matrix


def made(own: Pair, svm: Pair, truth: Truth, rule: Rule) -> Made:
    """Weight and thresholds tuned on the documents held out."""
    fifths = np.random.default_rng(0).integers(N_FIFTHS, size=len(own.held_out))
    predicted = sp.lil_matrix(truth.held_out.shape, dtype=np.int8)
    for fifth in range(N_FIFTHS):
        others, mine = fifths != fifth, fifths == fifth
        tuned = tune_served(
            own.held_out[others], svm.held_out[others], truth.held_out[others], rule
        )
        mixed = blend(own.held_out[mine], svm.held_out[mine], tuned.blend_weight)
        predicted[np.flatnonzero(mine)] = apply_thresholds(mixed, tuned.thresholds)
    tuned = tune_served(own.held_out, svm.held_out, truth.held_out, rule)
    mixed = blend(own.test, svm.test, tuned.blend_weight)
    return Made(
        tuned.blend_weight,
        f1(predicted.tocsr(), truth.held_out),
        apply_thresholds(mixed, tuned.thresholds),
    )


def model(name: str, rule: Rule = ONE) -> Callable[[Seed], Made]:
    """Another model, or other thresholds."""
    return lambda seed: made(seed.pair(name), seed.pair(SVM), seed.truth(), rule)


def svm_alone(seed: Seed) -> Made:
    alone = Rule("global", 0.5, 1, blend=False)
    return made(seed.pair(SVM), seed.pair(SVM), seed.truth(), alone)


def chosen(seed: Seed, *, folds: bool = True) -> Made:
    """The loss that `auto` takes."""
    names = [name for name in seed.losses if seed.has(name)]
    svm, truth = seed.pair(SVM, folds=folds), seed.truth(folds=folds)
    tried = [made(seed.pair(name, folds=folds), svm, truth, ONE) for name in names]
    return max(tried, key=lambda one: (one.held_out or {})["mean_f1"])


def one_val_part(seed: Seed) -> Made:
    """Everything learned from train and chosen on val."""
    pair, svm = seed.pair(REFERENCE, folds=False), seed.pair(SVM, folds=False)
    found = made(pair, svm, seed.truth(folds=False), ONE)
    return Made(found.weight, None, found.test)  # held out are other documents


def no_refit(seed: Seed) -> Made:
    """Chosen out of fold, but what is served has learned from train alone."""
    names = (REFERENCE, SVM)
    own, svm = (Pair(seed.pair(name).held_out, seed.pair(name, folds=False).test) for name in names)
    found = made(own, svm, seed.truth(), ONE)
    return Made(found.weight, None, found.test)


WAYS: dict[str, tuple[str, Callable[[Seed], Made]]] = {
    "reference": (REFERENCE, model(REFERENCE)),
    "what `auto` takes": (REFERENCE, chosen),
    "one val part": (REFERENCE, one_val_part),
    "one val part, what `auto` takes": (REFERENCE, lambda seed: chosen(seed, folds=False)),
    "no refit": (REFERENCE, no_refit),
    "no blend": (REFERENCE, model(REFERENCE, Rule("global", 0.5, 1, blend=False))),
    "no encoder (SVM)": (SVM, svm_alone),
    "no label names": (f"{REFERENCE}.{UNNAMED}", model(f"{REFERENCE}.{UNNAMED}")),
    "names and descriptions": (f"{REFERENCE}.{DESCRIBED}", model(f"{REFERENCE}.{DESCRIBED}")),
    "base-size encoder": (f"{REFERENCE}.{BASE}", model(f"{REFERENCE}.{BASE}")),
    "thresholds of 0.5": (REFERENCE, model(REFERENCE, Rule("fixed", 0.5, 1, blend=True))),
    "thresholds per label": (REFERENCE, model(REFERENCE, Rule("per_label", 0.5, 1, blend=True))),
    "CB-NTR": ("cb_ntr", model("cb_ntr")),
    "DB": ("db", model("db")),
    "BCE": ("bce", model("bce")),
    "mean of the losses": (MEAN_OF_LOSSES, model(MEAN_OF_LOSSES)),
}


def all_seeds(folder: Path) -> dict[str, list[Seed]]:
    """Corpus to its seeds that have scores of the SVM."""
    seeds: dict[str, list[Seed]] = {}
    for path in sorted(folder.glob(f"*-*-{SVM}.npz")):
        corpus, number, _ = path.stem.split("-")
        seeds.setdefault(corpus, []).append(Seed(folder, corpus, int(number)))
    return seeds


def compare(folder: Path) -> None:
    """One row per corpus and way, over the seeds that have all models."""
    seeds = all_seeds(folder)
    with RESULTS.open("w", encoding="utf-8") as file:
        for corpus, mine in seeds.items():
            references = {seed.number: model(REFERENCE)(seed) for seed in mine}
            for name, (needs, way) in WAYS.items():
                able = [seed for seed in mine if seed.has(needs)]
                if able:
                    row = compared([(seed, way(seed), references[seed.number]) for seed in able])
                    file.write(json.dumps({"corpus": corpus, "way": name} | row) + "\n")
                    file.flush()


def compared(found: list[tuple[Seed, Made, Made]]) -> dict[str, Any]:
    """Figures of each seed, and the differences to the reference over the seeds."""
    row: dict[str, Any] = {"seeds": [seed.number for seed, _, _ in found]}
    row["weights"] = [own.weight for _, own, _ in found]
    if all(own.held_out for _, own, _ in found):
        row["held_out"] = [own.held_out for _, own, _ in found]
    figures, nulls = [], []
    for seed, own, reference in found:
        scored, truth = seed.scored(SVM), seed.truth().test
        masks = {name: scored["groups"] == name for name in GROUPS[1:]}
        masks |= {"all": np.ones(truth.shape[1], bool)}
        figures.append({
            name: f1(own.test[:, mask], truth[:, mask]) for name, mask in masks.items()
        })  # fmt: skip
        nulls.append(null_differences(
            own.test, reference.test, truth, METRICS,
            label_masks=masks, groups=scored["test_keys"].tolist(), n_draws=N_DRAWS,
        ))  # fmt: skip
    row["test"] = figures
    row["difference"] = {
        name: {metric: interval([null[name][metric] for null in nulls]) for metric in METRICS}
        for name in ("all", "TAIL")
    }
    return row


def interval(nulls: list[Any]) -> list[float]:
    """The mean difference over the seeds, and the reach of its interval."""
    joint = np.mean([null.differences for null in nulls], axis=0)
    reach = critical_value(joint, (1 - LEVEL) / 2)
    return [mean(null.difference for null in nulls), reach]


def table() -> str:
    """Micro / macro F1 in %, mean over the seeds (± deviation); differences in points."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    lines = []
    for corpus in dict.fromkeys(row["corpus"] for row in rows):
        lines += [f"**{corpus}**", ""]
        lines += ["| | seeds | SVM | held out | test, all | HEAD | MEDIUM | TAIL "
                  "| mean F1 − reference (95%) | TAIL macro − reference (95%) |",
                  "|---" * 10 + "|"]  # fmt: skip
        for row in rows:
            if row["corpus"] == corpus:
                held_out = _cell(row["held_out"]) if "held_out" in row else "–"
                cells = [_cell([seed[name] for seed in row["test"]]) for name in GROUPS]
                gains = [row["difference"]["all"]["mean_f1"], row["difference"]["TAIL"]["macro_f1"]]
                shown = [
                    "" if row["way"] == "reference" else shown_interval(*gain) for gain in gains
                ]
                first = [row["way"], str(len(row["seeds"])), f"{mean(row['weights']):.2f}"]
                lines.append(f"| {' | '.join([*first, held_out, *cells, *shown])} |")
        lines.append("")
    return "\n".join(lines)


def _cell(figures: Rows) -> str:
    parts = []
    for name in METRICS[:2]:
        values = [100 * row[name] for row in figures]
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        parts.append(f"{mean(values):.1f}{spread}")
    return " / ".join(parts)


def shown_interval(difference: float, reach: float) -> str:
    low, middle, high = (100 * (difference + sign * reach) for sign in (-1, 0, 1))
    return f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("compare").add_argument("folder", type=Path, help="of the scores")
    commands.add_parser("table")
    given = parser.parse_args()
    return compare(given.folder) if given.what == "compare" else print(table())


if __name__ == "__main__":
    main()
