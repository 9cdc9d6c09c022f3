"""The stage: a fine-tuned model is kept only if it is better on val."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from components._formats.corpus import write_corpus
from components._formats.scores import read_scores
from components._train_params import Params
from components.train import run
from longtail.models import classifier
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
    table = pa.table({"id": corpus["id"].tolist(), "split": split})
    pq.write_table(table, tmp_path / "assignment.parquet")
    train = corpus["labels"][[part == "train" for part in split]]
    counted = {
        "class_freq": [sum(label in labels for labels in train) for label in LABELS],
        "train_num": len(train),
        "mu": 0.3,
    }
    (tmp_path / "frequencies.json").write_text(json.dumps(counted), encoding="utf-8")
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
        loss_options: dict[str, Any] | None = None,
        **finetune: Any,
    ) -> Path:
        section["head"]["epochs"] = head_epochs
        section["loss"] = loss
        out = tmp_path / name
        run(
            corpus=tmp_path / "corpus.parquet",
            assignment=tmp_path / "assignment.parquet",
            frequencies=tmp_path / "frequencies.json",
            **{
                path: out / path
                for path in ("model", "val_scores", "test_scores", "comparison", "history")
            },
            summary=out / "summary",
            params=stage_params(
                Params,
                "train",
                section
                | {"profile": profile, "loss_options": loss_options or {}}
                | {"finetune": section["finetune"] | finetune},
            ),
        )
        return out

    yield run_stage
    torch.set_num_threads(threads)


def best_on_val(out: Path, profile: str) -> float:
    with (out / "history").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if (r["loss"], r["profile"]) == ("db", profile)]
    return max(float(row["mean_f1"]) for row in rows)


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
    facts = json.loads((ruined / "summary").read_text(encoding="utf-8"))
    assert facts["val"]["db"]["profile"] == "head"

    raw = stage("raw", "head", 2)
    better = stage("better", "finetune", 2, learning_rate=3e-3, head_learning_rate=1e-2)
    assert best_on_val(better, "finetune") > best_on_val(raw, "head")
    assert np.abs(scores_of(better) - scores_of(raw)).max() > 0.01
    facts = json.loads((better / "summary").read_text(encoding="utf-8"))
    assert facts["val"]["db"]["profile"] == "finetune"


def test_auto_takes_the_best_of_the_fine_tuned_losses(stage, monkeypatch):
    """The heads rank DB before BCE; fine-tuning improves BCE, so BCE is what `auto` saves."""
    headed = stage("headed", "head", 15, loss="auto")
    facts = json.loads((headed / "summary").read_text(encoding="utf-8"))
    assert facts["loss"] == "db"

    def tuned(start, name, loss, parts, params):
        row = {"micro_f1": 0.0, "macro_f1": 0.0, "mean_f1": 2.0 if name == "bce" else 0.0}
        return start, [{"loss": name, "profile": "finetune", "epoch": 1, **row}]

    monkeypatch.setattr("components._train_profiles.finetune", tuned)
    found = {}
    for loss in ("auto", "db"):
        out = stage(loss, "finetune", 15, loss=loss)
        found[loss] = json.loads((out / "summary").read_text(encoding="utf-8"))["loss"]
        of_loss = read_scores(out / "comparison" / found[loss] / "test").scores
        np.testing.assert_array_equal(read_scores(out / "test_scores").scores, of_loss)
    assert found == {"auto": "bce", "db": "db"}


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
