"""Exports that doccano 1.8.4 made of the file from `longtail queue --tool doccano`.

Anna and Bert annotated through its API: doc-1 both, 7 Anna after a correction, doc-6 Bert with a
comment; Anna approved doc-3 without a label; nobody touched the others. `anna` and `bert` are of a
project in which each has labels of their own, `all` is of one in which they share them.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components import ingest
from components._formats.corpus import read_corpus
from longtail.errors import DataError
from tests.builders.paths import ROOT

EXPORTS = ROOT / "tests/builders/exports/doccano-1.8.4"
ODD = 'a & "b" <c>'
JUDGED = {
    ("doc-1", "anna"): ["grain"],
    ("doc-1", "bert"): [ODD],
    ("7", "anna"): ["x,y"],
    ("doc-6", "bert"): ["naïve ☕"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> None:
    ingest.command.main(["doccano", *arguments], standalone_mode=False)


def labels() -> dict[str, list[str]]:
    frame = read_corpus(Path("data/corpus.parquet"))
    return {identity: list(own) for identity, own in zip(frame["id"], frame["labels"], strict=True)}


def judgments() -> dict[tuple[str, str], list[str]]:
    rows = pq.read_table("data/annotations.parquet").to_pylist()
    return {(row["id"], row["annotator"]): row["labels"] for row in rows}


def test_files_of_two_annotators_become_corpus_and_judgments(capsys):
    run(str(EXPORTS / "anna.jsonl"), str(EXPORTS / "bert.jsonl"))
    assert labels() == {"doc-1": [ODD], "7": ["x,y"], "doc-6": ["naïve ☕"]}
    assert judgments() == JUDGED
    frame = read_corpus(Path("data/corpus.parquet")).set_index("id")
    assert frame.loc["doc-6", "text"] == "  leading blanks, a tab\tand trailing ones  "
    assert frame["drawn"].to_dict() == {"doc-1": "random", "7": "tail_gain", "doc-6": "random"}
    assert set(frame.columns) == {"text", "labels", "annotator", "drawn"}
    told = capsys.readouterr().out
    assert "anna.jsonl: left out: 4 documents without labels" in told
    assert "bert.jsonl: 1 comments of annotators are not taken in" in told
    assert "3 documents annotated, 4 judgments of 2 annotators; the corpus takes the latest" in told


def test_an_approved_document_may_have_no_labels():
    run("--empty-labels", str(EXPORTS / "approved/anna.jsonl"))
    assert labels() == {"doc-1": ["grain"], "7": ["x,y"], "doc-3": []}
    assert judgments()["doc-3", "anna"] == []


def test_a_shared_export_names_nobody_and_makes_no_judgments():
    run(str(EXPORTS / "all.jsonl"))
    assert labels() == {"doc-1": [ODD, "grain"], "7": ["x,y"], "doc-6": ["naïve ☕"]}
    assert "annotator" not in read_corpus(Path("data/corpus.parquet"))
    assert not Path("data/annotations.parquet").exists()


def test_what_goes_out_is_not_taken_for_an_answer(tmp_path):
    lines = (EXPORTS / "anna.jsonl").read_text(encoding="utf-8").splitlines()
    Path("untouched.jsonl").write_text("\n".join(lines[3:]), encoding="utf-8")
    with pytest.raises(DataError, match="none of 3 documents has labels"):
        run("untouched.jsonl")
    assert not Path("data").exists()
