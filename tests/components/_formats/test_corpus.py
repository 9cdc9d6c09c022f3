"""The corpus file: what is refused with which message, what is kept, and reproducible bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components._formats.corpus import COLUMNS, read_corpus, write_corpus
from longtail.errors import DataError

ROWS: dict[str, Any] = {
    "id": ["a", "b", "c"],
    "text": ["first text", "zweiter Text – ß", "третий 🐘\nline"],
    "labels": [["x", "y"], [], ["y"]],
}


def parquet(folder: Path, **columns: Any) -> Path:
    """A Parquet file as another program may have written it."""
    path = folder / "corpus.parquet"
    pq.write_table(pa.table(ROWS | columns), path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_corpus(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Refused


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    assert refusal(path) == f"{path} does not exist; create it with `longtail ingest`."


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, share: float) -> None:
    path = parquet(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = refusal(path)
    assert message.startswith(f"{path} is not a readable Parquet file (")
    assert message.endswith("or rebuild it with `longtail ingest`.")


def test_a_damaged_page_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    table = pa.table(ROWS | {"text": ["word " * 5000, "b" * 5000, "c" * 5000]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content = bytearray(path.read_bytes())
    start, end = column.data_page_offset, column.data_page_offset + column.total_compressed_size
    content[start:end] = b"\xff" * (end - start)
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path} is not a readable Parquet file (")


@pytest.mark.parametrize(
    ("name", "column", "type_"),
    [
        ("labels", ["x", "y", "z"], "string"),
        ("text", [["a"], ["b"], ["c"]], "list<"),
        ("annotated_at", ["yesterday", "today", "now"], "string"),
        ("text", [b"\xff\xfe", b"b", b"c"], "binary"),
        ("group", [{"a": 1}, {"a": 2}, {"a": 3}], "struct<"),
    ],
)
def test_a_wrong_type_names_the_column_and_both_types(
    tmp_path: Path, name: str, column: list[Any], type_: str
) -> None:
    message = refusal(parquet(tmp_path, **{name: column}))
    assert f": column {name!r} has type {type_}" in message
    assert f", expected {COLUMNS[name]}; convert it" in message


@pytest.mark.parametrize(
    ("name", "column", "row"),
    [
        ("id", ["a", None, "c"], 2),
        ("text", ["a", "b", None], 3),
        ("labels", [None, ["x"], None], 1),
    ],
)
def test_a_null_names_its_row_and_column(
    tmp_path: Path, name: str, column: list[Any], row: int
) -> None:
    path = parquet(tmp_path, **{name: column})
    assert refusal(path) == f"{path}: row {row}, column {name!r} is null, expected {COLUMNS[name]}."


def test_missing_columns_are_listed_with_those_found(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"ID": ["a"], "text": ["t"], "tags": ["x"]}), path)
    assert refusal(path) == (
        f"{path}: column(s) id, labels missing; expected id, text, labels, "
        "got 'ID', 'text', 'tags'. Rebuild it with `longtail ingest`."
    )


# Kept


def test_rows_come_back_as_they_were_without_new_columns(tmp_path: Path) -> None:
    write_corpus(pd.DataFrame(ROWS), tmp_path / "corpus.parquet")
    frame = read_corpus(tmp_path / "corpus.parquet")
    assert frame.to_dict("list") == ROWS
    assert all(type(labels) is list for labels in frame["labels"])


def test_optional_columns_may_have_nulls(tmp_path: Path) -> None:
    when = pd.Timestamp("2026-11-20 01:02:03.456789")
    rows = ROWS | {
        "group": ["g", None, "g"],
        "split": [None, "train", "test"],
        "annotated_at": [when, None, when],
    }
    write_corpus(pd.DataFrame(rows), tmp_path / "corpus.parquet")
    frame = read_corpus(tmp_path / "corpus.parquet")
    assert frame["group"].isna().tolist() == [False, True, False]
    assert frame["split"].tolist()[1:] == ["train", "test"]
    assert frame["annotated_at"].tolist()[::2] == [when, when]


def test_numbers_as_ids_are_read_as_text(tmp_path: Path) -> None:
    frame = read_corpus(parquet(tmp_path, id=[1, 22, 333], group=[7, None, 8]))
    assert frame["id"].tolist() == ["1", "22", "333"]
    assert frame["group"].tolist()[::2] == ["7", "8"]


def test_written_columns_follow_the_contract_with_extra_ones_last(
    tmp_path: Path,
) -> None:
    path = tmp_path / "corpus.parquet"
    frame = pd.DataFrame({"size": [1, 2, 3], "source": ["s"] * 3} | ROWS | {"free": [0.5, 1, 2]})
    write_corpus(frame, path)
    schema = pq.read_schema(path)
    assert schema.names == ["id", "text", "labels", "source", "size", "free"]
    assert [schema.field(name).type for name in ("id", "source", "size", "free")] == [
        pa.string(), pa.string(), pa.int64(), pa.float64(),
    ]  # fmt: skip
    assert schema.field("labels").type.value_type == pa.string()
    assert schema.metadata is None
    assert read_corpus(path)["size"].tolist() == [1, 2, 3]


def test_text_columns_give_the_same_bytes_for_every_pandas_dtype(tmp_path: Path) -> None:
    values = ["red", None, "blue"]
    paths = []
    for i, dtype in enumerate(["str", "object", pd.ArrowDtype(pa.string())]):
        extra = pd.Series(values, dtype=dtype)
        frame = pd.DataFrame(ROWS).assign(color=extra, text=pd.Series(ROWS["text"], dtype=dtype))
        paths.append(tmp_path / f"{i}.parquet")
        write_corpus(frame, paths[-1])
    assert pq.read_schema(paths[0]).field("color").type == pa.string()
    assert len({digest(path) for path in paths}) == 1
    assert pq.read_table(paths[1]).column("color").to_pylist() == values


def test_reading_and_writing_again_changes_no_byte(tmp_path: Path) -> None:
    first, second = tmp_path / "1.parquet", tmp_path / "2.parquet"
    rows = ROWS | {
        "annotator": ["ann", None, "bob"],
        "annotated_at": [None, pd.Timestamp("2026-01-01"), None],
        "split": [None, None, "val"],
        "color": ["red", None, "blue"],
        "size": [1, 2, 3],
    }
    write_corpus(pd.DataFrame(rows), first)
    write_corpus(read_corpus(first), second)
    assert digest(first) == digest(second)


def test_an_index_leaves_no_trace(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS)
    write_corpus(frame, tmp_path / "1.parquet")
    write_corpus(frame.set_axis([9, 4, 7]), tmp_path / "2.parquet")
    assert digest(tmp_path / "1.parquet") == digest(tmp_path / "2.parquet")


def test_a_frame_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    write_corpus(pd.DataFrame(ROWS), path)
    before = digest(path)
    with pytest.raises(pa.ArrowException):
        write_corpus(pd.DataFrame(ROWS | {"text": [1, 2, 3]}), path)
    assert digest(path) == before and list(tmp_path.iterdir()) == [path]
