"""The stage: val scores only, the thresholds of `longtail.thresholds`, the blend, the curves."""

from __future__ import annotations

import csv
import json
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
from longtail.models.blending import WEIGHTS, best_weight, blend
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


class Stage:
    """`thresholds` in a folder of its own; change its inputs, then run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.put("val", MODEL)
        self.put("baseline", BASELINE)
        self.put("comparison/bce/val", BCE)
        self.assign({name: "val" for name in IDS} | {"t0": "train", "x0": "test"})

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
    assert list(found["models"]) == ["model", "baseline", "bce"]
    for name, these in zip(found["models"], (MODEL, BASELINE, BCE), strict=True):
        expected = tune(these.scores, these.targets, objective=objective)
        assert found["models"][name]["thresholds"] == expected.tolist()
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
    assert {name: row["thresholds"] for name, row in found.items()} == {
        "model": [0.25] * 3, "baseline": [0.25] * 3, "bce": [0.25] * 3,
    }  # fmt: skip


def test_without_blend_the_weight_is_0_and_the_model_is_itself(stage: Stage) -> None:
    assert stage.run(blend=False)["blend_weight"] == 0.0


def test_with_blend_the_weight_is_the_best_on_val_and_only_the_model_changes(stage: Stage) -> None:
    plain, found = stage.run(), stage.run(blend=True)
    weight = best_weight(MODEL.scores, BASELINE.scores, MODEL.targets)
    assert 0 < weight == found["blend_weight"] and weight in WEIGHTS
    mixed = blend(MODEL.scores, BASELINE.scores, weight)
    assert found["models"]["model"]["thresholds"] == tune(mixed, MODEL.targets).tolist()
    assert found["models"]["model"] != plain["models"]["model"]
    for name in ("baseline", "bce"):
        assert found["models"][name] == plain["models"][name]


def test_curves_hold_every_models_points_in_six_digits(stage: Stage) -> None:
    stage.run()
    with (stage.folder / "out" / "curves.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["model", "threshold", "precision", "recall", "f1"]
    for name, these in (("model", MODEL), ("baseline", BASELINE), ("bce", BCE)):
        points = curve(these.scores, these.targets)
        mine = np.array([row[1:] for row in rows if row[0] == name], dtype=float)
        np.testing.assert_allclose(mine, np.column_stack(list(points.values())), rtol=5e-6)
    assert {row[0] for row in rows} == {"model", "baseline", "bce"}


def test_no_other_loss_and_stray_files_are_fine(stage: Stage) -> None:
    (stage.folder / "comparison" / "bce").rename(stage.folder / "bce")
    (stage.folder / "comparison" / "notes.txt").touch()
    assert list(stage.run()["models"]) == ["model", "baseline"]


# Refused


def test_a_test_document_among_the_val_scores_is_refused(stage: Stage) -> None:
    ids = [*IDS[:-1], "x0"]
    stage.put("val", replace(MODEL, ids=ids))
    stage.put("baseline", replace(BASELINE, ids=ids))
    message = stage.refusal()
    assert f"{stage.folder / 'val'} and the val part of " in message
    assert "differ, for example in 'v59'; run `dvc repro`" in message
    stage.assign({name: "val" for name in IDS[:-1]} | {"x0": "test"})
    assert "differ, for example in 'x0'; run `dvc repro`" in stage.refusal()


def test_a_val_document_without_scores_is_refused(stage: Stage) -> None:
    stage.assign({name: "val" for name in [*IDS, "v99"]})
    assert "differ, for example in 'v99'" in stage.refusal()


@pytest.mark.parametrize("name", ["baseline", "comparison/bce/val"])
@pytest.mark.parametrize(
    "change", [{"ids": IDS[::-1]}, {"labels": ["a", "b", "d"]}, {"labels": ["b", "a", "c"]}]
)
def test_rows_or_columns_unlike_the_models_are_refused(
    stage: Stage, name: str, change: dict[str, list[str]]
) -> None:
    """The same shape in another order would silently give wrong results."""
    stage.put(name, replace(BCE, **change))
    assert stage.refusal() == (
        f"{stage.folder / name}: documents or labels differ from the model's; run `dvc repro`."
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
