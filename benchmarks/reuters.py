"""The published comparison on Reuters-21578 under its protocol: SVM, all losses, the best model.

    python -m components.ingest --out FOLDER reuters ARCHIVE --val 1000 --val-seed 123
    python -m benchmarks.reuters heads FOLDER/corpus.parquet --tokens 128   # SVM; encoder frozen
    python -m benchmarks.reuters best FOLDER/corpus.parquet --tokens 128    # seeds averaged, blends
    python -m benchmarks.reuters finetune FOLDER/corpus.parquet --losses db bce
    python -m benchmarks.reuters best FOLDER/corpus.parquet --heads fine-tuned --losses db bce
    python -m benchmarks.reuters_table                           # write the tables into the docs

Every run appends one JSON line to `benchmarks/results/reuters.jsonl` and is not repeated; a killed
run resumes. For each (head, loss) the learning rate with the best mean val micro-F1 is taken, and
only its runs are scored on test (lines with `test`). LONGTAIL_CACHE holds features, scores and
checkpoints.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import time
from dataclasses import replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from longtail import thresholds
from longtail.evaluation import metrics
from longtail.frequency import class_frequencies, frequency_groups
from longtail.label_matrix import encode, vocabulary
from longtail.losses import LOSSES, loss_options, make_loss, suggest_mu
from longtail.models.blending import best_weight, blend
from longtail.models.bundled import BUNDLED
from longtail.models.classifier import Classifier, Head, build
from longtail.models.documents import Documents
from longtail.models.encoder import load_encoder
from longtail.models.features import extract_features, name_features
from longtail.models.finetune import FineTuning, fine_tune
from longtail.models.heads import Examples, HeadTraining, predict, train_head
from longtail.models.linear import fit_svm
from longtail.splitting.rounds import Plan

RESULTS = Path(__file__).parent / "results" / "reuters.jsonl"
CACHE = Path(os.environ.get("LONGTAIL_CACHE", Path.home() / ".cache" / "longtail")) / "reuters"
N_SEEDS = 5
RATES = (3e-4, 1e-3, 3e-3)
PARTS = ("train", "val", "test")
# Hidden units and label names of the heads; all losses are compared on the linear one.
HEADS = {"linear": (0, False), "linear + names": (0, True), "hidden + names": (512, True)}
HEAD_DROPOUT = 0.3
HEAD_TRAINING = HeadTraining(
    learning_rate=1e-3, weight_decay=0.01, epochs=30, batch_size=64, bf16=False
)
FINE_TUNING = FineTuning(
    learning_rate=5e-5,
    head_learning_rate=2e-4,
    weight_decay=0.01,
    warmup=0.1,
    epochs=8,
    patience=4,
    batch_tokens=4096,
    accumulation=1,
    frozen_layers=0,
    dropout=0.0,
    bf16=True,
)
FINE_TUNED = "fine-tuned"
SVM = {"head": "svm"}
Row = dict[str, Any]
Scores = dict[str, np.ndarray]


class Reuters:
    """Texts, targets and label groups of the three parts; features from the cache."""

    def __init__(self, corpus: Path, tokens: int) -> None:
        frame = pd.read_parquet(corpus)
        self.tokens = tokens
        self.labels = vocabulary(frame["labels"])
        targets = encode(frame["labels"].tolist(), self.labels)
        self.rows = {part: np.flatnonzero(frame["split"] == part) for part in PARTS}
        self.texts = frame["text"].tolist()
        self.targets = {part: targets[rows] for part, rows in self.rows.items()}
        self.class_freq = class_frequencies(self.targets["train"])
        self.groups = frequency_groups(self.class_freq, head=35, tail=8)
        self.train_num = len(self.rows["train"])
        self.mu = suggest_mu(self.targets["train"], self.class_freq)

    @cached_property
    def features(self) -> tuple[Scores, np.ndarray]:
        """Features of each part and of the label names, computed once."""
        paths = [CACHE / f"features-{self.tokens}.npy", CACHE / "names.npy"]
        if not all(path.exists() for path in paths):
            CACHE.mkdir(parents=True, exist_ok=True)
            model = self.model("linear")
            np.save(paths[1], name_features(model))
            np.save(paths[0], extract_features(model, self.texts))
        features, names = (np.load(path) for path in paths)
        return {part: features[rows] for part, rows in self.rows.items()}, names

    def model(self, head: str) -> Classifier:
        hidden, names = HEADS[head]
        return build(
            *load_encoder(BUNDLED),
            self.labels,
            hidden=hidden,
            dropout=HEAD_DROPOUT,
            max_length=self.tokens,
            label_names=names,
        )

    def loss(self, name: str) -> torch.nn.Module:
        options: dict[str, Any] = {"mu": self.mu} if "mu" in loss_options(name) else {}
        return make_loss(name, self.class_freq, self.train_num, **options)

    def texts_of(self, part: str) -> list[str]:
        return [self.texts[row] for row in self.rows[part]]

    def figures(self, predicted: sp.csr_matrix, part: str) -> dict[str, float]:
        """Micro- and macro-F1 in percent, of all labels and of each group."""
        found = {}
        for name in ("all", "HEAD", "MEDIUM", "TAIL"):
            mask = self.groups == name if name != "all" else np.ones(len(self.labels), bool)
            for metric in ("micro_f1", "macro_f1"):
                value = metrics.compute(metric, predicted[:, mask], self.targets[part][:, mask])
                found[f"{name} {metric}"] = round(100 * value, 3)
        return found

    def test(self, scores: Scores) -> dict[str, float]:
        """Test figures at the threshold with the best val micro-F1."""
        limits = thresholds.tune(scores["val"], self.targets["val"])
        return self.figures(metrics.apply_thresholds(scores["test"], limits), "test")


def read_rows() -> list[Row]:
    return [json.loads(line) for line in RESULTS.open()] if RESULTS.exists() else []


def append(run: Row, **found: Any) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    row = {"run": run, "date": str(datetime.date.today()), **found}
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def found(run: Row, field: str) -> bool:
    return any(row["run"] == run and field in row for row in read_rows())


def scores_path(run: Row) -> Path:
    return CACHE / "scores" / (" ".join(map(str, run.values())).replace(" ", "_") + ".npz")


def keep_scores(run: Row, scores: Scores) -> None:
    path = scores_path(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{part: scores[part] for part in ("val", "test")})


def kept_scores(run: Row) -> Scores:
    path = scores_path(run)
    if not path.exists():
        raise SystemExit(
            f"{path} is missing, although {RESULTS} has the run {run}: set LONGTAIL_CACHE to the "
            "folder that it was made with, or delete its lines and repeat it."
        )
    return dict(np.load(path))


def run_svm(data: Reuters) -> None:
    started = time.process_time()
    learned = np.arange(data.train_num)
    scored = np.arange(len(data.rows["val"])) + data.train_num
    model, _, tried = fit_svm(
        data.texts_of("train") + data.texts_of("val"),
        sp.vstack([data.targets["train"], data.targets["val"]], "csr"),
        Plan(((learned, scored),), refit=False),
        value=itemgetter("micro_f1"),
    )
    keep_scores(SVM, {part: model.scores(data.texts_of(part)) for part in PARTS})
    best = max(tried, key=lambda row: row["micro_f1"])
    append(SVM, val=rounded(best), cpu_s=round(time.process_time() - started, 1))


def train_one(data: Reuters, run: Row) -> tuple[Head, Row]:
    """A trained head, and the row of its last epoch."""
    features, names = data.features
    torch.manual_seed(run["seed"])
    hidden, label_names = HEADS[run["head"]]
    head = Head(features["train"].shape[1], len(data.labels), hidden, HEAD_DROPOUT, label_names)
    on_train = torch.tensor(features["train"])
    head.standardize_by(on_train)
    head.name_labels(torch.tensor(names), on_train)
    head.start_from_prior(torch.tensor(data.class_freq), data.train_num)
    history = train_head(
        head,
        data.loss(run["loss"]),
        Examples(features["train"], data.targets["train"]),
        how=replace(HEAD_TRAINING, learning_rate=run["rate"]),
        seed=run["seed"],
        watched=Examples(features["val"], data.targets["val"]),
    )
    keep_scores(run, {part: predict(head, features[part]) for part in PARTS})
    return head, history[-1]


def rounded(row: Row) -> Row:
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}


def head_runs(tokens: int, head: str, loss: str, n_seeds: int = N_SEEDS) -> list[Row]:
    return [
        {"tokens": tokens, "head": head, "loss": loss, "rate": rate, "seed": seed}
        for seed in range(n_seeds)
        for rate in RATES
    ]


def best_rate(tokens: int, head: str, loss: str) -> float:
    """The rate with the best mean val micro-F1 over the seeds; exits if none was tried."""
    runs = head_runs(tokens, head, loss)
    rows = [row for row in read_rows() if row["run"] in runs and "val" in row]
    if not rows:
        raise SystemExit(
            f"No run of {loss} on the head {head!r} with {tokens} tokens: "
            f"run `heads --tokens {tokens} --heads {head!r} --losses {loss}` first."
        )
    means = {
        rate: np.mean([row["val"]["micro_f1"] for row in rows if row["run"]["rate"] == rate])
        for rate in RATES
    }
    return max(means, key=lambda rate: means[rate])


def chosen_runs(tokens: int, head: str, loss: str) -> list[Row]:
    """The finished runs at the best rate, or all runs that were fine-tuned."""
    if head == FINE_TUNED:
        runs = [row["run"] for row in read_rows() if "finetuned" in row["run"]]
        return [run for run in runs if (run["tokens"], run["loss"]) == (tokens, loss)]
    rate = best_rate(tokens, head, loss)
    runs = [run for run in head_runs(tokens, head, loss) if run["rate"] == rate]
    return [run for run in runs if found(run, "val")]


def heads(data: Reuters, kinds: list[str], losses: list[str], n_seeds: int) -> None:
    """All runs of the heads `kinds`, then the test figures of the chosen rates."""
    if not found(SVM, "val"):
        run_svm(data)
    if not found(SVM, "test"):
        append(SVM, test=data.test(kept_scores(SVM)))
    for kind in kinds:
        for loss in losses:
            for run in head_runs(data.tokens, kind, loss, n_seeds):
                if not found(run, "val"):
                    started = time.process_time()
                    _, best = train_one(data, run)
                    append(run, val=rounded(best), cpu_s=round(time.process_time() - started, 1))
            for run in chosen_runs(data.tokens, kind, loss):
                if not found(run, "test"):
                    append(run, test=data.test(kept_scores(run)))


def cross_fitted(
    scores: list[np.ndarray], targets: sp.csr_matrix, objective: str, n_folds: int = 5
) -> sp.csr_matrix:
    """Predictions for val, each fold with the weight and thresholds tuned on the others.

    Thresholds per label fit val better than a global one by construction; this compares them
    fairly.
    """
    folds = np.random.default_rng(0).integers(n_folds, size=targets.shape[0])
    predicted = sp.lil_matrix(targets.shape, dtype=np.int8)
    for fold in range(n_folds):
        others, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        weight, limits = tuned([s[others] for s in scores], targets[others], objective)
        predicted[own] = metrics.apply_thresholds(mixed([s[own] for s in scores], weight), limits)
    return predicted.tocsr()


def tuned(
    scores: list[np.ndarray], targets: sp.csr_matrix, objective: str
) -> tuple[float, np.ndarray]:
    weight = best_weight(scores[0], scores[1], targets) if len(scores) == 2 else 0.0
    return weight, thresholds.tune(mixed(scores, weight), targets, objective=objective)


def mixed(scores: list[np.ndarray], weight: float) -> np.ndarray:
    return blend(scores[0], scores[1], weight) if len(scores) == 2 else scores[0]


def best(data: Reuters, kinds: list[str], loss: str) -> None:
    """Seeds averaged, SVM mixed in or not, one threshold or one per label; val by folds."""
    svm = kept_scores(SVM)
    models = {"": svm} | {
        kind: {
            part: np.mean([kept_scores(run)[part] for run in runs], axis=0)
            for part in ("val", "test")
        }
        for kind in kinds
        if (runs := chosen_runs(data.tokens, kind, loss))
    }
    for kind, model in models.items():
        for with_svm in (False, True) if kind else (True,):
            for objective in ("global", "per_label"):
                mixture = [model, svm] if kind and with_svm else [model]
                run = {
                    "best": kind,
                    "loss": loss if kind else "",
                    "svm": with_svm,
                    "thresholds": objective,
                }
                run = {"tokens": data.tokens, **run} if kind else run
                if not found(run, "test"):
                    _judge(data, run, mixture)


def _judge(data: Reuters, run: Row, mixture: list[Scores]) -> None:
    val, truth = [scores["val"] for scores in mixture], data.targets["val"]
    weight, limits = tuned(val, truth, run["thresholds"])
    scores = mixed([scores["test"] for scores in mixture], weight)
    on_val = data.figures(cross_fitted(val, truth, run["thresholds"]), "val")
    on_test = data.figures(metrics.apply_thresholds(scores, limits), "test")
    append(run, val=on_val, test=on_test, weight=weight)


def finetune(data: Reuters, head: str, losses: list[str], seed: int, frozen_layers: int) -> None:
    """Train encoder and head together, starting from the head trained on the frozen encoder."""
    for loss in losses:
        rate = best_rate(data.tokens, head, loss)
        start = {"tokens": data.tokens, "head": head, "loss": loss, "rate": rate, "seed": seed}
        run = {
            "tokens": data.tokens,
            "finetuned": head,
            "frozen": frozen_layers,
            "loss": loss,
            "seed": seed,
        }
        if found(run, "test"):
            continue
        started = time.process_time()
        model = data.model(head)
        model.head.load_state_dict(train_one(data, start)[0].state_dict())
        documents = {
            part: Documents(model.tokenize(data.texts_of(part)), data.targets[part])
            for part in ("train", "val")
        }
        history = fine_tune(
            model,
            data.loss(loss),
            documents["train"],
            documents["val"],
            how=replace(FINE_TUNING, frozen_layers=frozen_layers),
            seed=seed,
            checkpoints=CACHE / "checkpoints" / scores_path(run).stem,
        )
        scores = {part: model.scores(data.texts_of(part)) for part in ("val", "test")}
        keep_scores(run, scores)
        on_val = rounded(max(history, key=lambda row: row["micro_f1"]))
        append(
            run,
            val=on_val,
            epochs=[rounded(row) for row in history],
            test=data.test(scores),
            cpu_s=round(time.process_time() - started, 1),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["heads", "best", "finetune"])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tokens", type=int, default=512, help="texts are truncated to this many")
    parser.add_argument("--heads", nargs="+", choices=[*HEADS, FINE_TUNED], default=["linear"])
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--seeds", type=int, choices=range(1, N_SEEDS + 1), default=N_SEEDS)
    parser.add_argument("--seed", type=int, default=0, help="of finetune")
    parser.add_argument("--frozen-layers", type=int, default=3, help="of finetune")
    args = parser.parse_args()
    if FINE_TUNED in args.heads and args.what != "best":
        parser.error(f"{FINE_TUNED} is a model of `best`; {args.what} takes {', '.join(HEADS)}.")
    data = Reuters(args.corpus, args.tokens)
    if args.what == "heads":
        heads(data, args.heads, args.losses, args.seeds)
    elif args.what == "best":
        for loss in args.losses:
            best(data, args.heads, loss)
    else:
        for head in args.heads:
            finetune(data, head, args.losses, args.seed, args.frozen_layers)


if __name__ == "__main__":
    main()
