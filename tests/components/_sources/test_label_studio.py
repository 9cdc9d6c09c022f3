"""Exports that Label Studio 1.23.2 made of tasks from `longtail queue --tool label_studio`.

Anna (1) and Bert (2) annotated through its API: doc-1 both, 7 both and Anna once more after Bert,
doc-3 Anna without a label; Anna skipped doc-4; nobody opened doc-5; Bert changed Anna's doc-6.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from components import ingest
from components._formats.corpus import read_corpus
from components._sources.judgments import folded
from components._sources.label_studio import read_label_studio
from components._sources.rows import FileFormat
from longtail.errors import DataError
from tests.builders.paths import ROOT

EXPORT = ROOT / "tests/builders/exports/label_studio-1.23.2.json"
SNAPSHOT = EXPORT.with_name("label_studio-1.23.2-snapshot.json")  # with annotators as objects
TEXTS = {
    "doc-1": 'Wheat prices rose.\nSecond line, with "quotes" & <tags>.',
    "7": "Oil fell to $20; the naïve ☕ market.",
    "doc-3": "Nothing to say here.",
    "doc-6": "  leading blanks, a tab\tand trailing ones  ",
}
JUDGED = {
    ("doc-1", "1"): ["grain"],
    ("doc-1", "2"): ["grain", 'a & "b" <c>'],
    ("7", "1"): ["crude oil", "grain"],
    ("7", "2"): ["x,y", "naïve ☕"],
    ("doc-3", "1"): [],
    ("doc-6", "2"): ["line\nbreak", "naïve ☕"],
}
LATEST = {"doc-1": "2", "7": "1", "doc-3": "1", "doc-6": "2"}
EMAILS = {"1": "anna@example.com", "2": "bert@example.com"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> None:
    ingest.command.main(list(arguments), standalone_mode=False)


def judgments() -> dict[tuple[str, str], list[str]]:
    rows = pq.read_table("data/annotations.parquet").to_pylist()
    return {(row["id"], row["annotator"]): row["labels"] for row in rows}


def changed(path: Path, change: Any) -> Path:
    """A copy of the export after `change` of its tasks."""
    tasks = json.loads(EXPORT.read_text(encoding="utf-8"))
    change(tasks)
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def test_the_export_becomes_corpus_and_judgments(folder, capsys):
    run("label_studio", str(EXPORT))
    frame = read_corpus(Path("data/corpus.parquet")).set_index("id")
    assert frame["text"].to_dict() == TEXTS
    assert frame["annotator"].to_dict() == LATEST
    labels = {identity: list(own) for identity, own in frame["labels"].items()}
    assert labels == {identity: JUDGED[identity, who] for identity, who in LATEST.items()}
    assert frame["drawn"].to_dict() == {"doc-1": "random", "7": "tail_gain", "doc-3": "tail_gain",
                                        "doc-6": "random"}  # fmt: skip
    assert frame.loc["7", "annotated_at"] == pd.Timestamp("2026-11-28T11:19:38.326856")
    assert not {"reasons", "suggested", "suggested_by"} & set(frame.columns)
    assert judgments() == JUDGED
    told = capsys.readouterr().out
    assert "left out: 1 skipped annotations, 1 tasks without an annotation." in told
    assert "4 documents annotated, 6 judgments of 2 annotators" in told


def test_the_same_export_again_changes_nothing(folder):
    run("label_studio", str(EXPORT))
    before = {path: path.read_bytes() for path in Path("data").iterdir()}
    run("label_studio", str(EXPORT))
    assert {path: path.read_bytes() for path in Path("data").iterdir()} == before


def test_a_snapshot_calls_the_annotators_by_their_emails(folder):
    run("label_studio", str(SNAPSHOT))
    assert judgments() == {
        (identity, EMAILS[who]): labels for (identity, who), labels in JUDGED.items()
    }


def test_two_annotators_with_one_name_stay_two(tmp_path):
    def rename(tasks: list[dict[str, Any]]) -> None:
        for task in tasks:
            for entry in task["annotations"]:
                who = entry["completed_by"]
                entry["completed_by"] = {"id": who, "email": EMAILS[str(who)], "first_name": "Kim"}

    rows = folded([read_label_studio(changed(tmp_path / "in.json", rename), FileFormat())])
    assert rows.judgments is not None
    assert set(rows.judgments["annotator"]) == set(EMAILS.values())


def test_a_duplicated_task_counts_once_and_one_id_with_two_texts_is_refused(tmp_path):
    path = changed(tmp_path / "in.json", lambda tasks: tasks.append(tasks[0]))
    rows = folded([read_label_studio(path, FileFormat())])
    assert rows.columns["id"] == list(TEXTS)
    assert rows.judgments is not None and len(rows.judgments["id"]) == len(JUDGED)
    path = changed(path, lambda tasks: tasks[1]["data"].update(id="doc-1"))
    with pytest.raises(DataError, match="'doc-1' has another text than in"):
        folded([read_label_studio(path, FileFormat())])


def test_an_unknown_label_is_kept_for_validate(tmp_path):
    def invent(tasks: list[dict[str, Any]]) -> None:
        tasks[0]["annotations"][1]["result"][0]["value"]["choices"] = ["of another model"]

    rows = folded([read_label_studio(changed(tmp_path / "in.json", invent), FileFormat())])
    assert rows.columns["labels"][0] == ["of another model"]


def test_a_later_export_needs_update_and_keeps_the_other_judgments(folder):
    run("label_studio", str(EXPORT))

    def again(tasks: list[dict[str, Any]]) -> None:
        entry = tasks[0]["annotations"][0]
        entry["result"][0]["value"]["choices"] = ["crude oil"]
        entry["updated_at"] = "2026-12-01T00:00:00Z"

    path = changed(folder / "later.json", again)
    before = {path: path.read_bytes() for path in Path("data").iterdir()}
    with pytest.raises(DataError, match="'doc-1' is already in the corpus.*--update"):
        run("label_studio", str(path))
    assert {path: path.read_bytes() for path in Path("data").iterdir()} == before
    run("label_studio", "--update", str(path))
    assert judgments() == JUDGED | {("doc-1", "1"): ["crude oil"]}
    frame = read_corpus(Path("data/corpus.parquet")).set_index("id")
    assert list(frame.loc["doc-1", "labels"]) == ["crude oil"]


def test_a_forgotten_document_does_not_come_back_as_a_judgment(folder, monkeypatch):
    monkeypatch.setenv("LONGTAIL_CACHE", str(folder / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    run("label_studio", str(EXPORT))
    Path("gone.txt").write_text("doc-1\n", encoding="utf-8")
    run("--forget", "gone.txt")
    run("label_studio", str(EXPORT))
    left = {key for key in JUDGED if key[0] != "doc-1"}
    assert judgments().keys() == left
    assert "doc-1" not in set(read_corpus(Path("data/corpus.parquet"))["id"])


def test_an_older_export_does_not_undo_a_later_judgment(folder, capsys):
    run("label_studio", str(EXPORT))

    def older(tasks: list[dict[str, Any]]) -> None:
        for entry in tasks[0]["annotations"]:
            entry["result"][0]["value"]["choices"] = ["crude oil"]
            entry["updated_at"] = "2020-01-01T00:00:00Z"

    before = {path: path.read_bytes() for path in Path("data").iterdir()}
    run("label_studio", "--update", str(changed(folder / "older.json", older)))
    assert {path: path.read_bytes() for path in Path("data").iterdir()} == before
    assert "the corpus has later judgments of 1 documents" in capsys.readouterr().out


def test_nothing_is_written_if_the_splits_cannot_be_frozen(folder):
    run("label_studio", str(EXPORT))

    def another(tasks: list[dict[str, Any]]) -> None:
        tasks[0]["data"] |= {"id": "new", "text": "A new text."}

    Path("artifacts/split").mkdir(parents=True)
    Path("artifacts/split/assignment.parquet").write_bytes(b"broken")
    before = {path: path.read_bytes() for path in Path("data").iterdir()}
    with pytest.raises(DataError, match="assignment"):
        run("label_studio", str(changed(folder / "another.json", another)))
    assert {path: path.read_bytes() for path in Path("data").iterdir()} == before


BROKEN: dict[str, dict[str, Any]] = {
    "a list as value": {"result": [{"from_name": "labels", "type": "choices", "value": ["a"]}]},
    "a number as choices": {
        "result": [{"from_name": "labels", "type": "choices", "value": {"choices": 5}}]
    },
    "a string as choices": {
        "result": [{"from_name": "labels", "type": "choices", "value": {"choices": "abc"}}]
    },
    "a null among choices": {
        "result": [{"from_name": "labels", "type": "choices", "value": {"choices": [None]}}]
    },
    "a list as name": {"result": [{"from_name": ["labels"], "type": "choices", "value": {}}]},
    "a list as user": {"completed_by": [1], "updated_by": None},
    "an object as number": {"completed_by": {"id": {}}, "updated_by": None},
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_annotation_is_one_sentence(tmp_path, case):
    def broken(tasks: list[dict[str, Any]]) -> None:
        tasks[0]["annotations"][0] |= BROKEN[case]

    with pytest.raises(DataError, match="task .*, annotation .*: expected `"):
        read_label_studio(changed(tmp_path / "in.json", broken), FileFormat())


def test_an_annotator_with_an_empty_email_has_a_number(tmp_path):
    def nameless(tasks: list[dict[str, Any]]) -> None:
        for task in tasks:
            for entry in task["annotations"]:
                entry |= {"completed_by": {"id": 7, "email": " "}, "updated_by": None}

    rows = read_label_studio(changed(tmp_path / "in.json", nameless), FileFormat())
    assert set(rows.columns["annotator"]) == {"7"}
