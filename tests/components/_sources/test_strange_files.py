"""Files that are something else than what they are called: one sentence with the way out."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import threading
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components._formats.columns import MOST_COLUMNS
from components._formats.text_file import checked_file
from components._sources.csv_files import read_csv
from components._sources.jsonl_files import read_jsonl
from components._sources.onehot import read_onehot
from components._sources.parquet_files import read_parquet
from components._sources.rows import FileFormat
from longtail.errors import DataError, ParameterError

READ = {"csv": read_csv, "onehot": read_onehot, "jsonl": read_jsonl, "parquet": read_parquet}
TEXT = "id,text,labels\n1,some text,a\n"
ROW = {"id": ["1"], "text": ["some text"], "labels": [["a"]]}


def parquet(**columns: object) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table(ROW | columns), target)
    return target.getvalue()


def spreadsheet() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    return target.getvalue()


FOREIGN = {
    "gzip": (gzip.compress(TEXT.encode()), "compressed with gzip.*gunzip"),
    "bzip2": (bz2.compress(TEXT.encode()), "compressed with bzip2"),
    "xz": (lzma.compress(TEXT.encode()), "compressed with xz"),
    "xlsx": (spreadsheet(), r"a spreadsheet \(.xlsx\) or a ZIP archive.*save the sheet as CSV"),
    "parquet": (parquet(), "a Parquet file.*read it as `parquet`"),
    "utf-32": (TEXT.encode("utf-32"), "is UTF-32, not utf-8; pass --encoding utf-32"),
    "utf-32-le": (TEXT.encode("utf-32-le"), "pass --encoding utf-32-le"),
    "utf-16": (TEXT.encode("utf-16"), "is UTF-16, not utf-8; pass --encoding utf-16"),
    "utf-16-be": (TEXT.encode("utf-16-be"), "pass --encoding utf-16-be"),
}


@pytest.mark.parametrize("kind", ["csv", "onehot", "jsonl"])
@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_text_is_called_by_its_name(tmp_path: Path, kind: str, name: str) -> None:
    content, message = FOREIGN[name]
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        READ[kind](tmp_path / "in.csv", FileFormat())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-32-be"])
def test_the_encoding_that_was_advised_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "in.csv").write_bytes(TEXT.encode(encoding))
    rows = read_csv(tmp_path / "in.csv", FileFormat(encoding=encoding))
    assert rows.columns["text"] == ["some text"]


def test_text_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_text(TEXT)
    with pytest.raises(DataError, match=r"is not a Parquet file \(it begins with b'id,t'"):
        read_parquet(tmp_path / "in.parquet", FileFormat())


@pytest.mark.parametrize(
    ("content", "sign"),
    [
        ("id;text;labels\n1;a;b\n", ";"),
        ("id\ttext\tlabels\n1\ta\tb\n", "tab"),
        ("id|text|labels\n1|a, b|c\n", r"\|"),
        ("id;text;labels\n1;some, text;a\n", ";"),
    ],
)
def test_another_separator_is_recognized(tmp_path: Path, content: str, sign: str) -> None:
    (tmp_path / "in.csv").write_text(content)
    with pytest.raises(DataError, match=f"pass --separator '{sign}'"):
        read_csv(tmp_path / "in.csv", FileFormat())


def test_one_column_cannot_be_two(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,labels\nb,c\n")
    with pytest.raises(ParameterError, match="--id-column and --text-column both name 'text'"):
        read_csv(tmp_path / "in.csv", FileFormat(id_column="text"))
    (tmp_path / "in.csv").write_text(TEXT)
    with pytest.raises(ParameterError, match="--text-column and --labels-column both name 'text'"):
        read_csv(tmp_path / "in.csv", FileFormat(labels_column="text"))
    changed = FileFormat(id_column="text", text_column="id")
    assert read_csv(tmp_path / "in.csv", changed).columns["id"] == ["some text"]


@pytest.mark.parametrize("kind", READ)
def test_pipes_are_read(tmp_path: Path, kind: str) -> None:
    content = {
        "csv": TEXT.encode(),
        "onehot": b"id,text,a,b\n1,some text,1,0\n",
        "jsonl": b'{"id": "1", "text": "some text", "labels": ["a"]}\n',
        "parquet": parquet(),
    }[kind]
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    writer.start()
    rows = READ[kind](tmp_path / "pipe", FileFormat())
    writer.join()
    assert rows.columns["labels"] == [["a"]]


def wide(kind: str, n: int) -> bytes:
    names = [f"c{i}" for i in range(n)]
    if kind == "parquet":
        return parquet(**{name: [1] for name in names})
    if kind == "jsonl":
        row = {name: values[0] for name, values in ROW.items()} | dict.fromkeys(names, 1)
        return json.dumps(row).encode()
    return f"id,text,labels,{','.join(names)}\n1,a,b,{','.join('1' * n)}\n".encode()


@pytest.mark.parametrize("kind", READ)
def test_too_many_columns_are_refused_within_seconds(tmp_path: Path, kind: str) -> None:
    """100,000 took ten minutes and a message of a million characters."""
    (tmp_path / "in").write_bytes(wide(kind, 100_000))
    start = time.process_time()
    with pytest.raises(DataError, match=f"expected at most {MOST_COLUMNS:,}") as caught:
        READ[kind](tmp_path / "in", FileFormat())
    assert time.process_time() - start < 20 and len(str(caught.value)) < 500


def test_a_missing_column_does_not_list_thousands(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(wide("csv", 10_000))
    with pytest.raises(DataError, match=r"no column 'body'.*c40.*10,003 in all") as caught:
        read_csv(tmp_path / "in.csv", FileFormat(text_column="body"))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero", "/dev/full"])
def test_devices_are_no_files(name: str) -> None:
    with pytest.raises(DataError, match="is a device"):
        checked_file(Path(name))


@pytest.mark.parametrize("kind", READ)
def test_a_file_that_cannot_be_read(tmp_path: Path, kind: str, monkeypatch) -> None:
    """As root, who may read everything, a file of the system that nobody can."""
    with pytest.raises(DataError, match=r"cannot be read|is empty"):
        READ[kind](Path("/proc/self/mem"), FileFormat())
    path = tmp_path / "in"
    path.write_bytes(parquet() if kind == "parquet" else TEXT.encode())
    name = "parquet_file" if kind == "parquet" else "text_file"
    monkeypatch.setattr(f"components._formats.{name}.checked_file", lambda p: p.unlink() or p)
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):  # it vanished
        READ[kind](path, FileFormat())


@pytest.mark.skipif(os.geteuid() != 0, reason="changes the user")
@pytest.mark.parametrize("kind", READ)
def test_without_permission(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "in"
    path.write_bytes(parquet() if kind == "parquet" else TEXT.encode())
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(DataError, match="cannot be read .Permission denied"):
            READ[kind](path, FileFormat())
    finally:
        os.seteuid(0)
