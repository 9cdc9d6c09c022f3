"""What training gains by believing annotators by degrees: soft targets and weights against labels.

    python -m benchmarks.soft_targets run [NAME CORPUS.parquet]   # else: the synthetic corpus
    python -m benchmarks.soft_targets table
    python -m benchmarks.soft_targets control                     # certainty or regularization?
    python -m benchmarks.soft_targets table --control [--over "mean certainty"]

Annotators of `benchmarks.consensus` judge the documents of train and val. Each way of training
gives an entry (document and label) a weight as positive and one as negative. TF-IDF with a linear
SVM (C = 1) and a head on the same features (logit adjustment) learn from train. The weight
of their blend and thresholds are chosen on val, with the labels of the consensus in use; test has
the true labels. The control chooses C on val too, and compares the weights by certainty with others
of the same sum that know nothing. What is in the results is not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from benchmarks.consensus import CAREFUL, CARELESS, NO_TAIL, POOL, Habit, Scenario, annotated
from benchmarks.over_seeds import interval
from longtail.annotation.agreed_labels import LEAST_WEIGHT
from longtail.annotation.consensus import dawid_skene, decide, majority
from longtail.annotation.reliability import reliability
from longtail.corpora.synthetic import N_DOCS, N_LABELS, synthetic_corpus
from longtail.evaluation.metrics import apply_thresholds
from longtail.evaluation.selection import f1, validation_f1
from longtail.label_matrix import encode, vocabulary
from longtail.models.blending import blend
from longtail.models.heads import Examples, HeadShape, HeadTraining, new_head, predict, train_head
from longtail.models.linear import NEVER, TFIDF
from longtail.models.served import Rule, tune_served
from longtail.models.svm import hyperplanes
from longtail.validation.agreement import Judgments

RESULTS = Path(__file__).parent / "results" / "soft_targets.jsonl"
CONTROL = RESULTS.with_name("soft_targets_control.jsonl")
PARTS = (0.64, 0.8)  # where train and val end
COST, COSTS = 1.0, (0.25, 0.5, 1.0, 2.0, 4.0)  # of the SVM; those that the control chooses among
SHAPE, HOW = HeadShape(128, 0.3, None), HeadTraining(3e-3, 0.01, 8, 256, bf16=False)
RULES = {name: Rule(name, 0.5, 1, blend=True) for name in ("global", "per_label")}
THREE = "three of a pool of five"
SINGLE = "one of a pool of five, three for every fifth document"
SCENARIOS = {
    SINGLE: Scenario(POOL, 3),
    THREE: Scenario(POOL, 3),
    "one never gives TAIL": Scenario((CAREFUL, CAREFUL, NO_TAIL), 3),
    "one careless": Scenario((CAREFUL, CAREFUL, CARELESS), 3),
}
# The labels in use are the true ones, the annotators those of THREE.
RIGHT = "three of a pool of five, the consensus right everywhere"
SURE = "three who seldom err"
CONTROLLED = SCENARIOS | {RIGHT: SCENARIOS[THREE], SURE: Scenario((Habit(0.1, 0.03),) * 3, 3)}
LEARNERS, METRICS = ("svm", "head", "blend"), ("macro_f1", "micro_f1")
Row = dict[str, Any]
Weights = tuple[np.ndarray, np.ndarray]  # as positive and as negative, each (n_docs, n_labels)


@dataclass(frozen=True)
class Trial:
    """One corpus with its annotators.

    Attributes:
        truth: 0/1 `(n_docs, n_labels)`; train comes first, test last.
        judgments: of all documents; those of test are not used to train.
        probability: `(n_docs, n_labels)` by Dawid and Skene.
        in_use: 0/1 `(n_docs, n_labels)`, as `validate.consensus: dawid_skene` has it: a document
            that one annotator judged keeps the labels of that annotator.
        x: TF-IDF, of the terms of train.
        train: rows of documents that have a label.
        val: likewise.
        test: rows.
    """

    truth: sp.csr_matrix
    judgments: Judgments
    probability: sp.csr_matrix
    in_use: sp.csr_matrix
    x: sp.csr_matrix
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def make_trial(
    texts: list[str], groups: np.ndarray, truth: sp.csr_matrix, name: str, seed: int
) -> Trial:
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.permutation(groups.max() + 1)[groups], kind="stable")
    n_train, n_learned = (int(share * len(order)) for share in PARTS)
    texts, truth = [texts[row] for row in order], truth[order]
    judgments = annotated(truth[:n_learned], CONTROLLED[name], seed).judgments
    if name == SINGLE:
        judgments = thinned(judgments, rng)
    found = dawid_skene(judgments, n_learned).probability
    single = np.bincount(judgments.document, minlength=n_learned) < 2
    own = majority(judgments, n_learned)
    in_use = sp.csr_matrix(np.where(single[:, None], own.toarray() > 0, decide(found).toarray()))
    if name == RIGHT:
        in_use = truth[:n_learned]
    labeled = np.diff(in_use.indptr) > 0
    vectorizer = TfidfVectorizer(min_df=2, max_features=100_000, **TFIDF).fit(texts[:n_train])
    parts = np.split(np.arange(len(order)), [n_train, n_learned])
    return Trial(
        truth, judgments, found, in_use.astype(np.int8),
        vectorizer.transform(texts).astype(np.float64).tocsr(),
        parts[0][labeled[parts[0]]], parts[1][labeled[parts[1]]], parts[2],
    )  # fmt: skip


def thinned(judgments: Judgments, rng: np.random.Generator) -> Judgments:
    """All judgments of every fifth document, one of each of the others."""
    order = rng.permutation(len(judgments.document))
    _, first = np.unique(judgments.document[order], return_index=True)
    kept = judgments.document % 5 == 0
    kept[order[first]] = True
    return judgments.rows(np.flatnonzero(kept))


def hard(trial: Trial, labels: sp.csr_matrix) -> Weights:
    y = labels[trial.train].toarray().astype(np.float32)
    return y, 1 - y


def soft(trial: Trial) -> Weights:
    """The probabilities."""
    p = trial.probability[trial.train].toarray().astype(np.float32)
    return p, 1 - p


def soft_where_several(trial: Trial) -> Weights:
    """The probabilities where several judged, else the labels of the one who did."""
    p = trial.probability[trial.train].toarray().astype(np.float32)
    counts = np.bincount(trial.judgments.document, minlength=trial.in_use.shape[0])
    p = np.where((counts < 2)[trial.train, None], trial.in_use[trial.train].toarray(), p)
    return p, 1 - p


def by_certainty(trial: Trial) -> Weights:
    """The labels in use, with the weight |2p − 1|: none where the consensus is even."""
    p = trial.probability[trial.train].toarray().astype(np.float32)
    y, no = hard(trial, trial.in_use)
    return y * abs(2 * p - 1), no * abs(2 * p - 1)


def by_certainty_of_several(trial: Trial) -> Weights:
    """Likewise, of documents that several judged, as `validate.consensus_weights` has it.

    But for labels that are taken with p below 1/2, which it gives next to nothing.
    """
    counts = np.bincount(trial.judgments.document, minlength=trial.in_use.shape[0])
    single = (counts < 2)[trial.train, None]
    pairs = zip(by_certainty(trial), hard(trial, trial.in_use), strict=True)
    yes, no = (np.where(single, whole, part) for part, whole in pairs)
    return yes, no


def by_chance(trial: Trial) -> Weights:
    """The weights |2p − 1| of what anyone gave, shuffled: positives and negatives by themselves."""
    rng = np.random.default_rng(0)
    return _without_order(trial, rng.permutation)


def by_mean(trial: Trial) -> Weights:
    """The mean of |2p − 1| for the positives that anyone gave, and that for the negatives."""
    return _without_order(trial, lambda w: np.full_like(w, w.mean()))


def _without_order(trial: Trial, changed: Callable[[np.ndarray], np.ndarray]) -> Weights:
    given = trial.probability[trial.train].toarray() > 0
    found = by_certainty(trial)
    for side, y in zip(found, hard(trial, trial.in_use), strict=True):
        cells = given & (y > 0)
        side[cells] = changed(side[cells])
    return found


def by_annotator(trial: Trial) -> Weights:
    """The labels in use; a document weighs as much as its annotators are reliable (F1), on average.

    The weights have the mean 1.
    """
    shared = trial.judgments.shared()
    found = reliability(shared, trial.probability, shared.annotator)
    f = 2 * found.found * found.right / (found.found + found.right)
    j = trial.judgments
    total = np.bincount(j.document, f[j.annotator], minlength=trial.in_use.shape[0])
    weight = (total / np.bincount(j.document, minlength=len(total)).clip(1))[trial.train]
    weight = (weight / weight.mean())[:, None].astype(np.float32)
    y, no = hard(trial, trial.in_use)
    return y * weight, no * weight


BASE = "in use"
ARMS: dict[str, Callable[[Trial], Weights]] = {
    BASE: lambda trial: hard(trial, trial.in_use),
    "soft": soft,
    "soft where several": soft_where_several,
    "certainty": by_certainty,
    "certainty where several": by_certainty_of_several,
    "shuffled certainty": by_chance,
    "mean certainty": by_mean,
    "annotator": by_annotator,
    "truth": lambda trial: hard(trial, trial.truth),
}
# Elsewhere every document has the same annotators, or several.
ONLY = {
    "soft where several": (SINGLE,),
    "certainty where several": (SINGLE,),
    "annotator": (SINGLE, THREE),
}
CERTAINTIES = ("certainty", "certainty where several", "shuffled certainty", "mean certainty")


def best_svm_scores(trial: Trial, weights: Weights) -> tuple[float, np.ndarray]:
    """The C with the best mean F1 on val, and its scores; every entry has one side.

    That makes one fit of all labels possible.
    """
    y = hard(trial, trial.in_use)[0].astype(np.int8)
    x = trial.x.astype(np.float32)
    learned = np.flatnonzero((y.sum(axis=0) > 0) & (y.sum(axis=0) < len(y)))
    counts = (weights[0] + weights[1])[:, learned].clip(LEAST_WEIGHT)
    scored, n = x[np.concatenate([trial.val, trial.test])], len(trial.val)
    found = []
    for cost in COSTS:
        planes, bias = hyperplanes(x[trial.train], y[:, learned], cost, weights=counts)
        scores = np.full((scored.shape[0], y.shape[1]), NEVER, np.float32)
        scores[:, learned] = scored @ planes + bias
        scores = expit(scores)
        own = validation_f1(scores[:n], trial.in_use[trial.val])["mean_f1"]
        found.append((own, cost, scores))
    _, cost, scores = max(found, key=lambda one: one[0])
    return cost, scores


def svm_scores(trial: Trial, weights: Weights) -> np.ndarray:
    """σ(margin) of val, then test."""
    learned, scored = trial.x[trial.train], trial.x[np.concatenate([trial.val, trial.test])]
    scores = np.full((scored.shape[0], trial.truth.shape[1]), NEVER, np.float32)
    for i in range(scores.shape[1]):
        yes, no = (np.flatnonzero(side[:, i] > 0) for side in weights)
        if not (len(yes) and len(no)):
            continue
        rows = np.concatenate([yes, no])
        y = np.repeat([1, 0], [len(yes), len(no)])
        weight = np.concatenate([weights[0][yes, i], weights[1][no, i]])
        svm = LinearSVC(C=COST, random_state=0).fit(learned[rows], y, sample_weight=weight)
        scores[:, i] = svm.decision_function(scored)
    return expit(scores)


class Adjusted(nn.Module):
    """Logit-adjusted BCE of entries that weigh a as positive and b as negative.

    The targets are a and 1 − b side by side, `(batch, 2 n_labels)`.
    """

    prior: Tensor

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        yes, no = (torch.tensor(side.sum(axis=0, dtype=np.float64)) for side in weights)
        yes, no = yes.clamp(min=1), no.clamp(min=1)
        self.register_buffer("prior", torch.log(yes / no).float())

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        z = logits + self.prior
        yes, no = targets.chunk(2, dim=1)
        return (yes * F.softplus(-z) + (1 - no) * F.softplus(z)).mean()


def head_scores(trial: Trial, weights: Weights, seed: int) -> np.ndarray:
    """σ(z) of val, then test."""
    x = trial.x.toarray().astype(np.float32)
    features = x[trial.train]
    yes, no = weights
    head = new_head(Examples(features, sp.csr_matrix((yes >= 0.5).astype(np.int8))), SHAPE, seed)
    both = Examples(features, sp.csr_matrix(np.hstack([yes, 1 - no]).astype(np.float32)))
    train_head(head, Adjusted(weights), both, how=HOW, seed=seed)
    return predict(head, x[np.concatenate([trial.val, trial.test])])


def measured(trial: Trial, weights: Weights, seed: int, control: bool) -> Row:
    """Micro- and macro-F1 on test, of both learners and of their blend."""
    row: Row = {}
    if control:
        row["C"], svm = best_svm_scores(trial, weights)
    else:
        svm = svm_scores(trial, weights)
    head, n = head_scores(trial, weights, seed), len(trial.val)
    for name, rule in RULES.items():
        alone = Rule(name, 0.5, 1, blend=False)
        for what, a, b, how in (("svm", svm, svm, alone), ("head", head, head, alone),
                                ("blend", head, svm, rule)):  # fmt: skip
            tuned = tune_served(a[:n], b[:n], trial.in_use[trial.val], how)
            mixed = blend(a[n:], b[n:], tuned.blend_weight)
            found = f1(apply_thresholds(mixed, tuned.thresholds), trial.truth[trial.test])
            row[f"{what}, {name}"] = {metric: round(found[metric], 6) for metric in METRICS}
    return row


def load(path: Path | None, n_docs: int, seed: int) -> tuple[list[str], np.ndarray, sp.csr_matrix]:
    """Texts, groups, and labels taken for the truth."""
    if path is None:
        records, true = synthetic_corpus(n_docs, N_LABELS, 0.0, seed)
        lists = [true[record["id"]] for record in records]
        texts, groups = [record["text"] for record in records], np.arange(len(records))
    else:
        frame = pd.read_parquet(path)
        lists, texts = frame["labels"].tolist(), frame["text"].tolist()
        groups = pd.factorize(frame["group"])[0]
    return texts, groups, encode(lists, vocabulary(lists))


def run(
    name: str, path: Path | None, n_docs: int, n_seeds: int, scenarios: list[str], control: bool
) -> None:
    torch.set_num_threads(1)
    results = CONTROL if control else RESULTS
    among = (BASE, *CERTAINTIES) if control else [a for a in ARMS if a not in CERTAINTIES[1:]]
    for seed in range(n_seeds):
        texts, groups, truth = load(path, n_docs, seed)
        for scenario in scenarios:
            done = {
                row["arm"]
                for row in read_rows(results)
                if (row["corpus"], row["scenario"], row["seed"]) == (name, scenario, seed)
            }
            arms = [a for a in among if a not in done and scenario in ONLY.get(a, CONTROLLED)]
            if not arms:
                continue
            trial = make_trial(texts, groups, truth, scenario, seed)
            for arm in arms:
                started = time.time()
                found = measured(trial, ARMS[arm](trial), seed, control)
                row = {"corpus": name, "scenario": scenario, "seed": seed, "arm": arm, **found}
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                cells = [f"{100 * found[f'{a}, global']['macro_f1']:.1f}" for a in LEARNERS]
                print(scenario, seed, arm, *cells, f"{time.time() - started:.0f} s", flush=True)


def read_rows(results: Path) -> list[Row]:
    if not results.exists():
        return []
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def means(rows: list[Row]) -> list[Row]:
    """The mean over SCENARIOS, of each arm and seed that was measured in all of them."""
    found = []
    for corpus, arm, seed in sorted({(row["corpus"], row["arm"], row["seed"]) for row in rows}):
        own = [r for r in rows if (r["corpus"], r["arm"], r["seed"]) == (corpus, arm, seed)]
        own = [row for row in own if row["scenario"] in SCENARIOS]
        if len(own) == len(SCENARIOS):
            row = {"corpus": corpus, "scenario": "mean of the four", "arm": arm, "seed": seed}
            for how in (f"{what}, {rule}" for what in LEARNERS for rule in RULES):
                row[how] = {m: float(np.mean([r[how][m] for r in own])) for m in METRICS}
            found.append(row)
    return found


def table(control: bool, over: str) -> str:
    """Macro- and micro-F1 on test in %, and the gain over another arm in points."""
    rows = read_rows(CONTROL if control else RESULTS)
    rows += means(rows)
    at = {(row["corpus"], row["scenario"], row["arm"], row["seed"]): row for row in rows}
    shown = [(what, metric) for metric in METRICS for what in LEARNERS]
    head = ["corpus", "scenario", "arm", "seeds", *(f"{what}, {metric}" for what, metric in shown)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for corpus, scenario, arm in dict.fromkeys(key[:3] for key in at):
        own = [row for key, row in at.items() if key[:3] == (corpus, scenario, arm)]
        cells = [corpus, scenario, arm, str(len(own))]
        for what, metric in shown:
            f1s = np.array([row[f"{what}, global"][metric] for row in own])
            base = [at[corpus, scenario, over, row["seed"]] for row in own]
            gain = f1s - [row[f"{what}, global"][metric] for row in base]
            cells.append(f"{100 * f1s.mean():.1f}" + f" ({interval(100 * gain)})" * (arm != over))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    for what, scenarios in (("run", SCENARIOS), ("control", CONTROLLED)):
        simulated = commands.add_parser(what)
        simulated.add_argument("name", nargs="?", default="synthetic", help="in the results")
        simulated.add_argument("corpus", nargs="?", type=Path)
        simulated.add_argument("--docs", type=int, default=N_DOCS, help="of the synthetic corpus")
        simulated.add_argument("--seeds", type=int, default=5)
        simulated.add_argument("--scenarios", nargs="+", choices=scenarios, default=list(scenarios))
    shown = commands.add_parser("table")
    shown.add_argument("--control", action="store_true")
    shown.add_argument("--over", choices=ARMS, default=BASE, help="gains over which arm")
    given = parser.parse_args()
    if given.what == "table":
        print(table(given.control, given.over))
        return
    control = given.what == "control"
    run(given.name, given.corpus, given.docs, given.seeds, given.scenarios, control)


if __name__ == "__main__":
    main()
