"""Every file format: what is read, and faults of form named by file, row and column."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components._sources.csv_files import read_csv
from components._sources.doccano import read_doccano
from components._sources.jsonl_files import read_jsonl
from components._sources.label_studio import read_label_studio
from components._sources.onehot import read_onehot
from components._sources.parquet_files import read_parquet
from components._sources.rows import FileFormat
from components.ingest import SOURCES
from longtail.errors import DataError, ParameterError

READ = {"csv": read_csv, "tsv": read_csv, "onehot": read_onehot, "jsonl": read_jsonl}
READ |= {"parquet": read_parquet, "label_studio": read_label_studio, "doccano": read_doccano}
FILES = {"paths"}


def test_every_file_format_is_tested():
    formats = {name for name, source in SOURCES.items() if FILES & {p.name for p in source.options}}
    assert formats <= READ.keys() and len(formats) >= 4


def read(tmp_path: Path, kind: str, content: str | bytes | dict, **form: object) -> dict[str, list]:
    path = tmp_path / f"in.{kind}"
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return READ[kind](path, FileFormat(**form)).columns  # type: ignore[arg-type]


def test_csv_with_other_names_and_separators(tmp_path):
    text = '\ufeffKey;Body;Tags;when\n1;"a ""b""; c\nd";x| y ;2026-01-02T03:04:05+02:00\n2;;;\n'
    names = {"id_column": "Key", "text_column": "Body", "labels_column": "Tags"}
    columns = read(tmp_path, "csv", text, separator=";", label_separator="|", **names)
    assert columns == {
        "id": ["1", "2"],
        "text": ['a "b"; c\nd', ""],
        "labels": [["x", "y"], []],
        "when": ["2026-01-02T03:04:05+02:00", ""],
    }


def test_optional_columns_are_typed(tmp_path):
    text = "id,text,labels,annotated_at,split,group\n1,x,a,2026-01-02T03:04+02:00,val,\n2,y,a,,,g\n"
    columns = read(tmp_path, "csv", text)
    assert columns["annotated_at"] == [dt.datetime(2026, 1, 2, 1, 4), None]
    assert columns["split"] == ["val", None] and columns["group"] == [None, "g"]


def test_tsv_is_split_at_tabs(tmp_path):
    assert read(tmp_path, "tsv", "id\ttext\tlabels\n1\ta, b\tx,y\n")["labels"] == [["x", "y"]]


def test_blank_labels_and_variants_are_left_to_validation(tmp_path):
    assert read(tmp_path, "csv", 'id,text,labels\n1,x,"a,,A"\n')["labels"] == [["a", "", "A"]]


def test_latin_1_is_read_if_the_encoding_is_given(tmp_path):
    content = "id,text,labels\n1,café,a\n".encode("latin-1")
    assert read(tmp_path, "csv", content, encoding="latin-1")["text"] == ["café"]


def test_onehot(tmp_path):
    text = "text,a,id,b,place,c\nx,1,7,0,Oslo,1\ny,0.0,8,1.0,,0\nz,0,9,0,,0\n"
    columns = read(tmp_path, "onehot", text, metadata_columns=("place",))
    assert columns["labels"] == [["a", "c"], ["b"], []]
    assert columns["id"] == ["7", "8", "9"] and columns["place"] == ["Oslo", "", ""]
    assert set(columns) == {"id", "text", "labels", "place"}


def test_onehot_with_a_single_label_column(tmp_path):
    assert read(tmp_path, "onehot", "id,text,a\n1,x,1\n2,y,0\n")["labels"] == [["a"], []]


def test_jsonl_with_missing_keys_and_blank_lines(tmp_path):
    first = '{"id": 1, "text": "x", "labels": ["a", "b, c"]}'
    text = first + '\n\n{"id": "2", "text": "", "labels": [], "group": "g"}\n'
    assert read(tmp_path, "jsonl", text) == {
        "id": ["1", "2"],
        "text": ["x", ""],
        "labels": [["a", "b, c"], []],
        "group": [None, "g"],
    }


def test_parquet_with_labels_in_one_string(tmp_path):
    content = {"id": ["1"], "text": ["x"], "labels": ["a;b"], "n": [3]}
    columns = read(tmp_path, "parquet", content, label_separator=";")
    assert columns == {"id": ["1"], "text": ["x"], "labels": [["a", "b"]], "n": [3]}


def test_20_mb_in_one_text_are_read(tmp_path):
    long = "é" * 20_000_000
    assert read(tmp_path, "csv", f"id,text,labels\n1,{long},a\n")["text"] == [long]


def test_a_text_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    for module in ("_sources.rows", "_formats.csv_rows"):
        monkeypatch.setattr(f"components.{module}.MAX_CELL", 1000)
    beyond = "x" * 1001
    with pytest.raises(DataError, match=r"row 1 \(line 2\).*field larger than field limit"):
        read(tmp_path, "csv", f"id,text,labels\n1,{beyond},a\n")
    with pytest.raises(DataError, match="row 1, column 'text': the text has 1,001 characters"):
        read(tmp_path, "parquet", {"id": ["1"], "text": [beyond], "labels": [["a"]]})


H = "id,text,labels\n"
J = '{"id": "1", "text": "x", "labels": ["a"]}\n'
L = """[{"id": 5, "data": {"id": "1", "text": "x"}, "annotations": [{"id": 6, "completed_by": 1,
"updated_at": "2026-01-02T03:04:05Z", "result": [
{"from_name": "labels", "to_name": "text", "type": "choices", "value": {"choices": ["a"]}}]}]}]"""
FAULTS = [
    ("csv", "", "in.csv is empty"),
    ("csv", "\n\n", "only blank lines"),
    (
        "csv",
        "Key;Body;Tags\n1;x;a\n",
        "no column 'id'.*'Key;Body;Tags'.*pass --separator ';'",
    ),
    ("csv", "id,text,Labels\n1,x,a\n", "no column 'labels'.*'id', 'text', 'Labels'"),
    ("csv", "id,text,labels,text\n", "column 'text' appears twice"),
    ("csv", ",id,text,labels\n0,1,x,a\n", "column 1 has no name"),
    ("csv", H + "1,x,a\n\n ,y,a\n", r"row 2 \(line 4\), column 'id': the id is missing"),
    (
        "csv",
        H + "1,x,a\n2,y,a\n1,z,a\n",
        r"row 3 \(line 4\), column 'id': '1' also appears in row 1",
    ),
    ("csv", H + '1,"x\ny",a\n2,x,a,b\n', r"row 2 \(line 4\) has 4 cells, expected 3"),
    ("csv", H + '1,x,a\n2,"b "q" c",a\n', r"row 2 \(line 3\) is not valid CSV.*stray quote"),
    ("csv", H + '1,x,a\n2,"open,a\n3,y,a\n', r"row 2 \(line 3\) is not valid CSV.*stray quote"),
    ("csv", (H + "1,x,a\n2,café,a\n").encode("latin-1"), r"line 3, byte 26 .*\(0xe9\).*--encoding"),
    ("csv", (H + "1,x,a\n").encode("utf-16"), "UTF-16, not utf-8"),
    ("csv", "id,text,labels,split\n1,x,a,dev\n", "row 1.*'split': expected train, val, test"),
    ("csv", "id,text,labels,annotated_at\n1,x,a,soon\n", "row 1.*'annotated_at': expected a date"),
    ("onehot", "id,text,a\n1,x,1\n2,y,yes\n", r"row 2 \(line 3\), column 'a': expected 0 or 1"),
    ("onehot", "id,text,a,b\n1,x,1,\n", "row 1.*column 'b': expected 0 or 1, got ''"),
    ("onehot", "id,text\n1,x\n", "no label column"),
    ("onehot", "key,text,a\n1,x,1\n", "no column 'id'"),
    ("jsonl", J + "{oops\n", "line 2 cannot be read as JSON"),
    ("jsonl", J + "[1]\n", "line 2: expected a JSON object, got list"),
    ("jsonl", J + "\n" + J.replace('["a"]', "null"), r"row 2 \(line 3\), column 'labels'.*null"),
    ("jsonl", J.replace('["a"]', '"a"'), "'labels': expected a list.*--label-separator"),
    ("jsonl", J.replace('"x"', "null"), "row 1.*'text': expected a string, got null"),
    ("jsonl", J.replace('"x"', '"\\ud800"'), "row 1.*'text'.*surrogate"),
    ("jsonl", J.replace('["a"]', "[1]"), "row 1.*'labels': expected a string, got int 1"),
    ("jsonl", J.replace('"1"', "true"), "row 1.*'id': expected a string, got bool True"),
    ("doccano", J.replace("labels", "tags"), "no column 'labels'.*, 'tags'. Name it"),
    ("doccano", J.replace('["a"]', "[]"), "none of 1 documents has labels.*--empty-labels"),
    ("doccano", J + "\n" + J.replace('["a"]', "[[0, 4, 7]]"), r"row 2 \(line 3\), column 'labels'"),
    ("doccano", "PK\x03\x04 all.zip", "a ZIP archive.*unpack it"),
    ("label_studio", "{", "not valid JSON"),
    ("label_studio", "{}", "expected a list of tasks, got dict"),
    ("label_studio", "[]", "no tasks"),
    ("label_studio", "[7]", "task 1: expected an object, got int"),
    ("label_studio", '[{"id": 1, "annotation_id": 2}]', "task 1 is of the format JSON_MIN"),
    ("label_studio", '[{"data": {"text": "x"}}]', "task 1.*`annotations`.*got 'data'"),
    ("label_studio", '[{"data": {}, "annotations": [7]}]', "task 1: expected annotations that are"),
    (
        "label_studio",
        '[{"id": 5, "data": {}, "annotations": [{"id": 6, "result": "x"}]}]',
        "task 5, annotation 6: expected `result`.*'x'",
    ),
    (
        "label_studio",
        '[{"data": {}, "annotations": []}, {"data": {}, "annotations": [{"was_cancelled": true}]}]',
        r"no annotations \(1 skipped annotations, 1 tasks without an annotation\)",
    ),
    (
        "label_studio",
        L.replace('"labels"', '"topic"'),
        r"no choices named 'labels'.*'topic \(choices",
    ),
    ("label_studio", L.replace('"choices"', '"labels"'), r"no choices named.*'labels \(labels\)'"),
    ("label_studio", L.replace('"text"', '"body"'), "no column 'text' for the text.*'id', 'body'"),
    ("label_studio", L.replace("2026", "soon"), "row 1, column 'annotated_at': expected a date"),
    ("parquet", b"PAR1 cut", "not a readable Parquet file"),
    ("parquet", {"id": [1.5], "text": ["x"], "labels": [["a"]]}, "row 1, column 'id'.*float"),
    ("parquet", {"id": ["1", None], "text": ["", ""], "labels": [[], []]}, "row 2, column 'id'"),
    ("parquet", {"id": ["1"], "text": ["x"], "labels": [["a", None]]}, "row 1.*'labels'.*null"),
    ("parquet", {"id": ["1"], "text": ["x"], "tags": [["a"]]}, "no column 'labels'.*'tags'"),
]


@pytest.mark.parametrize(("kind", "content", "message"), FAULTS)
def test_a_fault_of_form_is_named(tmp_path, kind, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, kind, content)
    assert str(tmp_path / f"in.{kind}") in str(caught.value)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    for reader in READ.values():
        with pytest.raises(DataError, match="is a folder, expected a file"):
            reader(tmp_path, FileFormat())
        with pytest.raises(DataError, match="does not exist"):
            reader(tmp_path / "gone", FileFormat())


def test_a_truncated_parquet_is_refused(tmp_path):
    content = {"id": ["1"], "text": ["x" * 1000], "labels": [["a"]]}
    read(tmp_path, "parquet", content)
    whole = (tmp_path / "in.parquet").read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 10):
        with pytest.raises(DataError, match="truncated"):
            read(tmp_path, "parquet", whole[:size])


def test_wrong_settings_are_parameter_errors(tmp_path):
    text = H + "1,x,a\n"
    for form in ({"separator": "::"}, {"label_separator": ""}, {"encoding": "latn-1"}):
        with pytest.raises(ParameterError, match=f"--{next(iter(form)).replace('_', '-')}"):
            read(tmp_path, "csv", text, **form)


def test_a_column_that_would_hide_another_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is also a column 'text'"):
        read(tmp_path, "csv", "id,text,body,labels\n1,x,y,a\n", text_column="body")
