"""`longtail review`, there and back: what goes out, what returns, and what is not asked again."""

from __future__ import annotations

import csv
import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from components import ingest, validate
from components._cli.labels import command as labels
from components._cli.review import command
from components._formats.reviews import read_reviews, write_reviews
from components._formats.suspects_file import Named, write_suspects
from components._frame.params import load_params
from longtail.annotation.review import Review
from longtail.errors import DataError, ParameterError
from tests.builders.paths import ROOT

N, REVIEWS = 60, Path("data/reviews.parquet")
WRONG, MISSING = "doc-00", "doc-40"  # given in error, missing in error
PARAMS = load_params("validate", validate.Params, ROOT / "params.yaml")


def corpus() -> pd.DataFrame:
    """Half about wheat, half about ships; two annotation errors, and a copy with another label."""
    wheat = [k < 30 for k in range(N)]
    texts = [
        f"{'wheat grain harvest bushel' if w else 'ship vessel harbor cargo'} story n{k} m{k}"
        for k, w in enumerate(wheat)
    ]
    labels = [["grain"] if w else ["ship"] for w in wheat]
    labels[0], labels[40] = ["grain", "ship"], ["other"]
    labels[50:56] = [["ship", "other"]] * 6
    texts[31], labels[31] = texts[30], ["ship", "copied"]
    return pd.DataFrame({
        "id": [f"doc-{k:02}" for k in range(N)], "text": texts, "labels": labels,
        "annotator": ["ann", "ben"] * (N // 2), "source": ["x"] * N,
    })  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(validate, "expect", lambda *_: [])  # Data Docs take seconds
    Path("data").mkdir()
    corpus().to_parquet("first.parquet")
    ingested("parquet", "first.parquet")
    return tmp_path


def ingested(*argv: str) -> None:
    ingest.command.main(list(argv), standalone_mode=False)


def validated() -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The suspects, and the findings."""
    out, reports = Path("artifacts/validate"), Path("reports/validate")
    for folder in (out, reports):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(reports / "docs", ignore_errors=True)
    validate.run(
        data=Path("data"), corpus=out / "corpus.parquet", quarantine=out / "quarantine.parquet",
        findings=reports / "findings.json", data_docs=reports / "docs",
        suspects=reports / "suspects.csv", choices=out / "choices.json",
        label_weights=out / "label_weights.parquet", params=PARAMS,
    )  # fmt: skip
    with (reports / "suspects.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    return found, json.loads((reports / "findings.json").read_text())


def asked(*argv: str) -> None:
    command.main(list(argv), "review", standalone_mode=False)


def label_studio(answers: dict[str, list[str]], at: str = "2026-03-01T10:00:00Z") -> None:
    """An export as Label Studio makes it of `tasks.json`; without an answer, of the suggestion."""
    tasks = json.loads(Path("tasks.json").read_text())
    for task in tasks:
        choices = answers.get(task["data"]["id"], task["data"]["suggested"])
        item = {"from_name": "labels", "to_name": "text", "type": "choices"}
        task["annotations"] = [
            {"completed_by": 7, "created_at": at, "updated_at": at,
             "result": [{**item, "value": {"choices": choices}}]}
        ]  # fmt: skip
    Path("export.json").write_text(json.dumps(tasks))


def test_what_goes_out_says_what_is_doubted_and_why(home: Path) -> None:
    validated()
    asked("--output", "all.jsonl")
    rows = {row["id"]: row for row in map(json.loads, Path("all.jsonl").read_text().splitlines())}
    assert list(rows)[0] == WRONG
    row = rows[WRONG]
    assert row["current"] == ["grain", "ship"] and row["labels"] == ["grain"]
    [question] = json.loads(row["suspected"])
    assert (question["rule"], question["label"], question["given"]) == ("wrong", "ship", True)
    assert question["score"] > 0 and row["reasons"][0].startswith("ship: given, but the rule `wro")
    assert rows[MISSING]["current"] == ["other"] and "ship" in rows[MISSING]["labels"]
    [copied] = [q for q in json.loads(rows["doc-31"]["suspected"]) if q["rule"] == "copies"]
    assert (copied["label"], copied["score"], copied["given"]) == ("copied", 1.0, True)
    # A conflict does not say which side is right, so the suggestion leaves both as they are.
    for name in ("doc-30", "doc-31"):
        assert "copies" in rows[name]["suspected"] and rows[name]["labels"] == rows[name]["current"]
    asked("--output", "all.csv")
    asked("--output", "all.parquet")
    assert pq.read_table("all.parquet").to_pylist() == list(rows.values())
    with Path("all.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["id"], first["current"], first["labels"]) == (WRONG, "grain,ship", "grain")
    assert json.loads(first["suspected"]) == [question]


def test_a_review_comes_back_once_and_is_not_asked_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validated()
    asked("--tool", "label_studio", "--output", "tasks.json")
    task = json.loads(Path("tasks.json").read_text())[0]
    assert "drawn" not in task["data"] and "score" not in task["predictions"][0]
    label_studio({MISSING: ["other"]})  # the reviewer insists
    ingested("label_studio", "export.json", "--update")
    after = pd.read_parquet("data/corpus.parquet").set_index("id")
    assert list(after.columns) == [
        "text", "labels", "annotator", "annotated_at", "source"
    ]  # fmt: skip
    assert list(after["labels"][WRONG]) == ["grain"] and after["annotator"][WRONG] == "7"
    assert list(after["labels"][MISSING]) == ["other"] and after["source"][MISSING] == "x"
    said = {(r.id, r.rule, r.label): r for r in read_reviews(REVIEWS)}
    wrong, missing = said[WRONG, "wrong", "ship"], said[MISSING, "missing", "ship"]
    assert wrong.right and wrong.given and (wrong.annotator, wrong.reviewer) == ("ann", "7")
    assert not missing.right and not missing.given
    before = {path: path.read_bytes() for path in Path("data").glob("*.parquet")}
    ingested("label_studio", "export.json", "--update")
    assert before == {path: path.read_bytes() for path in Path("data").glob("*.parquet")}
    # Told from other annotations, counted, and not suspected again.
    found, findings = validated()
    assert not [row for row in found if row["id"] in (WRONG, MISSING)]
    counted = {row["name"]: row for row in findings["reviews"]["rules"]}
    assert counted["wrong"]["right"] == sum(r.right for r in said.values() if r.rule == "wrong")
    people = {row["name"]: row["reviewed"] for row in findings["reviews"]["annotators"]}
    assert set(people) == {"ann", "ben"} and sum(people.values()) == len(said)


def test_a_correction_does_not_come_back_as_a_conflict_of_annotators(home: Path) -> None:
    first = corpus()[["id", "annotator", "labels"]]
    first.to_parquet("data/annotations.parquet")
    assert not [row for row in validated()[0] if row["kind"] == "annotators"]
    asked("--tool", "label_studio", "--output", "tasks.json")
    label_studio({})
    ingested("label_studio", "export.json", "--update")
    judged = pq.read_table("data/annotations.parquet").to_pylist()
    assert {row["annotator"] for row in judged if row["id"] == WRONG} == {"ann", "7"}
    assert not [row for row in validated()[0] if row["id"] == WRONG]


def test_a_rule_that_gets_worse_is_told(home: Path) -> None:
    write_reviews(
        [
            Review(f"old-{k}", "x", "copies", 1.0, True, k < 40, "ann", "zoe",
                   dt.datetime(2026, 1, 1) + dt.timedelta(days=k), "2026-01-01", "")
            for k in range(90)
        ],
        REVIEWS,
    )  # fmt: skip
    _, findings = validated()
    [row] = findings["reviews"]["rules"]
    assert row["falls"] and (row["reviewed"], row["right"], row["recent"]["right"]) == (90, 40, 0)
    told = validate._told(findings["reviews"])
    assert told == (
        "; of the last 50 reviewed suspects of the rule `copies`, only 0 were right, fewer than "
        "before"
    )
    assert validate._told({}) == ""


def test_a_changed_text_or_label_is_asked_again(home: Path) -> None:
    validated()
    asked("--tool", "label_studio", "--output", "tasks.json")
    label_studio({MISSING: ["other"], WRONG: ["grain", "ship"]})
    ingested("label_studio", "export.json", "--update")
    assert not [row for row in validated()[0] if row["id"] in (WRONG, MISSING)]
    frame = pd.read_parquet("data/corpus.parquet").set_index("id", drop=False)
    frame.loc[MISSING, "text"] += " vessel"
    frame.reset_index(drop=True).to_parquet("data/corpus.parquet")
    found, _ = validated()
    assert [row["kind"] for row in found if row["id"] == MISSING and row["label"] == "ship"]
    assert not [row for row in found if row["id"] == WRONG]
    # A late answer about the old text changes nothing in the corpus.
    label_studio({MISSING: ["grain"]}, at="2026-04-01T10:00:00Z")
    ingested("label_studio", "export.json", "--update")
    after = pd.read_parquet("data/corpus.parquet").set_index("id")
    assert after["text"][MISSING].endswith(" vessel")
    assert list(after["labels"][MISSING]) == ["other"]


def test_a_reviewed_document_that_left_the_corpus_stays_away(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validated()
    asked("--tool", "label_studio", "--output", "tasks.json")
    label_studio({})
    frame = pd.read_parquet("data/corpus.parquet")
    frame[frame["id"] != MISSING].to_parquet("data/corpus.parquet")
    ingested("label_studio", "export.json", "--update")
    assert "left out: 1 reviews of texts" in capsys.readouterr().out
    assert MISSING not in set(pd.read_parquet("data/corpus.parquet")["id"])


def doccano(rows: dict[str, dict[str, Any]]) -> list[str]:
    names = ("id", "text", "suspected", "reasons", "current", "suggested", "suggested_by")
    tasks = [json.loads(line) for line in Path("tasks.jsonl").read_text().splitlines()]
    assert all(set(task) == {*names, "label"} for task in tasks)
    answered = [task | {"label": rows[task["id"]]["labels"]} for task in tasks]
    Path("zoe.jsonl").write_text("".join(json.dumps(task) + "\n" for task in answered))
    return ["doccano", "zoe.jsonl"]


def jsonl(rows: dict[str, dict[str, Any]]) -> list[str]:
    kept = [{k: v for k, v in row.items() if k != "reasons"} for row in rows.values()]
    lines = (json.dumps(row | {"annotator": "zoe"}) + "\n" for row in kept)
    Path("back.jsonl").write_text("".join(lines))
    return ["jsonl", "back.jsonl"]


def test_a_renamed_label_stays_settled_and_its_answers_true(home: Path) -> None:
    """Also if the question went out before the rename, and comes back after it."""
    validated()
    asked("--output", "all.jsonl")
    rows = {row["id"]: row for row in map(json.loads, Path("all.jsonl").read_text().splitlines())}
    for name in (WRONG, MISSING):
        rows[name]["labels"] = rows[name]["current"]  # the reviewer insists on both
    ingested(*jsonl({WRONG: rows[WRONG]}), "--update")
    Path("data/labels.yaml").write_text(
        "history: [{date: 2026-03-01, renamed: {ship: vessel}, reason: the guideline's word}]"
    )
    ingested(*jsonl({MISSING: rows[MISSING]}), "--update")
    said = {r.id: r.right for r in read_reviews(REVIEWS) if r.label == "ship"}
    assert said == {WRONG: False, MISSING: False}
    labels.main(["apply"], standalone_mode=False)
    found, _ = validated()
    assert found and not [row for row in found if row["id"] in (WRONG, MISSING)]
    write_suspects(
        [Named("wrong", WRONG, "vessel", 1.0, "")], Path("reports/validate/suspects.csv")
    )
    with pytest.raises(DataError, match="no suspects are left"):  # of an earlier run
        asked("--output", "again.jsonl")


def test_cells_that_were_guarded_against_spreadsheets_come_back_as_they_were(home: Path) -> None:
    row = {"id": "=1", "text": "-5 % on ships", "labels": ["+ship"], "annotator": "ann"}
    Path("odd.jsonl").write_text(json.dumps(row) + "\n")
    ingested("jsonl", "odd.jsonl", "--replace")
    Path("artifacts/validate").mkdir(parents=True)
    shutil.copy("data/corpus.parquet", "artifacts/validate")
    Path("reports/validate").mkdir(parents=True)
    write_suspects([Named("copies", "=1", "+ship", 1.0, "")], Path("reports/validate/suspects.csv"))
    asked("--output", "all.csv")
    table = pd.read_csv("all.csv", dtype=str).drop(columns="reasons")
    assert table["id"].tolist() == ["'=1"]
    table.assign(annotator="zoe").to_csv("back.csv", index=False)
    ingested("csv", "back.csv", "--update")
    [after] = pq.read_table("data/corpus.parquet").to_pylist()
    assert (after["id"], after["text"], after["labels"]) == ("=1", "-5 % on ships", ["+ship"])
    assert after["annotator"] == "zoe"
    [review] = read_reviews(REVIEWS)
    assert (review.id, review.label, review.right) == ("=1", "+ship", False)


@pytest.mark.parametrize("way", [doccano, jsonl])
def test_every_way_back_brings_the_same_reviews(
    home: Path, way: Callable[[dict[str, dict[str, Any]]], list[str]]
) -> None:
    validated()
    asked("--output", "all.jsonl")
    asked("--tool", "doccano", "--output", "tasks.jsonl")
    rows = {row["id"]: row for row in map(json.loads, Path("all.jsonl").read_text().splitlines())}
    rows = {name: row for name, row in rows.items() if row["labels"]}
    ingested(*way(rows), "--update")
    said = read_reviews(REVIEWS)
    asked_for = {
        (row["id"], q["rule"], q["label"]) for row in rows.values()
        for q in json.loads(row["suspected"])
    }  # fmt: skip
    assert {(r.id, r.rule, r.label) for r in said} == asked_for
    assert {r.reviewer for r in said} == {"zoe"} and {r.annotator for r in said} == {"ann", "ben"}
    assert "current" not in pd.read_parquet("data/corpus.parquet").columns


def test_test_documents_and_forgotten_ones_stay_out(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validated()
    Path("artifacts/split").mkdir()
    ids = corpus()["id"]
    parts = ["test" if name == WRONG else "train" for name in ids]
    pd.DataFrame({"id": ids, "split": parts, "group": ids}).to_parquet(
        "artifacts/split/assignment.parquet"
    )
    asked("--tool", "label_studio", "--output", "tasks.json", "--size", "3")
    assert "left out: 1 documents of test" in capsys.readouterr().err
    tasks = json.loads(Path("tasks.json").read_text())
    assert len(tasks) == 3 and WRONG not in [task["data"]["id"] for task in tasks]
    label_studio({})
    ingested("label_studio", "export.json", "--update")
    gone = tasks[0]["data"]["id"]
    Path("gone.txt").write_text(gone)
    ingested("--forget", "gone.txt")
    assert gone not in {review.id for review in read_reviews(REVIEWS)}
    ingested("label_studio", "export.json", "--update")
    assert gone not in {review.id for review in read_reviews(REVIEWS)}


QUESTION = '[{{"rule": "{}", "label": "ship", "score": {}, "given": true, "asked": "2026-03-01"}}]'


@pytest.mark.parametrize(
    "value",
    [
        '{"rule": 1}', "[1]", "wrong", '[{"rule": "wrong"}]', QUESTION.format("wrong", "NaN"),
        QUESTION.format("wrong", "1" + "0" * 400), QUESTION.format("\\ud800", 1),
    ],
)  # fmt: skip
def test_a_spoiled_question_is_named(home: Path, value: str) -> None:
    row = {"id": "a", "text": "b", "labels": ["ship"], "suspected": value}
    Path("odd.jsonl").write_text(json.dumps(row) + "\n")
    before = Path("data/corpus.parquet").read_bytes()
    with pytest.raises(DataError, match=r"row 1 .*column 'suspected'.*longtail review"):
        ingested("jsonl", "odd.jsonl")
    assert Path("data/corpus.parquet").read_bytes() == before


def test_wrong_use_is_told(home: Path) -> None:
    suspects = Path("reports/validate/suspects.csv")
    suspects.parent.mkdir(parents=True)
    suspects.write_text("rank,kind,id,label,score,text\n1,wrong\n")
    with pytest.raises(DataError, match="not a list of suspects"):
        asked("--output", "a.csv")
    suspects.unlink()
    with pytest.raises(DataError, match="suspects.csv does not exist; run the stage `validate`"):
        asked("--output", "a.csv")
    with pytest.raises(ParameterError, match="among the data of the pipeline"):
        asked("--output", "data/a.csv")
    with pytest.raises(ParameterError, match="extension of --output"):
        asked("--output", "a.docx")
