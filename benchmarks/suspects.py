"""What reviewing suspected labels gains, and what training gains by doubting them unseen.

    python -m benchmarks.suspects run NAME [CORPUS.parquet]   # without a corpus: the synthetic one
    python -m benchmarks.suspects table

A share of the labels of train and val is moved to other labels of the same documents: `uniform`,
drawn from all labels alike, or `frequent`, drawn by their frequency. A reviewer who knows the truth
then sets right all labels of the documents reviewed: in two rounds of 200, those that `longtail
review` puts first, found anew for the second round, or 400 drawn at random. Or nobody reviews, and
the SVM gives suspected cells (document and label) of train less weight. Each time, the baseline
(TF-IDF and a linear SVM, C = 1) learns from train, thresholds are tuned on val (`global` and
`per_label`), and test has the true labels. Groups of documents stay together, but for the two at
the boundaries. What is there is not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from benchmarks.over_seeds import interval
from longtail import thresholds
from longtail.annotation.review_order import by_document
from longtail.corpora.synthetic import N_DOCS, N_LABELS, synthetic_corpus
from longtail.evaluation.metrics import apply_thresholds
from longtail.evaluation.selection import f1
from longtail.frequency import class_frequencies
from longtail.label_matrix import encode, vocabulary
from longtail.models.linear import NEVER, TFIDF
from longtail.validation.label_errors import Suspect, suspects, text_features

RESULTS = Path(__file__).parent / "results" / "suspects.jsonl"
SHARE, ROUNDS, SIZE, TOP, DOUBTED = 0.1, 2, 200, 500, 0.25
EVERY = 1_000_000
PARTS = (0.64, 0.8)  # where train and val end
NOISES = ("uniform", "frequent")
METRICS = ("macro_f1", "micro_f1")
SHOWN = (("per_label", "macro_f1"), ("global", "macro_f1"), ("global", "micro_f1"))
Row = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One corpus, split, with noise.

    Attributes:
        texts: of train and val, `(n_learned,)`; train comes first.
        train: the number of documents of train.
        truth: 0/1 `(n_learned, n_labels)`, the true labels.
        given: 0/1 `(n_learned, n_labels)`, the annotated ones.
        x: TF-IDF of train, val and test.
        test: the true labels of test.
        seed: of the draws.
    """

    texts: list[str]
    train: int
    truth: sp.csr_matrix
    given: sp.csr_matrix
    x: sp.csr_matrix
    test: sp.csr_matrix
    seed: int


def make_trial(texts: Sequence[str], groups: np.ndarray, truth: sp.csr_matrix, noise: str,
               seed: int) -> Trial:  # fmt: skip
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.permutation(groups.max() + 1)[groups], kind="stable")
    train, learned = (int(share * len(order)) for share in PARTS)
    mine = [texts[row] for row in order]
    vectorizer = TfidfVectorizer(min_df=2, max_features=100_000, **TFIDF).fit(mine[:train])
    x = vectorizer.transform(mine).astype(np.float64).tocsr()
    truth = truth[order]
    given = moved(truth[:learned], noise, rng)
    return Trial(mine[:learned], train, truth[:learned], given, x, truth[learned:], seed)


def moved(truth: sp.csr_matrix, noise: str, rng: np.random.Generator) -> sp.csr_matrix:
    """Move a share of the ones to other labels of their documents."""
    dense = truth.toarray().astype(bool)
    share = dense.sum(axis=0) if noise == "frequent" else np.ones(dense.shape[1])
    rows, columns = np.nonzero(dense)
    found = dense.copy()
    for k in rng.choice(len(rows), int(SHARE * len(rows)), replace=False):
        free = share * ~(found[rows[k]] | dense[rows[k]])
        found[rows[k], columns[k]] = False
        found[rows[k], rng.choice(len(free), p=free / free.sum())] = True
    return sp.csr_matrix(found.astype(np.int8))


def suspected(trial: Trial, given: sp.csr_matrix) -> list[Suspect]:
    return suspects(text_features(trial.texts, 256, 0), given, TOP)


def reviewed(trial: Trial, choose: Callable[[sp.csr_matrix, set[int]], list[int]]) -> sp.csr_matrix:
    """The labels after all rounds, in each of which the documents chosen get their true labels."""
    labels, done = trial.given.tolil(), set[int]()
    for _ in range(ROUNDS):
        rows = choose(labels.tocsr(), done)
        labels[rows] = trial.truth[rows]
        done.update(rows)
    return labels.tocsr()


def by_suspects(trial: Trial) -> sp.csr_matrix:
    def choose(given: sp.csr_matrix, done: set[int]) -> list[int]:
        order = by_document([s for s in suspected(trial, given) if s.document not in done])
        return list(order)[:SIZE]

    return reviewed(trial, choose)


def by_rare_suspects(trial: Trial) -> sp.csr_matrix:
    """All that is in doubt, its score divided by the number of documents with the label."""

    def choose(given: sp.csr_matrix, done: set[int]) -> list[int]:
        freq = class_frequencies(given)
        found = suspects(text_features(trial.texts, 256, 0), given, EVERY)
        found.sort(key=lambda s: -s.score / max(freq[s.label], 1))
        return list(by_document([s for s in found if s.document not in done]))[:SIZE]

    return reviewed(trial, choose)


def at_random(trial: Trial) -> sp.csr_matrix:
    rng = np.random.default_rng(1000 + trial.seed)

    def choose(given: sp.csr_matrix, done: set[int]) -> list[int]:
        free = sorted(set(range(given.shape[0])) - done)
        return rng.choice(free, SIZE, replace=False).tolist()

    return reviewed(trial, choose)


def doubted(trial: Trial, given: sp.csr_matrix, weight: float) -> np.ndarray:
    """Weights `(n_train, n_labels)`, with `weight` where a label is suspected."""
    weights = np.ones((trial.train, given.shape[1]))
    for s in suspected(trial, given):
        if s.document < trial.train:
            weights[s.document, s.label] = weight
    return weights


def measured(trial: Trial, labels: sp.csr_matrix, weights: np.ndarray | None = None) -> Row:
    """Micro- and macro-F1 on test of what learns from these labels."""
    n, learned = trial.train, labels.shape[0]
    dense = labels[:n].toarray()
    scores = np.full((trial.x.shape[0], dense.shape[1]), NEVER, np.float32)
    for i in range(dense.shape[1]):
        weight = np.ones(n) if weights is None else weights[:, i]
        used = weight > 0
        if 0 < dense[used, i].sum() < used.sum():
            svm = LinearSVC(C=1.0, random_state=0)
            svm.fit(trial.x[:n][used], dense[used, i], sample_weight=weight[used])
            scores[:, i] = svm.decision_function(trial.x)
    scores = expit(scores)
    wrong = (trial.given != trial.truth).nnz
    row = {"wrong": wrong, "fixed": wrong - (labels != trial.truth).nnz}
    for objective in ("global", "per_label"):
        limits = thresholds.tune(scores[n:learned], labels[n:], objective=objective)
        found = f1(apply_thresholds(scores[learned:], limits), trial.test)
        row[objective] = {name: round(found[name], 6) for name in METRICS}
    return row


ARMS: dict[str, Callable[[Trial], Row]] = {
    "keep": lambda trial: measured(trial, trial.given),
    "random": lambda trial: measured(trial, at_random(trial)),
    "suspects": lambda trial: measured(trial, by_suspects(trial)),
    "suspects / n": lambda trial: measured(trial, by_rare_suspects(trial)),
    "truth": lambda trial: measured(trial, trial.truth),
    "downweight": lambda trial: measured(trial, trial.given, doubted(trial, trial.given, DOUBTED)),
    "drop": lambda trial: measured(trial, trial.given, doubted(trial, trial.given, 0.0)),
    "drop, no noise": lambda trial: measured(trial, trial.truth, doubted(trial, trial.truth, 0.0)),
}


def load(path: Path | None, n_docs: int) -> tuple[list[str], np.ndarray, sp.csr_matrix]:
    """Texts, groups, and labels taken for the truth."""
    if path is None:
        records, true = synthetic_corpus(n_docs, N_LABELS, 0.0, 0)
        lists = [true[record["id"]] for record in records]
        texts, groups = [record["text"] for record in records], np.arange(len(records))
    else:
        frame = pd.read_parquet(path)
        if n_docs < len(frame):
            frame = frame.sample(n_docs, random_state=0)
        lists, texts = frame["labels"].tolist(), frame["text"].tolist()
        groups = pd.factorize(frame["group"])[0]
    return texts, groups, encode(lists, vocabulary(lists))


def run(name: str, path: Path | None, n_docs: int, noises: Sequence[str], n_seeds: int) -> None:
    texts, groups, truth = load(path, n_docs)
    for noise in noises:
        for seed in range(n_seeds):
            trial = make_trial(texts, groups, truth, noise, seed)
            for arm, measure in ARMS.items():
                key = {"corpus": name, "noise": noise, "seed": seed, "arm": arm}
                if any(key.items() <= row.items() for row in read_rows()):
                    continue
                started = time.time()
                row = key | measure(trial)
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, f"{time.time() - started:.0f} s", flush=True)


def read_rows() -> list[Row]:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def table() -> str:
    """Test F1 in %, and the gain over `keep` in points."""
    rows = read_rows()
    at = {(row["corpus"], row["noise"], row["seed"], row["arm"]): row for row in rows}
    lines = [
        "| corpus | noise | arm | seeds | macro-F1, per label | gain | macro-F1, global | gain "
        "| micro-F1, global | gain | errors set right |",
        "|" + "---|" * 11,
    ]
    for corpus, noise in dict.fromkeys(key[:2] for key in at):
        for arm in ARMS:
            own = [row for key, row in at.items() if (*key[:2], key[3]) == (corpus, noise, arm)]
            if not own:
                continue
            base = [at[corpus, noise, row["seed"], "keep"] for row in own]
            cells = [corpus, noise, arm, str(len(own))]
            for how, metric in SHOWN:
                cells.append(f"{100 * np.mean([row[how][metric] for row in own]):.1f}")
                gains = [a[how][metric] - b[how][metric] for a, b in zip(own, base, strict=True)]
                cells.append("" if arm == "keep" else interval(100 * np.array(gains)))
            fixed, wrong = (np.mean([row[name] for row in own]) for name in ("fixed", "wrong"))
            cells.append(f"{fixed:,.0f} of {wrong:,.0f}")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    simulated = commands.add_parser("run")
    simulated.add_argument("name", help="of the corpus, in the results")
    simulated.add_argument("corpus", nargs="?", type=Path)
    simulated.add_argument("--docs", type=int, default=N_DOCS, help="a sample, at most")
    simulated.add_argument("--noises", nargs="+", choices=NOISES, default=NOISES)
    simulated.add_argument("--seeds", type=int, default=5)
    commands.add_parser("table")
    given = parser.parse_args()
    if given.what == "run":
        run(given.name, given.corpus, given.docs, given.noises, given.seeds)
    else:
        print(table())


if __name__ == "__main__":
    main()
