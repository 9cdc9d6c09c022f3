"""Train the classifier: a head on the frozen encoder (head) or the whole encoder (finetune)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from components._formats.assignment import Part, read_parts
from components._formats.comparison import WITHOUT_LABEL_NAMES
from components._formats.json_file import read_json, write_json
from components._formats.scores import Scores, read_scores, write_scores
from components._frame.component import Input, Output, main
from components._frame.files import written
from components._thresholds_params import Params as ThresholdsParams
from components._train.choice import Choice
from components._train.params import Params
from components._train.profiles import (
    Parts,
    Rows,
    Trained,
    device,
    features_of,
    finetune_best,
    make_losses,
    pretrained,
    scores_without_label_names,
    start_head,
    train_heads,
)
from longtail.errors import DataError
from longtail.models import classifier


def run(
    *,
    corpus: Input,
    assignment: Input,
    frequencies: Input,
    baseline_val_scores: Input,
    model: Output,
    val_scores: Output,
    test_scores: Output,
    comparison: Output,
    history: Output,
    summary: Output,
    params: Params,
    thresholds: ThresholdsParams,
) -> str:
    labels, parts = read_parts(corpus, assignment)
    counted = read_json(frequencies)
    mu = counted["mu"] if params.mu == "auto" else params.mu
    losses = make_losses(counted, mu, params)
    baseline = _baseline(baseline_val_scores, labels, parts["val"])
    choice = Choice(baseline, parts["val"].targets, thresholds.rule, params)

    start = pretrained(labels, params)
    features = {name: features_of(start, part, params) for name, part in parts.items()}
    start_head(start, features["train"], counted)
    trained = train_heads(start, features, parts, losses, params, choice)
    compared = {}
    if _profile(params) == "finetune":
        trained = finetune_best(trained, losses, parts, params, choice)
    elif params.head.label_names:
        loss = choice.of(trained.served)
        compared[WITHOUT_LABEL_NAMES] = scores_without_label_names(
            start, loss, losses[loss], features, parts, counted, params
        )
    chosen = choice.of(trained.served)

    for part, path in (("val", val_scores), ("test", test_scores)):
        _write_scores(path, labels, parts[part], trained.scores[chosen][part])
    _write_comparison(comparison, labels, parts, trained.scores | compared)
    with written(model) as folder:
        classifier.save(trained.models[chosen], folder)
    _write_history(history, trained.history)
    tokens = sum(map(len, start.tokenize(parts["train"].texts)))
    facts: dict[str, Any] = {"loss": chosen, "mu": mu, "tokens_per_epoch": tokens}
    facts |= _circumstances(params)
    facts["val"] = {name: _val_facts(trained, name, params) for name in trained.served}
    write_json(facts, summary, indent=1)
    return _found(trained, chosen, params)


def _baseline(path: Path, labels: list[str], val: Part) -> np.ndarray:
    """The baseline's val scores, of the same documents and labels."""
    scores = read_scores(path)
    if (scores.ids, scores.labels) != (val.ids, labels):
        raise DataError(f"{path}: documents or labels differ from the val part's; run `dvc repro`.")
    return np.asarray(scores.scores)


def _profile(params: Params) -> str:
    if params.profile != "auto":
        return params.profile
    return "finetune" if device() == "cuda" else "head"


def _val_facts(trained: Trained, loss: str, params: Params) -> dict[str, Any]:
    """The best epoch, and beside it what decides: F1 as it would be served."""
    served = trained.served[loss]
    return trained.best_epoch(loss, params.objective) | {
        "blend_weight": served.blend_weight,
        **{f"served_{name}": value for name, value in served.val.items()},
    }


def _found(trained: Trained, chosen: str, params: Params) -> str:
    own = trained.served[chosen].val
    tried = ", ".join(
        f"{name} {100 * served.val[params.objective]:.1f}"
        for name, served in trained.served.items()
    )
    return (
        f"{chosen} ({_profile(params)}), served val micro/macro F1 "
        f"{100 * own['micro_f1']:.1f}/{100 * own['macro_f1']:.1f}; {params.objective}: {tried}"
    )


def _circumstances(params: Params) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if device() == "cuda" else "cpu"
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {
        "profile": _profile(params),
        "encoder": params.encoder,
        "label_names": params.head.label_names,
        "objective": params.objective,
        "device": name,
        "versions": versions,
    }


def _write_scores(path: Path, labels: list[str], part: Part, scores: np.ndarray) -> None:
    write_scores(path, Scores(part.ids, labels, scores, part.targets))


def _write_comparison(
    path: Path, labels: list[str], parts: Parts, scores: dict[str, dict[str, np.ndarray]]
) -> None:
    """Write a folder of scores per model, including the chosen one: it may be blended later."""
    with written(path) as folder:
        folder.mkdir()
        for name, by_part in scores.items():
            for part, of_part in by_part.items():
                _write_scores(folder / name / part, labels, parts[part], of_part)


def _write_history(path: Path, rows: Rows) -> None:
    columns = ["loss", "profile", "epoch", "train_loss", "micro_f1", "macro_f1", "mean_f1"]
    with written(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


if __name__ == "__main__":
    main(run)
