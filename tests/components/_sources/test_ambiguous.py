"""Deliveries that can be read in two ways, or cannot be kept: said in a sentence, never guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components._formats.corpus import read_corpus
from components._sources import rows
from components.ingest import command
from longtail.errors import DataError

CORPUS = Path("data/corpus.parquet")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ingest(kind: str, text: str, *arguments: str) -> dict[str, list]:
    Path("in").write_text(text)
    command.main([kind, "in", *arguments], standalone_mode=False)
    return read_corpus(CORPUS).to_dict("list")


def jsonl(**more: object) -> str:
    return json.dumps({"id": "1", "text": "x", "labels": ["a", "b"], **more}) + "\n"


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_a_deeply_nested_value_leaves_the_corpus_as_it_was():
    ingest("jsonl", jsonl())
    before = CORPUS.read_bytes()
    with pytest.raises(DataError, match=r"column 'meta': a value is nested 150 deep"):
        ingest("jsonl", jsonl(id="2", meta=nested(150)))
    assert CORPUS.read_bytes() == before
    assert ingest("jsonl", jsonl(id="3", meta=nested(20)))["id"] == ["1", "3"]


def test_what_cannot_be_read_again_does_not_replace_the_corpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows, "MOST_NESTED", 1000)
    ingest("jsonl", jsonl())
    before = CORPUS.read_bytes()
    with pytest.raises(DataError, match="is unchanged: what was to be written cannot be read"):
        ingest("jsonl", jsonl(id="2", meta=nested(150)))
    assert CORPUS.read_bytes() == before
    assert [path.name for path in CORPUS.parent.iterdir()] == ["corpus.parquet"]


@pytest.mark.parametrize("name", rows.RESERVED)
def test_a_column_does_not_take_the_place_of_one_of_ours(name: str):
    with pytest.raises(DataError, match=f"column '{name}' has the name of .*rename or drop"):
        ingest("jsonl", jsonl(**{name: "mine"}))


@pytest.mark.parametrize("name", ["group", "source", "annotator"])
def test_a_label_column_with_the_name_of_metadata_is_not_lost(name: str):
    table = f"id,text,a,{name}\n1,x,1,0\n2,y,0,1\n"
    with pytest.raises(DataError, match=f"column '{name}' holds only 0 and 1 like a label"):
        ingest("onehot", table)
    found = ingest("onehot", table, "--metadata-columns", name)
    assert (found[name], found["labels"]) == (["0", "1"], [["a"], []])


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("['a', 'b c']", ["a", "b c"]),
        ('["a"]', ["a"]),
        ("[]", []),
        ("a, b", ["a", "b"]),
        ("[draft]", ["[draft]"]),
    ],
)
def test_lists_written_as_text_are_lists(cell: str, labels: list[str]):
    quoted = cell.replace('"', '""')
    assert ingest("csv", f'id,text,labels\n1,x,"{quoted}"\n')["labels"] == [labels]


def test_an_array_of_numpy_is_refused():
    with pytest.raises(DataError, match=r"row 1 \(line 2\), column 'labels'.*written as text"):
        ingest("csv", "id,text,labels\n1,x,['a' 'b']\n")


def test_another_separator_than_the_comma_is_noticed():
    cells = ["a;b", "b;c", "a;c", "a", "a;b;c", "c"]
    table = "id,text,labels\n" + "".join(f"{i},x,{cell}\n" for i, cell in enumerate(cells))
    with pytest.raises(DataError, match="4 of 6 different cells hold a ';', such as 'a;b'. Pass"):
        ingest("csv", table)
    assert ingest("csv", table, "--label-separator", ";")["labels"][0] == ["a", "b"]
    whole = ingest("csv", table, "--label-separator", ",", "--replace")["labels"]
    assert whole[0] == ["a;b"]


def test_labels_that_hold_another_sign_are_labels():
    cells = ["TCP/IP", "C/C++", "Windows", "Linux"]
    table = "id,text,labels\n" + "".join(f"{i},x,{cell}\n" for i, cell in enumerate(cells))
    assert ingest("csv", table)["labels"] == [[cell] for cell in cells]


def test_the_same_rows_again_are_nothing_new():
    first = jsonl(score=float("nan")) + jsonl(id="2", score=1.5)
    ingest("jsonl", first)
    before = CORPUS.read_bytes()
    ingest("jsonl", first)
    ingest("jsonl", jsonl(labels=["b", "a"], score=None))
    assert CORPUS.read_bytes() == before
    with pytest.raises(DataError, match="different content"):
        ingest("jsonl", jsonl(score=2.5))
    with pytest.raises(DataError, match="different content"):
        ingest("jsonl", jsonl(labels=["a"], score=None))
