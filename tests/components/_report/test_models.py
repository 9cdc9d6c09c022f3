"""Every model of the report is scored as it would be served; what brought what, on the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from components import report
from components._formats.scores import read_scores
from components._report import models
from longtail.errors import DataError
from longtail.report.page import render
from longtail.report.page.formats import escape_markdown
from tests.builders.params import stage_params
from tests.builders.report_inputs import corpus, write_inputs

WEIGHT = 0.3
PARAMS = stage_params(
    report.Params,
    "report",
    {"n_draws": 100, "worst_errors": 2, "token_labels": 0, "attribution_steps": 4},
)
OUTPUTS = {"metrics": "metrics.json", "details": "report.json", "page": "report.html",
           "annotation_page": "annotation.html", "markdown": "report.md", "figures": "figures",
           }  # fmt: skip
Made = tuple[dict[str, Path], dict[str, Path]]


def run(paths: dict[str, Path], folder: Path) -> dict[str, Path]:
    out = {name: folder / file for name, file in OUTPUTS.items()}
    report.run(**paths, **out, params=PARAMS)
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("report")
    paths = write_inputs(root / "in", corpus(), blend_weight=WEIGHT)
    return paths, run(paths, root / "out")


def details(made: Made) -> dict[str, Any]:
    return json.loads(made[1]["details"].read_text(encoding="utf-8"))


def expected_f1(made: Made, scores: Path, name: str, weight: float, average: str) -> float:
    """By a blend of its own."""
    paths, _ = made
    tuned = json.loads(paths["thresholds"].read_text())["models"][name]["thresholds"]
    own, svm = (
        np.asarray(read_scores(folder).scores, dtype=float)
        for folder in (scores, paths["baseline_test_scores"])
    )
    z = (1 - weight) * np.log(own / (1 - own)) + weight * np.log(svm / (1 - svm))
    truth = read_scores(scores).targets.toarray()
    return f1_score(truth, 1 / (1 + np.exp(-z)) >= tuned, average=average, zero_division=0)


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_other_losses_are_blended_like_the_model(made: Made, average: str) -> None:
    """A blended model beside unblended losses is an unfair comparison."""
    paths, out = made
    metrics = json.loads(out["metrics"].read_text())
    for name, folder in (("model", "test_scores"), ("bce", "comparison")):
        scores = paths[folder] / "bce" / "test" if name == "bce" else paths[folder]
        blended = expected_f1(made, scores, name, WEIGHT, average)
        assert metrics[name][f"{average}_f1"] == pytest.approx(blended, abs=1e-6)
        assert metrics[name]["blend_weight"] == WEIGHT
    unblended = expected_f1(made, paths["comparison"] / "bce" / "test", "bce", 0.0, average)
    assert abs(metrics["bce"][f"{average}_f1"] - unblended) > 0.01
    assert metrics["baseline"]["blend_weight"] == 0


def test_the_loss_of_the_model_is_shown_once(made: Made) -> None:
    shown = details(made)["models"]
    assert [model["title"] for model in shown] == ["DB + SVM", "SVM", "BCE + SVM"]


def test_each_ingredient_is_taken_out_of_the_model(made: Made) -> None:
    paths, _ = made
    nameless = paths["comparison"] / "without_label_names" / "test"
    sources = {
        "encoder": ("SVM", paths["baseline_test_scores"], "baseline", 0.0),
        "loss": ("BCE + SVM", paths["comparison"] / "bce" / "test", "bce", WEIGHT),
        "label_names": (
            "DB + SVM without label names", nameless, "without_label_names", WEIGHT,
        ),
        "blend": ("DB alone", paths["test_scores"], "without_blend", 0.0),
        "thresholds": ("DB + SVM at 0.5", paths["test_scores"], "without_thresholds", WEIGHT),
    }  # fmt: skip
    model, *rows = details(made)["ingredients"]
    assert (model["without"], model["title"]) == (None, "DB + SVM")
    assert [row["without"] for row in rows] == list(sources)
    for row, (title, scores, name, weight) in zip(rows, sources.values(), strict=True):
        assert (row["title"], row["blend_weight"]) == (title, weight)
        for average in ("micro", "macro"):
            expected = expected_f1(made, scores, name, weight, average)
            assert row["values"]["all"][f"{average}_f1"] == pytest.approx(expected, abs=1e-9)
            difference = row["differences"]["all"][f"{average}_f1"][0]
            own = model["values"]["all"][f"{average}_f1"]
            assert difference == pytest.approx(expected - own, abs=1e-9)
    total = details(made)["slices"]["model"][0]
    assert model["values"]["all"]["macro_f1"] == pytest.approx(total["macro_f1"], abs=1e-9)


def test_matrices_too_large_for_memory_give_the_same_figures(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "SMALL", 0)
    out = run(made[0], tmp_path)
    assert out["details"].read_bytes() == made[1]["details"].read_bytes()


def test_a_model_without_thresholds_is_named(made: Made, tmp_path: Path) -> None:
    paths = dict(made[0])
    table = json.loads(paths["thresholds"].read_text())
    del table["models"]["bce"]
    paths["thresholds"] = tmp_path / "thresholds.json"
    paths["thresholds"].write_text(json.dumps(table))
    with pytest.raises(DataError, match="no thresholds of 'bce'.*dvc repro thresholds"):
        run(paths, tmp_path / "out")


def section(page: str) -> str:
    return page[page.index('id="ingredients"') : page.index('id="slices"')]


def test_the_page_shows_what_is_left_and_what_was_lost(made: Made) -> None:
    found = details(made)
    row = found["ingredients"][1]
    row["differences"]["all"]["micro_f1"] = [-0.0412, -0.05, -0.0301]
    row["differences"]["all"]["macro_f1"] = [0.02, -0.01, 0.05]
    shown = section(render.page(found))
    cells = re.findall(r"<tr>.*?</tr>", shown, re.S)
    encoder = next(cell for cell in cells if "the encoder" in cell)
    assert '<span class="down">−4.1</span> (−5.0 to −3.0)' in encoder
    assert '<span class="">+2.0</span> (−1.0 to +5.0)' in encoder, "not certain, so not colored"
    assert len(cells) == 1 + len(found["ingredients"])
    assert re.findall(r'<th scope="col">(.*?)</th>', shown) == [
        "SVM weight",
        "Micro-F1",
        "Macro-F1",
    ]
    assert "DB + SVM without label names" in shown


def test_what_was_not_trained_is_said(made: Made) -> None:
    found = details(made)
    row = next(row for row in found["ingredients"] if row["without"] == "label_names")
    row |= {"title": None, "blend_weight": None, "values": {}, "differences": {}}
    shown = section(render.page(found))
    assert "not measured: another encoder would have to be fine-tuned" in shown
    assert "| label names | not measured: another encoder" in render.markdown(found)


def test_what_a_night_with_a_kept_loss_did_not_try_is_said(made: Made) -> None:
    found = details(made)
    for row in found["ingredients"]:
        if row["without"] in ("loss", "label_names"):
            row |= {"title": None, "blend_weight": None, "values": {}, "differences": {}}
    found["summary"] |= {"loss": "db", "kept_since": "2026-11-28"}
    said = "not tried this night: the loss is kept since 2026-11-28"
    page = render.page(found)
    assert section(page).count(said) == 2
    assert render.markdown(found).count(f"| {escape_markdown(said)} |") == 2
    assert "db (kept since 2026-11-28; no other tried this night)" in page
    found["summary"]["kept_since"] = None
    page = render.page(found)
    assert "kept" not in page[page.index('id="lineage"') :]


def test_figures_of_few_positives_are_gray_and_never_colored(made: Made) -> None:
    found = details(made)
    total = found["slices"]["model"][0]
    for greyed in (True, False):
        total["greyed"] = greyed
        for row in found["ingredients"][1:]:
            row["differences"]["all"]["macro_f1"] = [-0.5, -0.6, -0.4]
        shown = section(render.page(found))
        assert ('<td class="small">' in shown) == greyed
        assert ('<span class="down">−50.0</span>' in shown) == (not greyed)
