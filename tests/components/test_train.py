"""The stage: a fine-tuned model is kept only if it is better on val."""

from __future__ import annotations

import copy
import csv
import json
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from components._formats.annotations import write_label_weights
from components._formats.assignment import Part
from components._formats.choices import (
    ChoiceRecord,
    Choices,
    Lead,
    read_choice,
    write_choices,
)
from components._formats.corpus import FOLD, write_corpus
from components._formats.scores import Scores, read_scores, write_scores
from components._formats.scores_params import Params as ScoresParams
from components._thresholds_params import Params as ThresholdsParams
from components._train.choice import Choice
from components._train.params import Params
from components.train import run
from longtail import label_matrix
from longtail.errors import DataError, ParameterError
from longtail.evaluation.metrics import apply_thresholds, compute
from longtail.models import classifier
from longtail.models.blending import WEIGHTS, blend
from longtail.models.served import Tuned
from longtail.thresholds import tune
from tests.builders.params import stage_params
from tests.builders.small_project import LABELS, small_corpus, small_params, write_encoder

PARTS = ("train", "val", "test")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that runs `train` into a folder of the given name, with changed parameters."""
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    corpus = small_corpus(120)
    write_corpus(corpus, tmp_path / "corpus.parquet")
    split = [PARTS[0 if i % 5 < 3 else i % 5 - 2] for i in range(len(corpus))]
    folds = pa.nulls(len(corpus), pa.int8())
    table = pa.table({"id": corpus["id"].tolist(), "split": split, FOLD: folds})
    pq.write_table(table, tmp_path / "assignment.parquet")
    train = corpus["labels"][[part == "train" for part in split]]
    counted = {
        "class_freq": [sum(label in labels for labels in train) for label in LABELS],
        "train_num": len(train),
        "mu": 0.3,
    }
    (tmp_path / "frequencies.json").write_text(json.dumps(counted), encoding="utf-8")
    val = corpus[[part == "val" for part in split]]
    write_scores(tmp_path / "baseline", baseline_scores(val, noise=3.0))
    write_label_weights(tmp_path / "label_weights.parquet", [])
    write_encoder(tmp_path / "encoder")
    section = small_params(tmp_path / "encoder")["train"]
    section["losses"] = ["db"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def run_stage(
        name: str,
        profile: str,
        head_epochs: int,
        loss: str = "db",
        losses: tuple[str, ...] = ("db",),
        loss_options: dict[str, Any] | None = None,
        thresholds: dict[str, Any] | None = None,
        keep: dict[str, Any] | None = None,
        scores: dict[str, Any] | None = None,
        **finetune: Any,
    ) -> Path:
        section["head"]["epochs"] = head_epochs
        section.update(loss=loss, losses=list(losses))
        out = tmp_path / name
        said = run(
            corpus=tmp_path / "corpus.parquet",
            assignment=tmp_path / "assignment.parquet",
            label_weights=tmp_path / "label_weights.parquet",
            frequencies=tmp_path / "frequencies.json",
            baseline_val_scores=tmp_path / "baseline",
            last_choices=tmp_path / "choices.json",
            **{
                path: out / path
                for path in ("model", "val_scores", "test_scores", "comparison", "history")
            },
            choice=out / "choice.json",
            summary=out / "summary",
            scores=stage_params(ScoresParams, "scores", scores),
            params=stage_params(
                Params,
                "train",
                section
                | {"profile": profile, "loss_options": loss_options or {}}
                | {"keep_choice": section["keep_choice"] | (keep or {})}
                | {"finetune": section["finetune"] | finetune},
            ),
            thresholds=stage_params(ThresholdsParams, "thresholds", thresholds),
        )
        print(said)
        return out

    yield run_stage
    torch.set_num_threads(threads)


def baseline_scores(documents: pd.DataFrame, noise: float, seed: int = 5) -> Scores:
    """Scores of a baseline that knows the labels but for some noise in the logits."""
    targets = label_matrix.encode(documents["labels"].tolist(), LABELS)
    z = 4.0 * targets.toarray() - 2 + np.random.default_rng(seed).normal(0, noise, targets.shape)
    values = (1 / (1 + np.exp(-z))).astype(np.float32)
    return Scores(documents["id"].tolist(), LABELS, values, targets)


def best_on_val(out: Path, profile: str) -> float:
    with (out / "history").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if (r["loss"], r["profile"]) == ("db", profile)]
    return max(float(row["mean_f1"]) for row in rows)


def facts_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary").read_text(encoding="utf-8"))


def served_f1(model: Scores, baseline: Scores, **tuning: Any) -> dict[str, float]:
    """Val F1 of a model as it is served, by a search of its own over the weights."""
    best = {"mean_f1": -1.0}
    for weight in WEIGHTS:
        mixed = blend(np.asarray(model.scores), np.asarray(baseline.scores), weight)
        predicted = apply_thresholds(mixed, tune(mixed, model.targets, **tuning))
        f1 = {name: compute(name, predicted, model.targets) for name in ("micro_f1", "macro_f1")}
        f1["mean_f1"] = (f1["micro_f1"] + f1["macro_f1"]) / 2
        best = f1 if f1["mean_f1"] > best["mean_f1"] else best
    return best


def scores_of(out: Path) -> np.ndarray:
    """The test scores as written, which are those of the saved model."""
    written = read_scores(out / "test_scores")
    texts = {row.id: row.text for row in small_corpus(120).itertuples()}
    saved = classifier.load(out / "model").scores([texts[i] for i in written.ids])
    np.testing.assert_allclose(written.scores, saved, atol=1e-5)
    return np.asarray(written.scores)


def test_fine_tuning_is_kept_only_if_val_improves(stage):
    headed = stage("headed", "head", 15)
    ruined = stage("ruined", "finetune", 15, learning_rate=1.0, head_learning_rate=1.0)
    assert best_on_val(ruined, "finetune") < best_on_val(headed, "head")
    np.testing.assert_allclose(scores_of(ruined), scores_of(headed), atol=1e-5)
    assert facts_of(ruined)["val"]["db"]["profile"] == "head"

    raw = stage("raw", "head", 2)
    better = stage("better", "finetune", 2, learning_rate=3e-3, head_learning_rate=1e-2)
    assert best_on_val(better, "finetune") > best_on_val(raw, "head")
    assert np.abs(scores_of(better) - scores_of(raw)).max() > 0.01
    assert facts_of(better)["val"]["db"]["profile"] == "finetune"


def test_the_refit_has_learned_from_val_and_val_is_scored_without_it(stage):
    how = {"learning_rate": 3e-3, "head_learning_rate": 1e-2}
    alone = stage("alone", "finetune", 2, refit=False, **how)
    again = stage("again", "finetune", 2, refit=True, **how)
    val = [read_scores(out / "val_scores") for out in (alone, again)]
    np.testing.assert_array_equal(val[0].scores, val[1].scores)
    assert facts_of(again)["val"] == facts_of(alone)["val"]
    assert np.abs(scores_of(again) - scores_of(alone)).max() > 1e-3
    texts = {row.id: row.text for row in small_corpus(120).itertuples()}
    error = [
        np.abs(classifier.load(out / "model").scores([texts[i] for i in val[0].ids])
               - val[0].targets.toarray()).mean()
        for out in (alone, again)
    ]  # fmt: skip
    assert error[1] < 0.8 * error[0], "val was learned"


def test_auto_takes_the_best_of_the_fine_tuned_losses(stage, tmp_path, monkeypatch):
    """The heads rank ZLPR before BCE; fine-tuning improves BCE, so BCE is what `auto` saves."""
    unblended, losses = {"blend": False}, ("zlpr",)
    headed = stage("headed", "head", 15, "auto", losses, thresholds=unblended)
    assert facts_of(headed)["loss"] == "zlpr"
    truth = {row.text: row.labels for row in small_corpus(120).itertuples()}

    def tuned(start, name, loss, learned, *_):
        model = copy.copy(start)
        known = label_matrix.encode
        sure = 0.9 if name == "bce" else 0.5
        model.scores = lambda texts, **_: (
            1 - sure + (2 * sure - 1) * known([truth[t] for t in texts], LABELS).toarray()
        ).astype(np.float32)
        row = {"micro_f1": 0.0, "macro_f1": 0.0, "mean_f1": 0.0}
        checkpoints = Path(tempfile.mkdtemp(dir=tmp_path))
        rows = [{"loss": name, "profile": "finetune", "epoch": 1, **row}]
        return (model, checkpoints) if isinstance(learned, Part) else (model, rows, checkpoints)

    for name in ("finetune", "finetune_again"):
        monkeypatch.setattr(f"components._train.finetuned.{name}", tuned)
    found = {}
    for loss in ("auto", "zlpr"):
        out = stage(loss, "finetune", 15, loss, losses, thresholds=unblended)
        found[loss] = facts_of(out)["loss"]
        assert {n: v["profile"] for n, v in facts_of(out)["val"].items()} == {
            "zlpr": "head",
            "bce": "finetune",
        }
        of_loss = read_scores(out / "comparison" / found[loss] / "test").scores
        np.testing.assert_array_equal(read_scores(out / "test_scores").scores, of_loss)
    assert found == {"auto": "bce", "zlpr": "zlpr"}


@pytest.mark.parametrize("tuning", [{"objective": "global"}, {"objective": "per_label"}])
def test_losses_are_judged_as_they_are_served(stage, tmp_path, tuning):
    """Blended with the SVM and at the thresholds in use, as the independent search finds."""
    out = stage("out", "head", 15, loss="auto", thresholds=tuning)
    facts, baseline = facts_of(out), read_scores(tmp_path / "baseline")
    best = {}
    for loss in ("db", "bce"):
        model = read_scores(out / "comparison" / loss / "val")
        best[loss] = served_f1(model, baseline, **tuning)
        said = {name: facts["val"][loss][f"served_{name}"] for name in best[loss]}
        assert said == pytest.approx(best[loss], abs=1e-12)
    assert facts["loss"] == max(best, key=lambda name: best[name]["mean_f1"])
    assert facts["val"]["db"]["blend_weight"] in WEIGHTS


def test_without_a_blend_the_baseline_does_not_matter(stage, tmp_path):
    facts = facts_of(stage("out", "head", 15, loss="auto", thresholds={"blend": False}))
    for row in facts["val"].values():
        assert row["blend_weight"] == 0.0
        assert row["served_mean_f1"] == pytest.approx(row["mean_f1"], abs=1e-12)


def test_the_chosen_head_is_trained_without_label_names_too(stage):
    out = stage("out", "head", 15)
    named, nameless = (
        read_scores(out / "comparison" / name / "val") for name in ("db", "without_label_names")
    )
    assert (nameless.ids, nameless.labels) == (named.ids, named.labels)
    assert np.abs(nameless.scores - named.scores).max() > 1e-3
    assert served_f1(nameless, nameless)["micro_f1"] > 0.6, "it was trained"
    # A fine-tuned model would have to be fine-tuned again without them.
    tuned = stage("tuned", "finetune", 2)
    assert sorted(p.name for p in (tuned / "comparison").iterdir()) == ["bce", "db"]


def in_folds(tmp_path: Path) -> list[bool]:
    """Give train and val three folds, and their scores of the baseline; tells who is in them."""
    path = tmp_path / "assignment.parquet"
    table = pq.read_table(path)
    learned = [part != "test" for part in table["split"].to_pylist()]
    folds = [i % 3 if free else None for i, free in enumerate(learned)]
    column = table.column_names.index(FOLD)
    pq.write_table(table.set_column(column, FOLD, pa.array(folds, pa.int8())), path)
    write_scores(tmp_path / "baseline", baseline_scores(small_corpus(120)[learned], noise=3.0))
    return learned


def test_with_folds_train_and_val_are_scored_out_of_fold(stage, tmp_path):
    """And val is learned from, so the model differs; fine-tuning keeps to train and val."""
    alone = stage("alone", "head", 15)
    learned = in_folds(tmp_path)
    corpus = small_corpus(120)
    out = stage("folds", "head", 15)
    scored = read_scores(out / "val_scores")
    assert sorted(scored.ids) == sorted(corpus["id"][learned])
    assert (facts_of(out)["folds"], facts_of(alone)["folds"]) == (3, 0)
    assert np.abs(scores_of(out) - scores_of(alone)).max() > 1e-3
    tuned = stage("tuned", "finetune", 2)
    assert sorted(read_scores(tuned / "val_scores").ids) == sorted(
        read_scores(alone / "val_scores").ids
    )


def carry(tmp_path: Path, out: Path, night: str, **changes: Any) -> ChoiceRecord:
    """Lay the choice that `out` made on the night before, as `ingest` does; and return it."""
    changes["since"] = date(2026, 11, 28)
    choice = read_choice(out / "choice.json").model_copy(update=changes)
    choices = Choices(night=date.fromisoformat(night), made={"train": choice})
    write_choices(choices, tmp_path / "choices.json")
    return choice


def files_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_kept_loss_is_trained_alone_and_gives_the_same_model(stage, tmp_path, monkeypatch):
    how = ("head", 15, "auto", ("db", "zlpr"))
    first = stage("first", *how)
    chosen = facts_of(first)["loss"]
    assert facts_of(first)["kept_since"] is None
    made = read_choice(first / "choice.json")
    assert (made.chosen, made.since, made.basis.docs) == (chosen, None, 96)
    assert made.scores == {
        loss: pytest.approx(row["served_mean_f1"]) for loss, row in facts_of(first)["val"].items()
    }
    assert made.scores.keys() == {"db", "zlpr", "bce"}

    kept = carry(tmp_path, first, "2026-12-04")
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "empty"))  # else nothing is trained
    second = stage("second", *how)
    assert facts_of(second)["kept_since"] == "2026-11-28"
    assert list(facts_of(second)["val"]) == [chosen]
    assert [path.name for path in (second / "comparison").iterdir()] == [chosen]
    assert read_choice(second / "choice.json") == kept, "the choice is as old as it was"
    for name in ("model", "val_scores", "test_scores", f"comparison/{chosen}"):
        assert files_of(second / name) == files_of(first / name), name

    carry(tmp_path, first, "2026-12-05")  # a week later
    third = stage("third", *how)
    assert facts_of(third)["kept_since"] is None
    assert facts_of(third)["val"] == facts_of(first)["val"]
    assert str(read_choice(third / "choice.json").since) == "2026-12-05"


def test_the_last_loss_stays_unless_another_is_better_by_the_margin(stage, tmp_path, capsys):
    """By the metric that decides, also against BCE, which is trained beside the candidates."""
    how = ("head", 15, "auto", ("db", "zlpr"))
    first = stage("first", *how)
    tried = read_choice(first / "choice.json").scores
    worst, best = min(tried, key=tried.get), max(tried, key=tried.get)
    behind = tried[best] - tried[worst]
    assert behind > 0.001
    for margin, chosen in ((behind + 1e-4, worst), (behind - 1e-4, best)):
        carry(tmp_path, first, "2026-12-05", chosen=worst)  # a week later
        capsys.readouterr()
        again = stage(f"again {margin}", *how, keep={"margin": margin})
        stays = f"; {worst} stays, {100 * behind:.2f} points behind the best\n"
        assert (stays in capsys.readouterr().out) == (chosen == worst)
        assert (facts_of(again)["loss"], facts_of(again)["kept_since"]) == (chosen, None)
        made = read_choice(again / "choice.json")
        assert (made.chosen, made.scores, str(made.since)) == (chosen, tried, "2026-12-05")
        for part in ("val", "test"):
            same = again / "comparison" / chosen / part
            assert files_of(again / f"{part}_scores") == files_of(same)
    alone = stage("alone", "head", 3, "db", keep={"days": 0})
    tried = carry(tmp_path, alone, "2026-12-05").scores
    assert tried["bce"] > tried["db"]
    capsys.readouterr()
    again = stage("named again", "head", 3, "db", keep={"days": 0, "margin": 1.0})
    assert facts_of(again)["loss"] == "db"
    assert " stays" not in capsys.readouterr().out
    # As good with what it has ahead: the last choice stays, wherever it is listed.
    equal = Choice(None, None, None, stage_params(Params, "train", {}), lead=Lead("zlpr"))
    served = {name: Tuned(0.0, np.zeros(1), {"mean_f1": 0.5}) for name in ("db", "zlpr")}
    assert equal.of(served) == "zlpr"


def test_a_head_is_trained_once_whatever_is_changed_around_it(stage, tmp_path, capsys):
    """Three losses, each with three folds and the refit; four heads without label names."""
    in_folds(tmp_path)
    losses, bare = ("db", "zlpr"), "bce heads without label names"
    first = stage("first", "head", 3, "auto", losses)
    assert facts_of(first)["loss"] == "bce"
    said = capsys.readouterr().out
    assert "\nheads: 0 from the cache, 12 trained" in said
    assert f"{bare}: 0 from the cache, 4 trained" in said
    again = stage("again", "head", 3, "auto", losses)
    said = capsys.readouterr().out
    assert "\nheads: 12 from the cache, 0 trained" in said
    assert f"{bare}: 4 from the cache, 0 trained" in said
    assert files_of(again) == files_of(first)
    stage("served", "head", 3, "auto", losses, thresholds={"blend": False})
    assert "\nheads: 12 from the cache, 0 trained" in capsys.readouterr().out
    alone = stage("alone", "head", 3, "zlpr", losses)
    assert "\nheads: 8 from the cache, 0 trained" in capsys.readouterr().out
    name = "comparison/zlpr"
    assert files_of(alone / name) == files_of(first / name)
    stage("options", "head", 3, "auto", losses, loss_options={"db": {"gamma": 1}})
    assert "\nheads: 8 from the cache, 4 trained" in capsys.readouterr().out
    stage("longer", "head", 4, "auto", losses)
    assert "\nheads: 0 from the cache, 12 trained" in capsys.readouterr().out


def test_other_candidates_thresholds_or_a_zero_end_a_choice(stage, tmp_path, capsys):
    first = stage("first", "head", 2, "auto", ("db",))
    carry(tmp_path, first, "2026-11-29")
    again = stage("again", "head", 2, "auto", ("db",))
    assert facts_of(again)["kept_since"] == "2026-11-28"
    for name, change, why in (
        ("losses", {"losses": ("zlpr", "db")}, "what it rests on has changed (losses)"),
        ("served", {"thresholds": {"blend": False}}, "what it rests on has changed (thresholds)"),
        ("zero", {"keep": {"days": 0}}, ""),
    ):
        given = {"loss": "auto", "losses": ("db",)} | change
        assert facts_of(stage(name, "head", 2, **given))["kept_since"] is None
        assert why in capsys.readouterr().out
    in_folds(tmp_path)  # it was chosen on val
    assert facts_of(stage("folds", "head", 2, "auto", ("db",)))["kept_since"] is None
    assert "what it rests on has changed (folds)" in capsys.readouterr().out


def test_a_kept_loss_is_fine_tuned_alone(stage, tmp_path):
    how = {"loss": "auto", "losses": ("db",), "learning_rate": 3e-3, "head_learning_rate": 1e-2}
    first = stage("first", "finetune", 2, **how)
    kept = carry(tmp_path, first, "2026-11-29").chosen
    second = stage("second", "finetune", 2, **how)
    assert [path.name for path in (second / "comparison").iterdir()] == [kept]
    np.testing.assert_array_equal(scores_of(second), scores_of(first))


def test_baseline_scores_of_other_documents_are_refused(stage, tmp_path):
    scores = read_scores(tmp_path / "baseline")
    write_scores(tmp_path / "baseline", replace(scores, ids=[*scores.ids[1:], "another"]))
    with pytest.raises(DataError, match="baseline has no scores of .*run `dvc repro`"):
        stage("out", "head", 2)


def test_a_fixed_threshold_that_is_not_above_the_floor_is_refused(stage) -> None:
    fixed = {"objective": "fixed", "value": 0.2}
    with pytest.raises(ParameterError, match=r"value is 0.2 and scores.floor 0.2: .*are 8\)"):
        stage("cut", "head", 2, thresholds=fixed, scores={"best_labels": 7, "floor": 0.2})
    # With all scores kept the floor drops none.
    stage("whole", "head", 2, thresholds=fixed, scores={"best_labels": 8, "floor": 0.2})


def test_the_old_name_of_the_profile_is_still_accepted() -> None:
    assert stage_params(Params, "train", {"profile": "probe"}).profile == "head"


def test_the_options_of_a_loss_reach_it(stage):
    scores = [
        scores_of(stage(f"kappa-{kappa}", "head", 2, loss_options={"db": {"kappa": kappa}}))
        for kappa in (0.05, 0.05, 0.3)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.abs(scores[0] - scores[2]).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"db": {"kapa": 0.1}}, "Unknown option of loss 'db' 'kapa'.*Did you mean 'kappa'"),
        ({"dbb": {"kappa": 0.1}}, "unknown dbb; valid: auto, bce"),
        ({"db": {"kappa": "much"}}, "kappa must be"),
        ({"bce": {"pos_weight": "x"}}, "pos_weight must be"),
        ({"bce": {"pos_weight": [1, "a", 3]}}, "pos_weight must be"),
        ({"bce": {"name": 1}}, "Unknown option of loss 'bce' 'name'"),
        ({"focal": {"reweight": [1]}}, "Unknown reweight"),
    ],
)
def test_a_wrong_option_of_a_loss_is_found_before_training(options, message) -> None:
    with pytest.raises(ValidationError, match=message):
        stage_params(Params, "train", {"loss_options": options})
