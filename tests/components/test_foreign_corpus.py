"""`validate` on what other tools wrote: one sentence that names file and column."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components import validate
from components._formats.labels_file import read_allowed
from longtail.errors import DataError
from tests.builders.params import stage_params

OFFSETS = pa.array([0, 2], pa.int32()).buffers()[1]
BROKEN = pa.Array.from_buffers(pa.string(), 1, [None, OFFSETS, pa.py_buffer(b"\xff\xfe")])
BROKEN_LIST = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), BROKEN)
SOUND = {"id": pa.array(["1"]), "text": pa.array(["some text"]), "labels": pa.array([["a", "b"]])}
MAPS = pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string()))


def validated(folder: Path, files: dict[str, Any]) -> None:
    (folder / "data").mkdir()
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / "data" / name).write_bytes(content)
        else:
            pq.write_table(pa.table(content), folder / "data" / name)
    validate.run(
        data=folder / "data", corpus=folder / "corpus", quarantine=folder / "quarantine",
        findings=folder / "findings", data_docs=folder / "docs", suspects=folder / "suspects",
        choices=folder / "choices.json", label_weights=folder / "label_weights.parquet",
        params=stage_params(validate.Params, "validate"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("column", "values"),
    [(name, BROKEN) for name in ("id", "text", "group", "annotator", "split", "source", "note")]
    + [("labels", BROKEN_LIST), ("note", BROKEN_LIST), ("labels", MAPS)],
)
def test_a_corpus_that_cannot_be_read_names_its_column(
    tmp_path: Path, column: str, values: pa.Array
) -> None:
    with pytest.raises(DataError, match=f"corpus.parquet: column '{column}' "):
        validated(tmp_path, {"corpus.parquet": SOUND | {column: values}})


@pytest.mark.parametrize("column", ["id", "annotator", "labels"])
def test_judgments_that_are_not_utf_8(tmp_path: Path, column: str) -> None:
    wrong = BROKEN_LIST if column == "labels" else BROKEN
    rows = {"id": ["1"], "annotator": ["x"], "labels": [["a"]]} | {column: wrong}
    with pytest.raises(DataError, match="annotations.parquet is not a readable file of judgments"):
        validated(tmp_path, {"corpus.parquet": SOUND, "annotations.parquet": rows})


def bomb(key: str) -> bytes:
    """Nine lists of nine lists of …: a few hundred bytes that are 40 million values."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for inner, outer in zip("abcdefg", "bcdefgh", strict=True):
        lines.append(f"{outer}: &{outer} [{','.join([f'*{inner}'] * 9)}]")
    return "\n".join([*lines, f"{key}: *h"]).encode()


@pytest.mark.parametrize(
    "content",
    [bomb("labels"), bomb("other"), b"[" * 5000, b"labels: [2026-13-45]",
     b"labels: [" + b"9" * 5000, b"&a [*a]", b"aliases: {" + b"x" * 900 + b": y}\nlabels: [z]"],
)  # fmt: skip
def test_labels_yaml_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.yaml").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_allowed(tmp_path / "labels.yaml")
    assert len(str(caught.value)) < 600


def test_a_zone_that_does_not_exist(tmp_path: Path) -> None:
    moment = pa.array([dt.datetime(2026, 1, 1)], pa.timestamp("us", "Mars/Base"))
    with pytest.raises(DataError, match="column 'note'"):
        validated(tmp_path, {"corpus.parquet": SOUND | {"note": moment}})
