"""Losses on Reuters-21578 under the published protocol: heads on frozen features, seeds and rates.

    python -m benchmarks.reuters CORPUS            # run what is missing, then print the table
    python -m benchmarks.reuters CORPUS --table    # only the table

CORPUS is made by `python -m components.ingest --out FOLDER reuters ARCHIVE --val 1000 --val-seed
123`. Every run appends one JSON line to `benchmarks/results/reuters.jsonl` and is never repeated.
For each loss the learning rate with the best mean val objective is taken; test figures are those
of that rate.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from longtail import metrics, thresholds
from longtail.baseline import fit_svm
from longtail.classifier import Head, build
from longtail.encoder import BUNDLED, load_encoder
from longtail.features import extract_features
from longtail.frequency import class_frequencies
from longtail.label_matrix import encode, vocabulary
from longtail.losses import LOSSES, make_loss, suggest_mu
from longtail.probe import Examples, HeadTraining, predict, train_head
from longtail.slices import frequency_groups

RESULTS = Path(__file__).parent / "results" / "reuters.jsonl"
CACHE = Path(os.environ.get("LONGTAIL_CACHE", Path.home() / ".cache" / "longtail"))
SEEDS = range(5)
RATES = (3e-4, 1e-3, 3e-3)
PARTS = ("train", "val", "test")
NEEDS_MU = ("db", "db_0fl", "r_fl")


class Reuters:
    """Features, targets and label groups of the three parts."""

    def __init__(self, corpus: Path) -> None:
        frame = pd.read_parquet(corpus)
        self.labels = vocabulary(frame["labels"])
        targets = encode(frame["labels"].tolist(), self.labels)
        self.rows = {part: np.flatnonzero(frame["split"] == part) for part in PARTS}
        self.texts = frame["text"].to_numpy()
        self.targets = {part: targets[rows] for part, rows in self.rows.items()}
        self.class_freq = class_frequencies(self.targets["train"])
        self.groups = frequency_groups(self.class_freq, head=35, tail=8)
        self.train_num = len(self.rows["train"])
        self.mu = suggest_mu(self.targets["train"], self.class_freq)

    def features(self) -> dict[str, np.ndarray]:
        """Computed once, then read from the cache."""
        path = CACHE / "reuters-features.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            model = build(*load_encoder(BUNDLED), self.labels, hidden=0, dropout=0, max_length=128)
            np.save(path, extract_features(model, self.texts.tolist()))
        every = np.load(path)
        return {part: every[rows] for part, rows in self.rows.items()}

    def evaluate(self, val: np.ndarray, test: np.ndarray) -> dict[str, float]:
        """Test F1 overall and by group, at the threshold with the best val micro-F1."""
        cut = thresholds.tune(val, self.targets["val"])
        predicted = metrics.apply_thresholds(test, cut)
        found = {}
        for name in ("all", "HEAD", "MEDIUM", "TAIL"):
            mask = np.ones(len(self.labels), bool) if name == "all" else self.groups == name
            for metric in ("micro_f1", "macro_f1"):
                value = metrics.compute(metric, predicted[:, mask], self.targets["test"][:, mask])
                found[f"{name} {metric}"] = round(value, 5)
        return found


def run_head(data: Reuters, features: dict[str, np.ndarray], loss: str, rate: float, seed: int
             ) -> dict[str, Any]:
    torch.manual_seed(seed)
    head = Head(features["train"].shape[1], len(data.labels), 512, 0.3, False)
    head.standardise_by(torch.tensor(features["train"]))
    head.start_from_prior(torch.tensor(data.class_freq), data.train_num)
    options: dict[str, Any] = {"mu": data.mu} if loss in NEEDS_MU else {}
    history = train_head(
        head,
        make_loss(loss, data.class_freq, data.train_num, **options),
        Examples(features["train"], data.targets["train"]),
        Examples(features["val"], data.targets["val"]),
        how=HeadTraining(learning_rate=rate),
        objective="micro_f1",
        seed=seed,
        name=f"{loss} {rate:g} {seed}",
    )
    best = max(history, key=lambda row: row["micro_f1"])
    scores = {part: predict(head, features[part]) for part in ("val", "test")}
    return {"val": best, "test": data.evaluate(scores["val"], scores["test"])}


def run_svm(data: Reuters) -> dict[str, Any]:
    texts = {part: data.texts[rows].tolist() for part, rows in data.rows.items()}
    model, tried = fit_svm(texts["train"], data.targets["train"], texts["val"],
                           data.targets["val"], objective="micro_f1")
    scores = {part: model.scores(texts[part]) for part in ("val", "test")}
    best = max(tried, key=lambda row: row["micro_f1"])
    return {"val": best, "test": data.evaluate(scores["val"], scores["test"])}


def read_results() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RESULTS.open()] if RESULTS.exists() else []


def run_missing(data: Reuters) -> None:
    done = {(row["loss"], row["rate"], row["seed"]) for row in read_results()}
    features = data.features()
    plan = [("svm", 0.0, 0)]
    plan += [(loss, rate, seed) for seed in SEEDS for loss in LOSSES for rate in RATES]
    for loss, rate, seed in plan:
        if (loss, rate, seed) in done:
            continue
        found = run_svm(data) if loss == "svm" else run_head(data, features, loss, rate, seed)
        row = {"loss": loss, "rate": rate, "seed": seed, **found}
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: mean ± deviation over the seeds at each loss's best rate by val micro-F1."""
    lines = ["| loss | rate | seeds | micro / macro | HEAD | MEDIUM | TAIL |",
             "|---|---|---|---|---|---|---|"]
    for loss in dict.fromkeys(row["loss"] for row in rows):
        mine = [row for row in rows if row["loss"] == loss]
        rates = sorted({row["rate"] for row in mine})
        val = {r: np.mean([x["val"]["micro_f1"] for x in mine if x["rate"] == r]) for r in rates}
        rate = max(rates, key=lambda r: val[r])
        chosen = [row["test"] for row in mine if row["rate"] == rate]
        cells = [_cell(chosen, name) for name in ("all", "HEAD", "MEDIUM", "TAIL")]
        lines.append(f"| {loss} | {rate:g} | {len(chosen)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(rows: list[dict[str, float]], group: str) -> str:
    def spread(metric: str) -> str:
        values = 100 * np.array([row[f"{group} {metric}"] for row in rows])
        return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")

    return f"{spread('micro_f1')} / {spread('macro_f1')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if not arguments.table:
        run_missing(Reuters(arguments.corpus))
    print(table(read_results()))


if __name__ == "__main__":
    main()
