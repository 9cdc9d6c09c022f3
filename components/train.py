"""Train the classifier: a head on the frozen encoder (head) or the whole encoder (finetune)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from components._formats.assignment import Part, read_parts
from components._formats.json_file import read_json, write_json
from components._formats.scores import Scores, write_scores
from components._frame.component import Input, Output, main
from components._frame.files import written
from components._train_params import Params
from components._train_profiles import (
    Parts,
    Rows,
    Trained,
    best,
    device,
    features_of,
    finetune_best,
    make_losses,
    pretrained,
    start_head,
    train_heads,
)
from longtail.models import classifier


def run(
    *,
    corpus: Input,
    assignment: Input,
    frequencies: Input,
    model: Output,
    val_scores: Output,
    test_scores: Output,
    comparison: Output,
    history: Output,
    summary: Output,
    params: Params,
) -> str:
    labels, parts = read_parts(corpus, assignment)
    counted = read_json(frequencies)
    mu = counted["mu"] if params.mu == "auto" else params.mu
    losses = make_losses(counted, mu, params)

    start = pretrained(labels, params)
    features = {name: features_of(start, part, params) for name, part in parts.items()}
    start_head(start, features["train"], counted)
    trained = train_heads(start, features, parts, losses, params)
    if _profile(params) == "finetune":
        trained = finetune_best(trained, losses, parts, params)

    for part, path in (("val", val_scores), ("test", test_scores)):
        _write_scores(path, labels, parts[part], trained.scores[trained.chosen][part])
    _write_comparison(comparison, labels, parts, trained)
    with written(model) as folder:
        classifier.save(trained.models[trained.chosen], folder)
    _write_history(history, trained.history)
    tokens = sum(map(len, start.tokenize(parts["train"].texts)))
    facts: dict[str, Any] = {"loss": trained.chosen, "mu": mu, "tokens_per_epoch": tokens}
    facts |= _circumstances(params)
    facts["val"] = {name: _best_of(trained, name, params) for name in losses}
    write_json(facts, summary, indent=1)
    return _found(trained, params, facts["val"])


def _profile(params: Params) -> str:
    if params.profile != "auto":
        return params.profile
    return "finetune" if device() == "cuda" else "head"


def _best_of(trained: Trained, loss: str, params: Params) -> dict[str, Any]:
    return best([row for row in trained.history if row["loss"] == loss], params.objective)


def _found(trained: Trained, params: Params, val: dict[str, dict[str, Any]]) -> str:
    own = val[trained.chosen]
    tried = ", ".join(f"{name} {100 * row[params.objective]:.1f}" for name, row in val.items())
    return (
        f"{trained.chosen} ({_profile(params)}), val micro/macro F1 "
        f"{100 * own['micro_f1']:.1f}/{100 * own['macro_f1']:.1f}; {params.objective}: {tried}"
    )


def _circumstances(params: Params) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if device() == "cuda" else "cpu"
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {
        "profile": _profile(params),
        "encoder": params.encoder,
        "objective": params.objective,
        "device": name,
        "versions": versions,
    }


def _write_scores(path: Path, labels: list[str], part: Part, scores: np.ndarray) -> None:
    write_scores(path, Scores(part.ids, labels, scores, part.targets))


def _write_comparison(path: Path, labels: list[str], parts: Parts, trained: Trained) -> None:
    """Write a folder of scores per loss, including the chosen one: it may be blended later."""
    with written(path) as folder:
        folder.mkdir()
        for name, by_part in trained.scores.items():
            for part, scores in by_part.items():
                _write_scores(folder / name / part, labels, parts[part], scores)


def _write_history(path: Path, rows: Rows) -> None:
    columns = ["loss", "profile", "epoch", "train_loss", "micro_f1", "macro_f1", "mean_f1"]
    with written(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


if __name__ == "__main__":
    main(run)
