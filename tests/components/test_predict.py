"""Reads texts in every format; predicts from a workspace and from the registry."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components import predict, register
from components._formats.json_file import read_json
from components._formats.records import Reading
from components._frame.exit_codes import BAD_DATA, BAD_PARAMETERS
from components._frame.launch import launch
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", json.dumps({"text": ["v" * 10**6]})),
        ("a.jsonl", json.dumps({"v" * 10**6: "a"})),
        ("a.csv", ",".join(f"c{i}" for i in range(19_000)) + "\n" + "," * 18_999),
    ],
)
def test_a_message_is_short_whatever_the_input(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match="column 'text'") as caught:
        list(predict.read_texts(Reading(tmp_path / name), name[2:], "text"))
    assert len(str(caught.value)) < 1500


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
            r"row 1 \(line 2\): no column 'text'; columns found: 'id', 'words'",
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


def test_another_separator_is_noticed(tmp_path: Path):
    (tmp_path / "in.csv").write_text("id;text\n1;some words\n")
    with pytest.raises(DataError, match="separated by ';': pass --separator ';'"):
        list(predict.read_texts(Reading(tmp_path / "in.csv"), "csv", "text"))


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
    with (home / "params.yaml").open("a") as handle:
        handle.write("predict: {batch_docs: 2}\n")
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


def test_a_name_that_no_folder_can_have_is_told(home: Path):
    with pytest.raises(DataError, match="is no folder \\(File name too long\\)"):
        list(predict.predict([("0", "ant")], "x" * 300, 10))


def test_parquet_that_is_not_utf8_is_told(tmp_path: Path):
    offsets = pa.array([0, 2], pa.int32()).buffers()[1]
    text = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    pq.write_table(pa.table({"text": text}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match=r"in\.parquet: a text is not UTF-8"):
        list(predict.read_texts(Reading(tmp_path / "in.parquet"), "parquet", "text"))


@pytest.mark.parametrize("name", ["artifacts", "params.yaml"])
def test_what_is_no_model_is_named(home: Path, name: str):
    with pytest.raises(DataError, match=f"{name} is no model: expected a folder that `train`"):
        list(predict.predict([("0", "ant")], name, 10))


def test_csv_output_is_read_as_labels_again_and_runs_no_formula(tmp_path: Path):
    records = [
        {"id": "=1+1", "labels": ["a", "b"], "scores": [0.9, 0.5]},
        {"id": "ä", "labels": [], "scores": []},
        {"id": "3", "labels": ["=b"], "scores": [0.7]},
    ]
    for name, tab in (("out.csv", ","), ("out.TSV", "\t")):
        predict._write(records, tmp_path / name)
        rows = list(csv.reader((tmp_path / name).open(encoding="utf-8"), delimiter=tab))
        assert rows == [
            ["id", "labels", "scores"],
            ["'=1+1", "a,b", "0.9,0.5"],
            ["ä", "", ""],
            ["3", "'=b", "0.7"],
        ]
    with pytest.raises(DataError, match="The label 'a, b' has a comma"):
        predict._write([{"id": "1", "labels": ["a, b"], "scores": [1]}], tmp_path / "new.csv")
    assert not (tmp_path / "new.csv").exists()


def test_a_wrong_row_is_told_before_the_model_is_loaded(home: Path, capsys):
    (home / "late.jsonl").write_text('{"text": "a"}\n' * 300 + '{"text": 3}\n')
    assert exit_status("late.jsonl", "--model", "models:/nowhere/1") == BAD_DATA
    said = capsys.readouterr()
    assert said.out == ""
    assert "late.jsonl: line 301, column 'text': expected a text, got 3" in said.err


def test_the_progress_knows_the_total_of_a_file(home: Path, monkeypatch: pytest.MonkeyPatch):
    shown: list[tuple[int, int | None]] = []

    @contextmanager
    def progress(what: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
        yield lambda done, total: shown.append((done, total))

    monkeypatch.setattr(predict, "progress", progress)
    (home / "two.CSV").write_text("id,text\n1,ant\n\n2,bee\n")
    argv = ["two.CSV", "--model", "artifacts/train/model", "--output", "two.out.csv"]
    predict.command.main(argv, standalone_mode=False)
    assert shown == [(1, 2), (2, 2)]
    assert (home / "two.out.csv").read_text().count("\n") == 3


@pytest.mark.slow
def test_a_reader_that_has_enough_ends_it_quietly(home: Path):
    command = f"yes ant | {sys.executable} -m components.predict --model artifacts/train/model"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"({command}; echo ${{PIPESTATUS[1]}} >&2) | head -n 1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.count("\n") == 1 and done.stderr.strip() == "0", done.stderr


@pytest.mark.slow
def test_the_champion_answers_on_the_command_line(home: Path):
    register.run()
    client = registry.connect()
    command = [sys.executable, "-m", "components.predict", "--top-k", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

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


def exit_status(*argv: str) -> object:
    """What `python -m components.predict` ends with."""
    with pytest.raises(SystemExit) as caught:
        launch(predict.command, argv)
    return caught.value.code


def test_the_output_takes_the_place_of_no_folder_and_not_of_the_input(home: Path, capsys) -> None:
    texts, folder = home / "texts.jsonl", home / "mine"
    texts.write_text('{"text": "a"}\n')
    folder.mkdir()
    (folder / "own").write_text("own")
    (home / "link.jsonl").symlink_to(texts)
    for output, code, expected in (
        ("x" * 300, BAD_DATA, "cannot be written (File name too long)"),
        (folder, BAD_DATA, "is a folder"),
        (texts, BAD_PARAMETERS, "is the input"),
        (home / "link.jsonl", BAD_PARAMETERS, "is the input"),
    ):
        found, said = exit_status(str(texts), "--output", str(output)), capsys.readouterr().err
        assert found == code and expected in said, said
    assert (folder / "own").read_text() == "own" and texts.read_text() == '{"text": "a"}\n'
