"""Train the classifier: a head on frozen features (probe) or the whole encoder (finetune)."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from components._formats.assignment import Part, read_parts
from components._formats.scores import Scores, write_scores
from components._frame.component import Input, Output, main
from components._frame.files import written
from components._train_params import Params
from components._train_profiles import Parts, Rows, features_of, finetune, pretrained, probe
from longtail.losses import make_loss
from longtail.models import classifier
from longtail.models.classifier import Classifier, Head
from longtail.models.features import name_features
from longtail.models.heads import Examples, predict

COMPARED = "bce"  # always trained beside the chosen loss, so that the report shows what it gains
NEEDS_MU = ("db", "db_0fl", "r_fl")


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
) -> None:
    labels, parts = read_parts(corpus, assignment)
    counted = json.loads(frequencies.read_text(encoding="utf-8"))
    mu = counted["mu"] if params.mu == "auto" else params.mu
    losses = {name: _loss(name, counted, mu) for name in _candidates(params)}
    start = pretrained(labels, params, _device())
    features = {name: features_of(start, part, params) for name, part in parts.items()}
    examples = {name: Examples(features[name], part.targets) for name, part in parts.items()}
    on_train = torch.tensor(features["train"])
    start.head.standardise_by(on_train)
    start.head.name_labels(torch.from_numpy(name_features(start)), on_train)
    start.head.start_from_prior(torch.tensor(counted["class_freq"]), counted["train_num"])

    models, rows = probe(start, examples["train"], examples["val"], losses, params)
    chosen = _best(rows, params.objective)["loss"] if params.loss == "auto" else params.loss
    if _profile(params) == "probe":
        scored = {name: _probe_scores(model.head, features) for name, model in models.items()}
    else:
        models = {name: models[name] for name in dict.fromkeys((chosen, COMPARED))}
        for name, probed in models.items():
            tuned, epochs = finetune(probed, name, losses[name], parts, params)
            before = _best([row for row in rows if row["loss"] == name], params.objective)
            # What fine-tuning did not better on val stays as the probe left it.
            if _best([before, *epochs], params.objective) is not before:
                models[name] = tuned
            rows += epochs
        if params.loss == "auto":
            # What the probe ranks second may well be first once the encoder moves.
            tuned_rows = [row for row in rows if row["loss"] in models]
            chosen = _best(tuned_rows, params.objective)["loss"]
        scored = {name: _text_scores(model, parts) for name, model in models.items()}

    _write_scores(val_scores, labels, parts["val"], scored[chosen]["val"])
    _write_scores(test_scores, labels, parts["test"], scored[chosen]["test"])
    _write_comparison(comparison, labels, parts, scored)
    with written(model) as folder:
        classifier.save(models[chosen], folder)
    _write_history(history, rows)
    tokens = sum(map(len, start.tokenize(parts["train"].texts)))
    facts = {"loss": chosen, "mu": mu, "tokens_per_epoch": tokens, **_circumstances(params)}
    facts["val"] = {
        name: _best([r for r in rows if r["loss"] == name], params.objective) for name in losses
    }
    print("\n".join(f"{name}: {row}" for name, row in facts["val"].items()))
    with written(summary) as path:
        path.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _profile(params: Params) -> str:
    if params.profile != "auto":
        return params.profile
    return "finetune" if _device() == "cuda" else "probe"


def _candidates(params: Params) -> list[str]:
    names = params.losses if params.loss == "auto" else [params.loss]
    return list(dict.fromkeys([*names, COMPARED]))


def _loss(name: str, counted: dict[str, Any], mu: float) -> nn.Module:
    options: dict[str, Any] = {"mu": mu} if name in NEEDS_MU else {}
    return make_loss(name, counted["class_freq"], counted["train_num"], **options)


def _best(rows: Rows, objective: str) -> dict[str, Any]:
    """The row with the best val figure; the first of equally good ones."""
    return max(rows, key=lambda row: row[objective])


def _circumstances(params: Params) -> dict[str, Any]:
    device = torch.cuda.get_device_name() if _device() == "cuda" else "cpu"
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {
        "profile": _profile(params),
        "encoder": params.encoder,
        "objective": params.objective,
        "device": device,
        "versions": versions,
    }


def _probe_scores(head: Head, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {part: predict(head, features[part]) for part in ("val", "test")}


def _text_scores(model: Classifier, parts: Parts) -> dict[str, np.ndarray]:
    return {part: model.scores(parts[part].texts) for part in ("val", "test")}


def _write_scores(path: Path, labels: list[str], part: Part, scores: np.ndarray) -> None:
    write_scores(path, Scores(part.ids, labels, scores, part.targets))


def _write_comparison(
    path: Path,
    labels: list[str],
    parts: Parts,
    scored: dict[str, dict[str, np.ndarray]],
) -> None:
    """A folder of scores for each loss, the chosen one too: the model may be blended later."""
    with written(path) as folder:
        folder.mkdir()
        for name, by_part in scored.items():
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
