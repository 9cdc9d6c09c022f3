"""Reads texts in every format; predicts from a workspace and from the registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components import predict, register
from components._formats.json_file import read_json
from components._formats.records import Reading
from components._registry import client as registry
from components._registry import evidence
from longtail.errors import DataError, ParameterError
from longtail.evaluation.metrics import apply_thresholds
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import WORDS, build

ROWS = [("a", "one, with a comma"), ("b", 'a "quote"\nand a new line'), ("c", "Grüße 世界")]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, suffix: str):
    frame = pd.DataFrame(ROWS, columns=["id", "text"])
    path = tmp_path / f"texts.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    assert list(predict.read_texts(Reading(path), predict.kind_of(path, None), "text")) == ROWS


def test_stdin_has_one_text_per_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "in").write_text("one\n\ntwo")
    monkeypatch.setattr(sys, "stdin", (tmp_path / "in").open())
    assert list(predict.read_texts(Reading(None), "txt", "text")) == [
        ("1", "one"),
        ("2", ""),
        ("3", "two"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        (
            "a.csv",
            b"id,words\n1,x\n",
            r"row 1 \(line 2\): no column 'text'; columns found: id, words",
        ),
        ("a.csv", b'text\n"unclosed\n', "is not valid CSV"),
        ("a.jsonl", b'{"text": "a \\ud800 b"}\n', r"line 1, column 'text': half of a character"),
        ("a.jsonl", b'{"text": "a", "id": "\\udfff"}\n', r"line 1, column 'id': half of a char"),
        ("a.csv", "text\nGrüße\n".encode("latin-1"), "is not utf-8; pass the file's encoding"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2 cannot be read as JSON"),
        ("a.jsonl", b'{"text": "a"}\n[1]\n', "line 2: expected a JSON object"),
        ("a.jsonl", b'{"text": null}\n', "line 1, column 'text': expected a text, got None"),
        ("a.parquet", b"PAR1 but no more", "not a readable Parquet file"),
    ],
)
def test_broken_input_names_file_and_row(tmp_path: Path, name: str, content: bytes, match: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=match):
        list(predict.read_texts(Reading(path), predict.kind_of(path, None), "text"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1"])
def test_stdin_is_read_in_its_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
):
    (tmp_path / "in").write_text("id,text\nä,Grüße\n", encoding=encoding)
    given = "utf-8" if encoding == "utf-8-sig" else encoding
    monkeypatch.setattr(sys, "stdin", (tmp_path / "in").open())
    reading = Reading(None, given)
    assert list(predict.read_texts(reading, "csv", "text")) == [("ä", "Grüße")]
    if encoding == "latin-1":
        monkeypatch.setattr(sys, "stdin", (tmp_path / "in").open())
        with pytest.raises(DataError, match="stdin is not utf-8.*--encoding"):
            list(predict.read_texts(Reading(None), "csv", "text"))


def test_closed_stdin_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="stdin is closed"):
        list(predict.read_texts(Reading(None), "txt", "text"))


def test_a_missing_file_and_an_unknown_format_are_named(tmp_path: Path):
    with pytest.raises(DataError, match="does not exist"):
        list(predict.read_texts(Reading(tmp_path / "none.csv"), "csv", "text"))
    with pytest.raises(ParameterError, match="Did you mean 'jsonl'"):
        predict.kind_of(None, "json")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("predict")
    build(home, wrong=1, blend_weight=0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        yield home


def test_a_workspace_predicts_what_the_thresholds_say(home: Path):
    scores, _ = evidence.test_scores()
    table = read_json(evidence.THRESHOLDS)["models"]["model"]["thresholds"]
    expected = apply_thresholds(scores.scores, table).toarray()
    rows = zip(scores.ids, evidence.texts_of(scores.ids), strict=True)
    records = list(predict.predict(rows, "artifacts/train/model", 7))
    assert [record["id"] for record in records] == scores.ids
    found = [[label in record["labels"] for label in WORDS] for record in records]
    np.testing.assert_array_equal(np.array(found, dtype=np.int8), expected)


def test_no_more_than_a_batch_is_read_ahead(home: Path):
    read: list[int] = []

    def rows() -> Iterator[tuple[str, str]]:
        for number in range(100):
            read.append(number)
            yield str(number), "ant"

    records = predict.predict(rows(), "artifacts/train/model", 10)
    next(records)
    assert len(read) == 10


def test_no_text_gives_no_record_and_loads_no_model(home: Path):
    assert list(predict.predict([], "models:/nothing@champion", 10)) == []


def test_a_missing_model_folder_is_named(home: Path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        list(predict.predict([("0", "ant")], "nowhere", 10))


@pytest.mark.parametrize("name", ["artifacts", "params.yaml"])
def test_what_is_no_model_is_named(home: Path, name: str):
    with pytest.raises(DataError, match=f"{name} is no model: expected a folder that `train`"):
        list(predict.predict([("0", "ant")], name, 10))


@pytest.mark.slow
def test_the_champion_answers_on_the_command_line(home: Path):
    register.run()
    client = registry.connect()
    command = [sys.executable, "-m", "components.predict", "--top-k", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with open("params.yaml", "a") as handle:
        handle.write("predict: {batch_docs: 2}\n")

    def ask() -> subprocess.CompletedProcess:
        return subprocess.run(
            command, input="ant\nbee\nfox\n", env=environment, capture_output=True, text=True
        )

    missing = ask()
    assert missing.returncode == 3
    assert "champion not found" in missing.stderr
    client.set_registered_model_alias("longtail", "champion", "1")
    records = [json.loads(line) for line in ask().stdout.splitlines()]
    assert [record["labels"] for record in records][2] == ["fox"]
    assert [record["id"] for record in records] == ["1", "2", "3"]


def on_command_line(home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "components.predict", *argv],
        cwd=home, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip


def test_the_output_takes_the_place_of_no_folder_and_not_of_the_input(home: Path) -> None:
    texts, folder = home / "texts.jsonl", home / "mine"
    texts.write_text('{"text": "a"}\n')
    folder.mkdir()
    (folder / "own").write_text("own")
    (home / "link.jsonl").symlink_to(texts)
    for output, code, expected in (
        (folder, 3, "is a folder"),
        (texts, 2, "is the input"),
        (home / "link.jsonl", 2, "is the input"),
    ):
        done = on_command_line(home, str(texts), "--output", str(output))
        assert done.returncode == code and expected in done.stderr, done.stderr
    assert (folder / "own").read_text() == "own" and texts.read_text() == '{"text": "a"}\n'
