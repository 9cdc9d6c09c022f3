"""The baseline stage and its model folder: exact round trips, checked costs."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from pydantic import ValidationError
from scipy.special import expit

from components._formats.annotations import write_label_weights
from components._formats.choices import Choices, read_choice, write_choices
from components._formats.corpus import FOLD, write_corpus
from components._formats.linear import read_linear, write_linear
from components._formats.model import load_model
from components._formats.scores import read_scores
from components._formats.scores_params import Params as ScoresParams
from components.baseline import Params, run
from longtail.errors import DataError, ParameterError
from longtail.models.linear import NEVER, LinearModel
from tests.builders.params import stage_params

WORDS = {"sea": "ship harbor wave", "sky": "cloud plane bird", "Größe": "tall wide deep"}


def write_inputs(folder: Path, texts: list[str] | None = None) -> tuple[Path, Path]:
    """30 documents, 10 per label, 6/2/2 per part; `rare` is in test only."""
    names = list(WORDS)
    rows = [
        {"id": f"d{i:02}", "text": f"{WORDS[names[i % 3]]} number{i}", "labels": [names[i % 3]]}
        for i in range(30)
    ]
    rows[29]["labels"] = ["rare", *rows[29]["labels"]]
    frame = pd.DataFrame(rows)
    if texts is not None:
        frame["text"] = texts
    write_corpus(frame, folder / "corpus.parquet")
    part = ["train"] * 18 + ["val"] * 6 + ["test"] * 6
    no_folds = pa.nulls(len(frame), pa.int8())
    table = pa.table({"id": frame["id"], "split": part, FOLD: no_folds})
    pq.write_table(table, folder / "assignment.parquet")
    write_label_weights(folder / "label_weights.parquet", [])
    return folder / "corpus.parquet", folder / "assignment.parquet"


def fit(
    folder: Path,
    corpus: Path,
    assignment: Path,
    scores: dict[str, float] | None = None,
    **params: object,
) -> str:
    return run(
        corpus=corpus,
        assignment=assignment,
        label_weights=corpus.with_name("label_weights.parquet"),
        model=folder / "model",
        val_scores=folder / "val",
        test_scores=folder / "test",
        last_choices=folder / "choices.json",
        choice=folder / "choice.json",
        curve=folder / "curve.parquet",
        scores=stage_params(ScoresParams, "scores", scores),
        params=stage_params(Params, "baseline", params),
    )


def test_the_stage_scores_val_and_test_with_the_model_that_it_writes(tmp_path: Path) -> None:
    corpus, assignment = write_inputs(tmp_path)
    found = fit(tmp_path, corpus, assignment, costs=[0.5, 1.0])
    val, test = read_scores(tmp_path / "val"), read_scores(tmp_path / "test")
    assert val.labels == test.labels == ["Größe", "rare", "sea", "sky"]
    assert val.ids == [f"d{i}" for i in range(18, 24)]
    assert test.ids == [f"d{i}" for i in range(24, 30)]
    assert test.targets.toarray()[-1].tolist() == [1, 1, 0, 0]
    texts = pd.read_parquet(corpus).set_index("id")["text"]
    again = read_linear(tmp_path / "model").scores(texts.loc[test.ids].tolist())
    np.testing.assert_array_equal(again, test.scores)
    # Words tell the label; a label that train never has is below any threshold.
    assert (np.asarray(val.scores) >= 0.5).astype(int).tolist() == val.targets.toarray().tolist()
    np.testing.assert_allclose(test.scores[:, 1], expit(NEVER), rtol=1e-5)
    assert found.startswith("C = 0.5 (2 tried), ")


def test_a_test_document_with_too_many_labels_to_keep_is_told_before_anything_is_fitted(
    tmp_path: Path,
) -> None:
    corpus, assignment = write_inputs(tmp_path)
    few = {"best_labels": 1, "floor": 0.0}
    with pytest.raises(ParameterError, match="best_labels is 1, but a document has 2 true labels"):
        fit(tmp_path, corpus, assignment, few, costs=[1.0])
    assert not (tmp_path / "model").exists()


def test_a_kept_cost_is_not_compared_and_gives_the_same_model(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    first, second = tmp_path / "first", tmp_path / "second"
    fit(first, *inputs, costs=[0.5, 1.0])
    made = read_choice(first / "choice.json")
    assert (made.chosen, made.since, made.basis.docs) == (0.5, None, 24)
    # All are found; `rare`, which val lacks, has an F1 of 0: micro 1, macro ¾.
    assert made.scores == {"0.5": 0.875, "1": 0.875}
    kept = made.model_copy(update={"since": date(2026, 11, 28), "chosen": 1.0})
    second.mkdir()
    night = date(2026, 11, 29)
    write_choices(Choices(night=night, made={"baseline": kept}), second / "choices.json")
    assert fit(second, *inputs, costs=[0.5, 1.0]).startswith("C = 1 (kept since 2026-11-28), ")
    assert read_choice(second / "choice.json") == kept
    fit(tmp_path / "alone", *inputs, costs=[1.0])
    for name in ("model", "val", "test"):
        for path in sorted((second / name).rglob("*")):
            same = tmp_path / "alone" / path.relative_to(second)
            assert path.read_bytes() == same.read_bytes()
    # Another candidate: all are tried.
    found = fit(second, *inputs, costs=[0.5, 1.0, 2.0])
    assert found.startswith("C = 0.5 (3 tried), ")
    assert read_choice(second / "choice.json").since == night


@pytest.mark.parametrize(("margin", "cost"), [(0.12, 4.0), (0.11, 0.01)])
def test_the_last_cost_stays_unless_another_is_better_by_the_margin(
    margin: float, cost: float, tmp_path: Path
) -> None:
    rng, words = np.random.default_rng(4), " ".join(WORDS.values()).split()
    own = [group.split()[0] for group in WORDS.values()]
    texts = [
        " ".join([*rng.choice(words, 4), own[i % 3] if rng.random() < 0.6 else ""])
        for i in range(30)
    ]
    inputs, how = write_inputs(tmp_path, texts), {"costs": [0.01, 4.0]}
    first, second = tmp_path / "first", tmp_path / "second"
    assert fit(first, *inputs, **how).startswith("C = 0.01 (2 tried), ")
    made = read_choice(first / "choice.json")
    assert made.scores == {
        "0.01": pytest.approx(0.6303, abs=1e-4),
        "4": pytest.approx(0.5191, abs=1e-4),
    }
    last = made.model_copy(update={"since": date(2026, 11, 28), "chosen": 4.0})
    second.mkdir()
    night = date(2026, 12, 28)
    write_choices(Choices(night=night, made={"baseline": last}), second / "choices.json")
    keep = {"growth": 0.1, "days": 7, "margin": margin}
    found = fit(second, *inputs, **how, keep_choice=keep)
    stays = "; 4.0 stays, 11.12 points behind the best" if cost == 4.0 else ""
    assert found.startswith(f"C = {cost:g} (2 tried{stays}), ")
    anew = read_choice(second / "choice.json")
    assert (anew.chosen, anew.since, anew.scores) == (cost, night, made.scores)
    fit(tmp_path / "alone", *inputs, costs=[cost])
    for name in ("model", "val", "test"):
        for path in sorted((second / name).rglob("*")):
            same = tmp_path / "alone" / path.relative_to(second)
            assert path.read_bytes() == same.read_bytes()


def test_a_cost_chosen_on_val_is_not_kept_once_there_are_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, assignment = write_inputs(tmp_path)
    fit(tmp_path, corpus, assignment, costs=[0.5, 1.0])
    made = read_choice(tmp_path / "choice.json")
    kept = made.model_copy(update={"since": date(2026, 11, 28)})
    laid = Choices(night=date(2026, 11, 29), made={"baseline": kept})
    write_choices(laid, tmp_path / "choices.json")
    table = pq.read_table(assignment)
    folds = pa.array([i % 3 for i in range(24)] + [None] * 6, pa.int8())
    pq.write_table(table.set_column(2, FOLD, folds), assignment)
    found = fit(tmp_path, corpus, assignment, costs=[0.5, 1.0])
    assert "is not kept: what it rests on has changed (folds)." in capsys.readouterr().out
    assert "(2 tried)" in found


@pytest.mark.parametrize(("best_labels", "n_files"), [(1000, 10), (2, 19)])
def test_the_same_inputs_give_the_same_bytes(
    tmp_path: Path, best_labels: int, n_files: int
) -> None:
    inputs = write_inputs(tmp_path)
    contents = []
    for name in ("one", "two"):
        fit(tmp_path / name, *inputs, {"best_labels": best_labels}, costs=[1.0])
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert len(contents[0]) == n_files
    assert contents[0] == contents[1]


def test_max_terms_keeps_the_most_frequent_words(tmp_path: Path) -> None:
    corpus, assignment = write_inputs(tmp_path)
    fit(tmp_path, corpus, assignment, costs=[1.0], max_terms=4)
    terms = read_linear(tmp_path / "model").terms
    assert len(terms) == 4 and set(terms) <= set(" ".join(WORDS.values()).split())


def test_negatives_are_asked_for_by_the_stage(tmp_path: Path) -> None:
    """A label learns from its documents, the others' of its block, and one more at most."""
    words = ["ship", "harbor", "wave", "cloud", "plane", "bird", "tall", "wide"]
    texts = [f"{words[i % 8]} {words[i % 5]} {words[i % 3]}" for i in range(30)]
    corpus, assignment = write_inputs(tmp_path, texts)
    table = pq.read_table(corpus).to_pandas()
    table["labels"] = [[] if i % 3 == 0 else labels for i, labels in enumerate(table["labels"])]
    write_corpus(table, corpus)
    found = []
    for negatives in (1, 2, 30):
        fit(tmp_path / str(negatives), corpus, assignment, costs=[1.0], negatives=negatives)
        found.append(read_linear(tmp_path / str(negatives) / "model").coef)
    assert all(np.abs(found[-1] - sampled).max() > 1e-3 for sampled in found[:2])
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_texts_without_a_common_word_are_bad_data_and_nothing_is_written(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path, [f"single{i}" for i in range(30)])
    with pytest.raises(DataError, match="No word occurs in two of the 18 texts learned from"):
        fit(tmp_path, *inputs)
    names = {"corpus.parquet", "assignment.parquet", "label_weights.parquet"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("costs", [[], [0.0], [1.0, -1.0], [float("nan")], [float("inf")]])
def test_costs_must_be_positive_numbers(costs: list[float]) -> None:
    with pytest.raises(ValidationError, match="costs"):
        stage_params(Params, "baseline", {"costs": costs})


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_a_linear_folder_comes_back_exactly(tmp_path: Path, kind: type) -> None:
    model = LinearModel(
        ["größe", "zwei"],
        np.array([1.5, 2.5], np.float32),
        kind(np.array([[1, -1], [0.1, 0]], np.float32)),
        np.array([0.0, -20.0], np.float32),
    )
    write_linear(tmp_path / "model", ["a", "b"], model)
    back = read_linear(tmp_path / "model")
    assert back.terms == model.terms
    assert type(back.coef) is type(model.coef)
    assert (back.coef != model.coef).sum() == 0
    for name in ("idf", "intercept"):
        np.testing.assert_array_equal(getattr(back, name), getattr(model, name))
    # A single word has a normalized TF-IDF of 1, so the margin is coefficient + intercept.
    np.testing.assert_allclose(back.scores(["Größe", ""]), expit([[1, -21], [0, -20]]), rtol=1e-5)


@pytest.mark.parametrize("content", [{}, {"config.json": "{}"}, {"config.json": "not json"}])
def test_a_folder_without_a_model_is_refused_in_one_sentence(
    tmp_path: Path, content: dict[str, str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    with pytest.raises(DataError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder} is not a readable model folder (") and "\n" not in message
    assert "expected the folder that `dvc repro train` writes" in message
