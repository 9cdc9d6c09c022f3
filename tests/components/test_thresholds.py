"""The stage: val scores only, the thresholds of `longtail.thresholds`, the blend, the curves."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from pydantic import ValidationError
from sklearn.metrics import f1_score

from components._formats.scores import Scores, write_scores
from components.thresholds import Params, run
from longtail.errors import DataError
from longtail.models.blending import best_weight, blend
from longtail.thresholds import curve, tune
from tests.builders.params import stage_params

N_DOCS, LABELS = 60, ["a", "b", "c"]
IDS = [f"v{i:02}" for i in range(N_DOCS)]


def scores(seed: int, noise: float) -> Scores:
    """Noisy scores of the same targets; `c` is rare."""
    truth = np.random.default_rng(0).random((N_DOCS, 3)) < [0.5, 0.3, 0.1]
    z = 2.0 * truth - 1 + noise * np.random.default_rng(seed).normal(size=truth.shape)
    values = (1 / (1 + np.exp(-z))).astype(np.float32)
    return Scores(IDS, LABELS, values, sp.csr_matrix(truth.astype(np.int8)))


MODEL, BASELINE, BCE = scores(1, 1.0), scores(2, 1.2), scores(3, 1.5)
NAMELESS = scores(4, 1.3)
TRAINED = {"loss": "db", "objective": "mean_f1", "label_names": True}
MODELS = ["model", "baseline", "bce", "db"]


class Stage:
    """`thresholds` in a folder of its own; change its inputs, then run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.put("val", MODEL)
        self.put("baseline", BASELINE)
        self.put("comparison/bce/val", BCE)
        self.put("comparison/db/val", MODEL)
        self.trained()
        self.assign({name: "val" for name in IDS} | {"t0": "train", "x0": "test"})

    def trained(self, **changes: Any) -> None:
        text = json.dumps(TRAINED | changes)
        (self.folder / "summary.json").write_text(text, encoding="utf-8")

    def put(self, name: str, these: Scores) -> None:
        write_scores(self.folder / name, these)

    def assign(self, parts: dict[str, str]) -> None:
        table = pa.table({"id": list(parts), "split": list(parts.values())})
        pq.write_table(table, self.folder / "assignment.parquet")

    def run(self, **params: Any) -> dict[str, Any]:
        run(
            assignment=self.folder / "assignment.parquet",
            val_scores=self.folder / "val",
            baseline_val_scores=self.folder / "baseline",
            comparison=self.folder / "comparison",
            summary=self.folder / "summary.json",
            thresholds=self.folder / "out" / "thresholds.json",
            curves=self.folder / "out" / "curves.csv",
            params=stage_params(Params, "thresholds", {"blend": False} | params),
        )
        path = self.folder / "out" / "thresholds.json"
        return json.loads(path.read_text(encoding="utf-8"))

    def refusal(self, **params: Any) -> str:
        with pytest.raises(DataError) as caught:
            self.run(**params)
        assert not (self.folder / "out").exists()
        return str(caught.value)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.parametrize("objective", ["global", "per_label"])
def test_thresholds_are_those_of_the_library_for_every_model(stage: Stage, objective: str) -> None:
    found = stage.run(objective=objective)
    assert (found["objective"], found["labels"]) == (objective, LABELS)
    assert list(found["models"]) == [*MODELS, "without_thresholds"]
    for name, these in zip(MODELS, (MODEL, BASELINE, BCE, MODEL), strict=True):
        expected = tune(these.scores, these.targets, objective=objective)
        assert found["models"][name]["thresholds"] == expected.tolist()
        assert found["models"][name]["blend_weight"] == 0.0
        predicted, truth = these.scores >= expected, these.targets.toarray()
        for average in ("micro", "macro"):
            f1 = f1_score(truth, predicted, average=average, zero_division=0)
            assert found["models"][name]["val"][f"{average}_f1"] == pytest.approx(f1, abs=1e-12)


def test_global_is_one_value_and_per_label_is_not(stage: Stage) -> None:
    one = stage.run(objective="global")["models"]["model"]["thresholds"]
    own = stage.run(objective="per_label")["models"]["model"]["thresholds"]
    assert len(set(one)) == 1 and len(set(own)) == 2


def test_min_support_reaches_the_library(stage: Stage) -> None:
    support = MODEL.targets.toarray().sum(axis=0)
    assert support[2] < 12 <= support[1]
    one = stage.run(objective="global")["models"]["model"]["thresholds"]
    own = stage.run(objective="per_label", min_support=12)["models"]["model"]["thresholds"]
    assert own[2] == one[2] and own[1] != one[1]


def test_fixed_takes_the_given_value(stage: Stage) -> None:
    found = stage.run(objective="fixed", value=0.25)["models"]
    assert {name: row["thresholds"] for name, row in found.items()} == dict.fromkeys(
        MODELS, [0.25] * 3
    )


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1", "mean_f1"])
@pytest.mark.parametrize("objective", ["global", "per_label"])
def test_every_loss_is_blended_with_the_weight_that_is_best_for_it(
    stage: Stage, objective: str, metric: str
) -> None:
    """A blended model beside unblended losses would make the loss look better than it is."""
    stage.trained(objective=metric)
    found = stage.run(blend=True, objective=objective)["models"]
    weights = {}
    for name, these in (("model", MODEL), ("bce", BCE)):
        tuning = {"objective": objective}
        weights[name] = best_weight(
            these.scores, BASELINE.scores, these.targets, objective=metric, tuning=tuning
        )
        assert found[name]["blend_weight"] == weights[name] > 0
        mixed = blend(these.scores, BASELINE.scores, weights[name])
        expected = tune(mixed, these.targets, objective=objective)
        assert found[name]["thresholds"] == expected.tolist()
    assert found["db"] == found["model"], "the loss that was chosen"
    assert found["baseline"]["blend_weight"] == 0.0
    assert found["baseline"]["thresholds"] == tune(BASELINE.scores, BASELINE.targets,
                                                   objective=objective).tolist()  # fmt: skip


def test_each_ingredient_of_the_model_is_taken_out_in_turn(stage: Stage) -> None:
    stage.put("comparison/without_label_names/val", NAMELESS)
    found = stage.run(blend=True)
    assert found["without"] == {
        "encoder": "baseline",
        "loss": "bce",
        "label_names": "without_label_names",
        "blend": "without_blend",
        "thresholds": "without_thresholds",
    }
    models = found["models"]
    assert list(models) == [*MODELS, *list(found["without"].values())[2:]]
    weight = best_weight(NAMELESS.scores, BASELINE.scores, MODEL.targets)
    mixed = blend(NAMELESS.scores, BASELINE.scores, weight)
    nameless = models["without_label_names"]
    assert nameless["thresholds"] == tune(mixed, MODEL.targets).tolist()
    assert nameless["blend_weight"] == weight > 0
    alone = models["without_blend"]
    assert alone["thresholds"] == tune(MODEL.scores, MODEL.targets).tolist()
    assert alone["blend_weight"] == 0.0
    half = models["without_thresholds"]
    assert half["thresholds"] == [0.5] * 3
    assert half["blend_weight"] == best_weight(
        MODEL.scores, BASELINE.scores, MODEL.targets, tuning={"objective": "fixed", "value": 0.5}
    )


def test_only_what_the_model_has_can_be_taken_out(stage: Stage) -> None:
    stage.trained(loss="bce", label_names=False)
    assert stage.run(objective="fixed", blend=False)["without"] == {"encoder": "baseline"}
    stage.trained(loss="bce")
    # A fine-tuned model: the one without label names would have to be fine-tuned too.
    assert stage.run()["without"] == {
        "encoder": "baseline", "label_names": None, "thresholds": "without_thresholds",
    }  # fmt: skip


def test_curves_hold_every_models_points_in_six_digits(stage: Stage) -> None:
    found = stage.run(blend=True)["models"]
    with (stage.folder / "out" / "curves.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["model", "threshold", "precision", "recall", "f1"]
    for name, these in (("model", MODEL), ("baseline", BASELINE), ("bce", BCE)):
        mixed = blend(these.scores, BASELINE.scores, found[name]["blend_weight"])
        points = curve(mixed, these.targets)
        mine = np.array([row[1:] for row in rows if row[0] == name], dtype=float)
        np.testing.assert_allclose(mine, np.column_stack(list(points.values())), rtol=5e-6)
    assert {row[0] for row in rows} == set(MODELS)


def test_no_other_loss_and_stray_files_are_fine(stage: Stage) -> None:
    (stage.folder / "comparison" / "bce").rename(stage.folder / "bce")
    (stage.folder / "comparison" / "notes.txt").touch()
    found = stage.run()
    assert list(found["models"]) == ["model", "baseline", "db", "without_thresholds"]
    assert found["without"]["loss"] is None


# Refused


def test_a_test_document_among_the_val_scores_is_refused(stage: Stage) -> None:
    ids = [*IDS[:-1], "x0"]
    stage.put("val", replace(MODEL, ids=ids))
    stage.put("baseline", replace(BASELINE, ids=ids))
    message = stage.refusal()
    assert message.startswith(f"{stage.folder / 'val'}: expected the documents of val in ")
    assert "they differ, for example in 't0'. Run `dvc repro`" in message
    stage.assign({name: "val" for name in IDS[:-1]} | {"x0": "test"})
    assert "they differ, for example in 'x0'. Run `dvc repro`" in stage.refusal()


def test_a_val_document_without_scores_is_refused(stage: Stage) -> None:
    stage.assign({name: "val" for name in [*IDS, "v99"]})
    assert "differ, for example in 'v99'" in stage.refusal()


def test_out_of_fold_scores_of_train_and_val_are_tuned_on(stage: Stage) -> None:
    """The baseline may have more documents, in another order: its own are found by their ids."""
    stage.assign({name: "val" if at % 3 else "train" for at, name in enumerate(IDS)})
    order = np.random.default_rng(0).permutation(N_DOCS)
    other = replace(
        BASELINE,
        ids=[IDS[at] for at in order],
        scores=BASELINE.scores[order],
        targets=BASELINE.targets[order],
    )
    expected = stage.run(blend=True)
    stage.put("baseline", other)
    assert stage.run(blend=True) == expected
    shutil.rmtree(stage.folder / "out")
    stage.assign({name: "val" if at % 3 else "train" for at, name in enumerate(IDS)} | {"t": "val"})
    assert "differ, for example in 't'" in stage.refusal()


@pytest.mark.parametrize("name", ["baseline", "comparison/bce/val"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["w", *IDS[1:]]}, "has no scores of 'v00'"),
        ({"labels": ["a", "b", "d"]}, "has other labels"),
        ({"labels": ["b", "a", "c"]}, "has other labels"),
    ],
)
def test_rows_or_columns_unlike_the_models_are_refused(
    stage: Stage, name: str, change: dict[str, list[str]], message: str
) -> None:
    """The same shape in another order would silently give wrong results."""
    stage.put(name, replace(BCE, **change))
    assert stage.refusal() == (
        f"{stage.folder / name} {message}, so it is not of the same run; run `dvc repro`."
    )


def test_nan_among_the_scores_is_refused(stage: Stage) -> None:
    values = MODEL.scores.copy()
    values[3, 1] = np.nan
    stage.put("val", replace(MODEL, scores=values))
    assert "nan" in stage.refusal().lower()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"objective": "per_group"}, "'global', 'per_label' or 'fixed'"),
        ({"value": 1.5}, "less than or equal to 1"),
        ({"value": float("nan")}, "value\n"),
        ({"min_support": 0}, "greater than or equal to 1"),
        ({"blend": "perhaps"}, "valid boolean"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stage_params(Params, "thresholds", params)
