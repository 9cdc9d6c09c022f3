"""Predicts a folder of Parquet files: what is done, what is left, and what is done again."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components import predict
from components._formats.lake import ORIGIN, Folder
from components._frame.files import LOCK
from components._registry.lake_run import Asked, planned, run_plan
from components._registry.worker import Answer, ServedError
from longtail.errors import DataError, ParameterError
from tests.builders.registry_workspace import build, corpus

ASKED = Asked("sha256:one", "text", {})


def answer(texts: list[str]) -> Answer:
    """The text itself is the label."""
    return Answer([[text] for text in texts], [[0.5] for _ in texts], 0.0, 0.0)


def write(path: Path, *texts: str | None, ids: list[str | None] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"text": pa.array(texts, pa.string())} | ({} if ids is None else {"id": ids})
    pq.write_table(pa.table(columns), path)


def run(home: Path, asked: Asked = ASKED, ask=answer, at_a_time: int = 1) -> str:  # type: ignore[no-untyped-def]
    source, target = Folder(home / "in"), Folder(home / "out")
    plan = planned(source, target, asked)
    return run_plan(plan, source, target, asked, ask, size=2, at_a_time=at_a_time)


def outputs(home: Path) -> dict[str, list[dict[str, object]]]:
    out = home / "out"
    names = [item.name for item in Folder(out).partitions()]
    return {name: pq.ParquetFile(out / name).read().to_pylist() for name in names}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    write(tmp_path / "in/a/1.parquet", "ant", "bee", "cat")
    write(tmp_path / "in/b/1.parquet", "dog", ids=["d"])
    write(tmp_path / "in/2.parquet")
    return tmp_path


@pytest.mark.parametrize("at_a_time", [1, 3])
def test_equal_names_in_subfolders_keep_apart_and_rows_their_order(
    lake: Path, at_a_time: int
) -> None:
    assert run(lake, at_a_time=at_a_time) == (
        "3 partitions: 3 predicted now (4 documents), 0 before, 0 not."
    )
    found = outputs(lake)
    assert list(found) == ["2.parquet", "a/1.parquet", "b/1.parquet"]
    assert found["2.parquet"] == []
    assert [(row["id"], row["labels"]) for row in found["a/1.parquet"]] == [
        ("1", ["ant"]),
        ("2", ["bee"]),
        ("3", ["cat"]),
    ]
    assert found["b/1.parquet"] == [{"id": "d", "labels": ["dog"], "scores": [0.5]}]


def test_what_is_done_is_left_and_what_changed_is_done_again(lake: Path) -> None:
    run(lake)
    asked: list[str] = []

    def ask(texts: list[str]) -> Answer:
        asked.extend(texts)
        return answer(texts)

    assert "0 predicted now (0 documents), 3 before" in run(lake, ask=ask)
    status = (lake / "in/a/1.parquet").stat()
    write(lake / "in/a/1.parquet", "elk", "bee", "cat")  # as long as before
    assert (lake / "in/a/1.parquet").stat().st_size == status.st_size
    (lake / "in/2.parquet").unlink()
    write(lake / "in/3.parquet", "new")
    line = run(lake, ask=ask)
    assert sorted(asked) == ["bee", "cat", "elk", "new"]
    assert "2 predicted now (4 documents), 1 before" in line
    assert "1 had an output of another input" in line and "were left: 2.parquet." in line


@pytest.mark.parametrize(
    "other",
    [Asked("sha256:two", "text", {}), Asked("sha256:one", "text", {"top_k": 1})],
)
def test_outputs_of_another_version_or_option_are_replaced(lake: Path, other: Asked) -> None:
    run(lake)
    assert "3 predicted now (4 documents), 0 before" in run(lake, other)
    assert "0 predicted now (0 documents), 3 before" in run(lake, other)


def test_broken_files_are_named_and_the_others_done(
    lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (lake / "in/a/1.parquet").read_bytes()
    (lake / "in/a/cut.parquet").write_bytes(whole[: len(whole) // 2])
    (lake / "in/empty.parquet").write_bytes(b"")
    (lake / "in/text.parquet").write_text("id,text\n")
    pq.write_table(pa.table({"body": ["x"]}), lake / "in/column.parquet")
    write(lake / "in/null.parquet", "a", "b", "c", None)
    write(lake / "in/id.parquet", "a", "b", ids=["1", None])  # row 2 is not document "2"
    os.rename(lake / "in/2.parquet", os.fsencode(lake / "in") + b"/\xff.parquet")
    write(lake / "in" / ("n" * 240 + ".parquet"), "a")
    write(lake / "in/2.parquet")
    with pytest.raises(DataError, match=r"3 predicted now \(4 documents\), 0 before, 8 not\."):
        run(lake)
    told = capsys.readouterr().err
    for message in (
        "in/a/cut.parquet is not a readable Parquet file",
        "in/empty.parquet is empty",
        "in/text.parquet is not a Parquet file",
        "in/column.parquet: row 1: no column 'text'; columns found: 'body'",
        "in/null.parquet: row 4, column 'text': expected a text, got None",
        "in/id.parquet: row 2, column 'id': expected an id, got null",
        r"'\udcff.parquet': the file's name is not UTF-8",
        "nnn.parquet cannot be written (File name too long)",
    ):
        assert message in told
    assert list(outputs(lake)) == ["2.parquet", "a/1.parquet", "b/1.parquet"]
    (lake / "in/null.parquet").unlink()
    with pytest.raises(DataError, match=r"0 predicted now .*, 3 before, 7 not\."):
        run(lake)


def test_an_output_folder_that_may_not_be_written_fails_its_partitions_alone(
    lake: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp

    def refused(*args: str, **options: str) -> str:  # root may write anywhere
        if Path(options["dir"]).name == "a":
            raise PermissionError(errno.EACCES, "Permission denied")
        return make(*args, **options)

    monkeypatch.setattr(tempfile, "mkdtemp", refused)
    with pytest.raises(DataError, match="2 predicted now .*, 1 not"):
        run(lake)
    assert "out/a/1.parquet cannot be written (Permission denied)" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["own", "broken", "footer"])
def test_a_file_of_somebody_else_is_not_replaced(lake: Path, content: str) -> None:
    own = lake / "out/a/1.parquet"
    write(own, "mine")
    if content == "broken":
        own.write_bytes(b"PAR1 mine")
    if content == "footer":
        table = pa.table({"text": ["mine"]}).replace_schema_metadata({ORIGIN: b"mine"})
        pq.write_table(table, own)
    before = own.read_bytes()
    with pytest.raises(DataError, match="a/1.parquet"):
        run(lake)
    assert own.read_bytes() == before and len(list((lake / "out").rglob("*.parquet"))) == 1


def test_a_model_that_dies_ends_the_run_and_the_next_goes_on(lake: Path) -> None:
    def dies(texts: list[str]) -> Answer:
        if {"cat", "dog"} & set(texts):  # once dead, it answers nothing, asked by another thread
            raise ServedError("died")
        return answer(texts)

    with pytest.raises(ServedError, match="died"):
        run(lake, ask=dies)
    assert list(outputs(lake)) == ["2.parquet"]
    assert "2 predicted now (4 documents), 1 before" in run(lake)


def test_a_folder_without_parquet_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="in has no Parquet files"):
        run(tmp_path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("lake")
    build(home, blend_weight=0.3)
    with (home / "params.yaml").open("a") as handle:
        handle.write("predict: {batch_docs: 16}\n")
    frame = corpus(60, seed=3)[["id", "text"]]
    (home / "lake/b").mkdir(parents=True)
    frame[:25].to_parquet(home / "lake/a.parquet")
    frame[25:].to_parquet(home / "lake/b/a.parquet")
    frame.to_parquet(home / "all.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        yield home


def on_command_line(*argv: str) -> None:
    predict.command.main([*argv, "--model", "artifacts/train/model"], standalone_mode=False)


def test_a_folder_says_what_one_file_says(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_command_line("all.parquet", "--output", "all.jsonl")
    on_command_line("lake", "--output", "out")
    assert "predict: 2 partitions: 2 predicted now (60 documents)" in capsys.readouterr().out
    expected = pd.read_json(home / "all.jsonl", lines=True)
    found = [row for rows in outputs(home).values() for row in rows]
    assert [row["id"] for row in found] == expected["id"].tolist()
    assert [row["labels"] for row in found] == expected["labels"].tolist()
    for row, scores in zip(found, expected["scores"], strict=True):
        assert row["scores"] == pytest.approx(scores, abs=2e-6)
    assert not (home / "out" / LOCK).exists()
    on_command_line("lake", "--output", "out")
    assert "0 predicted now (0 documents), 2 before" in capsys.readouterr().out
    thresholds = home / "artifacts/thresholds/thresholds.json"
    os.utime(thresholds)
    thresholds.write_text(thresholds.read_text() + "\n")  # another model, though the same numbers
    on_command_line("lake", "--output", "out")
    assert "2 predicted now (60 documents), 0 before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["lake"], "lake is a folder: .* pass --output"),
        (["lake", "--output", "x", "--format", "csv"], "neither --format nor --separator"),
        (["lake", "--output", "lake/x"], "overlap"),
        (["all.parquet", "--spark", "local[2]"], "--spark predicts a folder"),
        (["s3:///x", "--output", "x"], "names no bucket"),
    ],
)
def test_wrong_usage_is_told(home: Path, argv: list[str], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        on_command_line(*argv)


def test_spark_that_is_not_installed_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    with pytest.raises(ParameterError, match="install the extra `spark`, and Java 17"):
        on_command_line("lake", "--output", "spark", "--spark", "local[2]")
