"""A lake of Parquet files: what belongs to it, in a folder and in a bucket that answers."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components._formats.lake import (
    Folder,
    Lake,
    check_apart,
    opened_lake,
    read_origin,
    read_partition,
    write_partition,
)
from components._frame.exit_codes import TemporaryError
from longtail.errors import DataError, ParameterError
from tests.builders.s3 import BUCKET, client, keys, serve_s3

ROWS = [("a", ["x", "y"], [0.75, 0.5]), ("b", [], [])]


def test_hidden_files_and_linked_folders_are_no_partitions(tmp_path: Path) -> None:
    for name in ("b/2.parquet", "a.PARQUET", ".a.parquet.x/a.parquet", "_temporary/1.parquet",
                 "_SUCCESS", "c.parquet.crc", "b/.part.parquet", "d.csv"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "b" / "up").symlink_to("..")
    assert [item.name for item in Folder(tmp_path).partitions()] == ["a.PARQUET", "b/2.parquet"]


def test_a_partition_says_what_it_was_made_from(tmp_path: Path) -> None:
    lake = Folder(tmp_path)
    assert write_partition(lake, "a/1.parquet", ROWS, {"model": "m"}) == 2
    assert pq.read_table(tmp_path / "a/1.parquet").to_pylist() == [
        {"id": name, "labels": labels, "scores": scores} for name, labels, scores in ROWS
    ]
    assert read_origin(lake, "a/1.parquet") == {"model": "m"}
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "own.parquet")
    assert read_origin(lake, "own.parquet") is None


def test_a_partition_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def rows():  # type: ignore[no-untyped-def]
        yield ROWS[0]
        raise DataError("row 2")

    with pytest.raises(DataError, match="row 2"):
        write_partition(Folder(tmp_path), "1.parquet", rows(), {})
    assert list(tmp_path.iterdir()) == []


def test_what_others_have_hidden_in_the_folder_stays(tmp_path: Path) -> None:
    for name in (".1.parquet.backup/1.parquet", ".1.parquet.original/notes.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("precious")
    with Folder(tmp_path).held():
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 3  # and the lock


def test_an_output_goes_through_no_link(tmp_path: Path) -> None:
    """It could lead to the inputs, which the predictions would replace."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.parquet").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to("../in")
    (tmp_path / "link").symlink_to("out")
    for name in ("a/1.parquet", "a/b/1.parquet"):
        with pytest.raises(DataError, match=r"out/a(/b)? is a link, or below one"):
            write_partition(Folder(tmp_path / "out"), name, ROWS, {})
    assert (tmp_path / "in/1.parquet").read_text() == "precious"
    write_partition(Folder(tmp_path / "link"), "b/1.parquet", ROWS, {})  # the folder itself may be
    assert (tmp_path / "out/b/1.parquet").exists()


def test_a_folder_that_may_not_be_read_is_not_left_out_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.parquet", "_temporary/1.parquet"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
    refused, scandir = "_temporary", os.scandir

    def scanned(path):  # type: ignore[no-untyped-def]
        if Path(path).name == refused:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scanned)
    assert [item.name for item in Folder(tmp_path).partitions()] == ["a/1.parquet"]
    refused = "a"
    with pytest.raises(DataError, match=r"/a cannot be read \(Permission denied\)"):
        Folder(tmp_path).partitions()
    assert Folder(tmp_path / "none").partitions() == []


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "a" / ".1.parquet.x7_abcde").mkdir(parents=True)
    (tmp_path / "a" / ".1.parquet.x7_abcde" / "1.parquet").write_text("half")
    with Folder(tmp_path).held():
        assert {path.name for path in tmp_path.rglob("*")} == {"a", ".lock"}


@pytest.mark.parametrize(
    ("source", "target", "apart"),
    [
        ("in", "in", False),
        ("in", "in/out", False),
        ("in/a", "in", False),
        ("in", "link", False),
        ("in", "inner", True),
        ("s3://b/in", "s3://b/in/out", False),
        ("s3://b/in", "s3://b/inner", True),
        ("in", "s3://b/in", True),
    ],
)
def test_outputs_are_apart_from_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str, apart: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    lakes = opened_lake(source), opened_lake(target)
    if apart:
        check_apart(*lakes)
    else:
        with pytest.raises(ParameterError, match="overlap"):
            check_apart(*lakes)


def test_a_bucket_is_a_lake_and_shows_no_half_object(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_s3() as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        lake: Lake = opened_lake(f"s3://{BUCKET}/lake/")
        assert lake.partitions() == []
        table = pa.table({"id": [1, 2], "text": ["one", "two"], "more": ["x", "y"]})
        body = pa.BufferOutputStream()
        pq.write_table(table, body)
        for key, value in (("lake/a/1.parquet", body.getvalue().to_pybytes()),
                           ("lake/a/2.parquet", b"PAR1"), ("lake/_x/3.parquet", b""),
                           ("lakes/4.parquet", b"")):  # fmt: skip
            client(settings).put_object(Bucket=BUCKET, Key=key, Body=value)
        assert [item.name for item in lake.partitions()] == ["a/1.parquet", "a/2.parquet"]
        assert list(read_partition(lake, "a/1.parquet", "text")) == [("1", "one"), ("2", "two")]
        with pytest.raises(DataError, match=r"s3://longtail/lake/a/2\.parquet is not a readable"):
            list(read_partition(lake, "a/2.parquet", "text"))
        out = opened_lake(f"s3://{BUCKET}/out")
        write_partition(out, "a/1.parquet", ROWS, {"model": "m"})
        assert read_origin(out, "a/1.parquet") == {"model": "m"}
        with pytest.raises(ParameterError, match=r"S3 refuses the request.*NO_SUCH_BUCKET"):
            write_partition(opened_lake("s3://nowhere/out"), "1.parquet", ROWS, {})
        assert keys(settings, "out") == ["out/a/1.parquet"]
    with pytest.raises(TemporaryError, match="S3 did not answer"):
        lake.partitions()
