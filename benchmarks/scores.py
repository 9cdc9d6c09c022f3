"""Scores of cross-fitted models on a corpus, for the benchmarks that compare them.

    python -m benchmarks.scores NAME CORPUS.parquet ASSIGNMENT.parquet FOLDER [--redraw]

For each seed, the documents of train and val get other folds (`--redraw`: all documents are split
anew, test too). The SVM and each loss are fitted as the stages do it, with the parameters of
params.yaml, and their scores go to FOLDER, one file per seed and model. A loss that ends in
`.unnamed` is not told the labels' names, one that ends in `.described` reads `--descriptions`
beside them, and one that ends in `.base` has `--encoder`. What is there is not repeated.
LONGTAIL_CACHE holds the features.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import yaml

from components._formats.assignment import Part, read_groups, read_parts
from components._formats.learned import Learned, learned, rows_of
from components._frame.params import load_params
from components._train.features import pretrained
from components._train.heads import Features, all_features, fit_heads, make_losses
from components._train.params import Params
from components.baseline import Params as BaselineParams
from longtail.frequency import class_frequencies, frequency_groups
from longtail.losses import suggest_mu
from longtail.models.features import as_words, extract_features
from longtail.models.heads import predict
from longtail.models.linear import fit_svm
from longtail.splitting.folds import cross_folds
from longtail.splitting.iterative import iterative_split
from longtail.splitting.rounds import make_plan

N_FOLDS = 5
SHARES = (0.6, 0.2, 0.2)
SVM, UNNAMED, DESCRIBED, BASE = "svm", "unnamed", "described", "base"
LOSSES = ("logit_adjusted", "cb_ntr", "db", "bce")
MODELS = (SVM, *LOSSES, f"logit_adjusted.{UNNAMED}")
Fitted = dict[str, np.ndarray]


@dataclass(frozen=True)
class Data:
    """A corpus with its parts; `groups` are HEAD, MEDIUM, TAIL of each label."""

    labels: list[str]
    parts: dict[str, Part]
    atoms: dict[str, str]
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
            groups=[self.atoms[name] for name in docs.ids],
            fixed=np.full(len(docs.ids), -1),
            seed=seed,
        )
        return Learned(replace(docs, folds=folds), make_plan(folds, ~everything))


def read(corpus: Path, assignment: Path, cuts: tuple[int, int] | None) -> Data:
    """The corpus as it was split; `cuts` are the least of HEAD and the most of TAIL."""
    labels, parts = read_parts(corpus, assignment)
    return _data(labels, parts, read_groups(assignment).to_dict(), cuts)


def redrawn(data: Data, seed: int) -> Data:
    """The corpus with train, val and test drawn anew."""
    names, old = list(data.parts), list(data.parts.values())
    everything = Part(
        [name for part in old for name in part.ids],
        [text for part in old for text in part.texts],
        sp.vstack([part.targets for part in old], "csr"),
        np.concatenate([part.folds for part in old]),
    )
    atoms = [data.atoms[name] for name in everything.ids]
    found = iterative_split(
        everything.targets, SHARES, ids=everything.ids, groups=atoms,
        fixed=np.full(len(atoms), -1), seed=seed,
    )  # fmt: skip
    parts = {
        name: rows_of(everything, np.flatnonzero(found == code)) for code, name in enumerate(names)
    }
    return _data(data.labels, parts, data.atoms, None)


def _data(
    labels: list[str], parts: dict[str, Part], atoms: dict[str, str], cuts: tuple[int, int] | None
) -> Data:
    train = parts["train"].targets
    counts = class_frequencies(train)
    head, tail = cuts or _cut_offs(counts)
    return Data(
        labels, parts, atoms, frequency_groups(counts, head=head, tail=tail),
        suggest_mu(train, counts),
    )  # fmt: skip


def _cut_offs(counts: np.ndarray) -> tuple[int, int]:
    """HEAD and TAIL by share of the labels, as `frequencies` does by default."""
    ranked = np.sort(counts)[::-1]
    return int(ranked[int(0.2 * len(ranked)) - 1]), int(ranked[-int(0.4 * len(ranked))])


@dataclass(frozen=True)
class Scored:
    """One model's scores; what `save` wrote.

    `held_out` are those of train and val out of fold, `on_test` those of the refit, and `val` and
    `on_test_of_train` those of the model that has learned from train alone.
    """

    path: Path

    @cached_property
    def saved(self) -> Fitted:
        with np.load(self.path) as file:
            return dict(file)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.saved[name]

    def targets(self, name: str) -> sp.csr_matrix:
        """0/1 CSR of `held_out`, `on_test`, or `val`."""
        rows, columns = self[f"{name}_rows"], self[f"{name}_columns"]
        ones = np.ones(len(rows), np.int8)
        return sp.csr_matrix((ones, (rows, columns)), shape=self[name].shape)


def fit_linear(data: Data, found: Learned) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the documents held out and of test, by the SVM."""
    costs = load_params("baseline", BaselineParams)
    model, held_out, _ = fit_svm(
        found.docs.texts, found.docs.targets, found.plan, costs=costs.costs,
        max_terms=costs.max_terms, negatives=costs.negatives, n_jobs=os.cpu_count() or 1,
    )  # fmt: skip
    return held_out, model.scores(data.parts["test"].texts)


def fit_network(
    data: Data, found: Learned, features: Features, names: np.ndarray | None, loss: str, how: Params
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the documents held out and of test, by the heads of one loss."""
    losses = make_losses([loss], data.mu, how)
    own = fit_heads(features, found, losses, how, names, loss)[loss]
    return own.scores, predict(own.head, features.test.features)


def save(path: Path, data: Data, fitted: Fitted, found: Learned) -> None:
    """Write a model's scores with the targets, the groups of documents, and those of labels."""
    truth = {
        "held_out": found.scored.targets,
        "on_test": data.parts["test"].targets,
        "val": data.parts["val"].targets,
    }
    positives = {
        f"{key}_{axis}": value
        for key, matrix in truth.items()
        for axis, value in zip(("rows", "columns"), matrix.nonzero(), strict=True)
    }
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary, groups=data.groups.astype(str), folds=found.scored.folds,
        keys=np.array([data.atoms[name] for name in found.scored.ids]),
        test_keys=np.array([data.atoms[name] for name in data.parts["test"].ids]),
        **positives, **{name: scores.astype(np.float32) for name, scores in fitted.items()},
    )  # fmt: skip
    temporary.rename(path)


def scores(name: str, data: Data, given: argparse.Namespace) -> None:
    """Fit what is missing of every seed."""
    given.folder.mkdir(exist_ok=True)
    for seed in given.seeds:
        own = redrawn(data, seed) if given.redraw else data
        found = own.folded(seed)
        for model in given.models:
            path = given.folder / f"{name}-{seed}-{model}.npz"
            if path.exists():
                continue
            started = time.time()
            if model == SVM:
                (held_out, on_test), (val, of_train) = (
                    fit_linear(own, way) for way in (found, own.whole)
                )
            else:
                loss, _, told = model.partition(".")
                params, features, names = inputs(own, found, told, given)
                params = params.model_copy(update={"seed": seed})
                (held_out, on_test), (val, of_train) = (
                    fit_network(own, way, features, names, loss, params)
                    for way in (found, own.whole)
                )
            save(path, own, {"held_out": held_out, "on_test": on_test, "val": val,
                             "on_test_of_train": of_train}, found)  # fmt: skip
            print(f"{path.name}: {time.time() - started:.0f} s", flush=True)


def inputs(
    data: Data, found: Learned, told: str, given: argparse.Namespace
) -> tuple[Params, Features, np.ndarray | None]:
    """Parameters, features of documents, and those of what is told of the labels."""
    params = load_params("train", Params)
    if told == BASE:
        params = params.model_copy(update={"encoder": given.encoder})
    start = pretrained(data.labels, params)
    features = all_features(start, data.parts, found, params)
    if told == UNNAMED:
        return params, features, None
    if told == DESCRIBED:
        known = yaml.safe_load(given.descriptions.read_text(encoding="utf-8"))
        texts = [f"{as_words(label)}: {known.get(label, '')}" for label in data.labels]
        return params, features, extract_features(start, texts)
    return params, features, features.names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the corpus, in the tables; without a hyphen")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("assignment", type=Path)
    parser.add_argument("folder", type=Path, help="of the scores")
    parser.add_argument("--redraw", action="store_true", help="other test documents per seed")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--encoder", help="of the losses that end in .base")
    parser.add_argument(
        "--descriptions",
        type=Path,
        help="YAML: label to its description, for those that end in .described",
    )
    parser.add_argument("--cuts", type=int, nargs=2, metavar=("HEAD", "TAIL"),
                        help="train documents of a label: at least, at most")  # fmt: skip
    given = parser.parse_args()
    cuts = tuple(given.cuts) if given.cuts else None
    scores(given.name, read(given.corpus, given.assignment, cuts), given)


if __name__ == "__main__":
    main()
