"""Train the classifier: a head on the frozen encoder (head) or the whole encoder (finetune)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
import transformers

from components._formats.assignment import Part, read_parts
from components._formats.choices import (
    Basis,
    ChoiceRecord,
    Lead,
    read_choices,
    write_choice,
)
from components._formats.comparison import WITHOUT_LABEL_NAMES
from components._formats.json_file import read_json, write_json
from components._formats.learned import Learned, learned, weighted
from components._formats.scores import Scores, scores_of, write_scores
from components._formats.scores_params import Params as ScoresParams
from components._frame.component import Input, Output, main
from components._frame.files import written
from components._thresholds_params import Params as ThresholdsParams
from components._train.choice import Choice
from components._train.features import device, pretrained
from components._train.finetuned import finetune_best
from components._train.heads import (
    Rows,
    Trained,
    all_features,
    make_losses,
    scores_without_label_names,
    train_heads,
)
from components._train.params import Params
from longtail.evaluation.sparse_scores import ScoreMatrix
from longtail.models import classifier
from longtail.models.ranks import rank


def run(
    *,
    corpus: Input,
    assignment: Input,
    label_weights: Input,
    frequencies: Input,
    baseline_val_scores: Input,
    last_choices: Input,
    model: Output,
    val_scores: Output,
    test_scores: Output,
    comparison: Output,
    choice: Output,
    history: Output,
    summary: Output,
    params: Params,
    thresholds: ThresholdsParams,
    scores: ScoresParams,
) -> str:
    labels, parts = _checked_parts(corpus, assignment, label_weights, thresholds, scores)
    profile = _profile(params)
    # Fine-tuning is too long to be done once per fold: train learns, val is scored.
    found = learned(parts, folds=profile == "head")
    scored = found.scored
    held_out = {"val": scored, "test": parts["test"]}
    mu = read_json(frequencies)["mu"] if params.mu == "auto" else params.mu
    last = read_choices(last_choices)
    basis = _basis(found, labels, params, thresholds, scores)
    kept = last.kept("train", basis, params.candidates, params.keep_choice)
    losses = make_losses([str(kept.chosen)] if kept else params.candidates, mu, params)
    baseline = scores_of(baseline_val_scores, scored.ids, labels)
    lead = last.lead("train", basis, params.keep_choice) if params.loss == "auto" else Lead()
    judge = Choice(baseline, scored.targets, thresholds.rule, params, scores.keep, lead)

    start = pretrained(labels, params)
    features = all_features(start, parts, found, params)
    trained = train_heads(start, features, found, losses, params, judge)
    compared = {}
    if profile == "finetune":
        trained = finetune_best(trained, losses, parts, found.docs, params, judge)
    elif params.head.label_names and not kept:  # what is only compared is as old as the choice
        compared[WITHOUT_LABEL_NAMES] = scores_without_label_names(
            judge.of(trained.served), losses, features, found, params, scores.keep
        )
    chosen = judge.of(trained.served)
    if rank():
        return ""  # the first one writes
    for part, path in (("val", val_scores), ("test", test_scores)):
        _write_scores(path, labels, held_out[part], trained.scores[chosen][part])
    _write_comparison(comparison, labels, held_out, trained.scores | compared)
    with written(model) as folder:
        classifier.save(trained.models[chosen], folder)
    _write_history(history, trained.history)
    read = found.docs if found.plan.refit else parts["train"]
    facts = {"loss": chosen, "mu": mu, "tokens_per_epoch": _n_tokens(start, read)}
    write_json(facts | _facts(trained, found, kept, params), summary, indent=1)
    tried = {name: judge.value(served) for name, served in trained.served.items()}
    anew = ChoiceRecord(chosen=chosen, since=last.night, scores=tried, basis=basis)
    write_choice(kept or anew, choice)
    return _found(trained, chosen, params, found, kept) + lead.said(chosen, tried)


def _checked_parts(
    corpus: Path,
    assignment: Path,
    label_weights: Path,
    thresholds: ThresholdsParams,
    scores: ScoresParams,
) -> tuple[list[str], dict[str, Part]]:
    """Labels and parts, if a fixed threshold suits the scores kept of so many labels."""
    labels, parts = read_parts(corpus, assignment)
    if thresholds.objective == "fixed":
        scores.check_threshold(thresholds.value, len(labels))
    return labels, weighted(parts, labels, label_weights)


def _n_tokens(start: classifier.Classifier, part: Part) -> int:
    return sum(map(len, start.tokenize(part.texts)))


def _profile(params: Params) -> str:
    if params.profile != "auto":
        return params.profile
    return "finetune" if device() == "cuda" else "head"


def _basis(
    found: Learned,
    labels: list[str],
    params: Params,
    thresholds: ThresholdsParams,
    scores: ScoresParams,
) -> Basis:
    """What bears on the choice of a loss."""
    own = params.model_dump(mode="json", exclude={"keep_choice"})
    sections = {"thresholds": thresholds, "scores": scores}
    others = {name: section.model_dump(mode="json") for name, section in sections.items()}
    settings = own | {"profile": _profile(params)} | found.basis | others
    return Basis(docs=len(found.docs.ids), labels=labels, settings=settings)


def _facts(
    trained: Trained, found: Learned, kept: ChoiceRecord | None, params: Params
) -> dict[str, Any]:
    return {
        "kept_since": str(kept.since) if kept else None,
        **_circumstances(params),
        "folds": found.n_folds,
        "val": {name: _val_facts(trained, name, params) for name in trained.served},
    }


def _val_facts(trained: Trained, loss: str, params: Params) -> dict[str, Any]:
    """The epoch that was kept, and beside it what decides: F1 as it would be served."""
    served = trained.served[loss]
    return trained.kept_epoch(loss, params.objective) | {
        "blend_weight": served.blend_weight,
        **{f"served_{name}": value for name, value in served.val.items()},
    }


def _found(
    trained: Trained, chosen: str, params: Params, found: Learned, kept: ChoiceRecord | None
) -> str:
    own = trained.served[chosen].val
    tried = ", ".join(
        f"{name} {100 * served.val[params.objective]:.1f}"
        for name, served in trained.served.items()
    )
    how = _profile(params) + (f", kept since {kept.since}" if kept else "")
    return (
        f"{chosen} ({how}), served {found.scored_name} micro/macro F1 "
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


def _write_scores(path: Path, labels: list[str], part: Part, scores: ScoreMatrix) -> None:
    write_scores(path, Scores(part.ids, labels, scores, part.targets))


def _write_comparison(
    path: Path, labels: list[str], parts: dict[str, Part], scores: dict[str, dict[str, ScoreMatrix]]
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
