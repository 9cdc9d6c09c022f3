"""Strange files: texts and bytes that people hand over by mistake or by malice, and Parquet."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import zipfile
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

ROW = {"id": "a", "text": "A small program.", "labels": ["use::editing", "role::program"]}
HTML = "<!--" * 40_000
WEIRD_TEXTS = (
    None, "", " ", "\u0000", "\u202eabc", "\ufeff", "x" * 1_000_000, "\U0001f600" * 500, HTML,
    "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "price <![ 5", 3, 2.5, True, [], {}, ["a"],
)  # fmt: skip
WEIRD_LABELS = (
    None, "", "a,b", "a|b", "a;b", '["a", "b"]', "['a', 'b']", [], [None], [""], ["a", "a"], [1],
    [["a"]], {"a": 1}, ["a", None], 5, True, [" a"], ["a\nb"], ["</script><script>x</script>"],
    [f"l{i}" for i in range(5000)], ["x" * 100_000],
)  # fmt: skip
WEIRD_IDS = (None, "", " ", 0, -1, 1.5, True, [], {}, "a\nb", "x" * 100_000, "../../etc", 10**30)
WEIRD_DATES = (
    None, "", "yesterday", "0001-01-01", "9999-12-31T23:59:59+14:00", "2026-13-40", 0, -1, 1e300,
    "2026-01-01T00:00:00 Mars/Base", [], "0001-01-01T00:00:00+14:00", True,
)  # fmt: skip
WEIRD_GROUPS = (None, "", 1, [], {}, True, "x" * 100_000)


def _line(**changed: object) -> str:
    return json.dumps(ROW | changed)


def json_lines() -> dict[str, bytes]:
    """JSON Lines, by what is strange about them."""
    found = {f"text {str(v)[:20]!r}": _line(text=v) for v in WEIRD_TEXTS}
    found |= {f"labels {str(v)[:20]!r}": _line(labels=v) for v in WEIRD_LABELS}
    found |= {f"id {str(v)[:20]!r}": _line(id=v) for v in WEIRD_IDS}
    found |= {f"annotated_at {str(v)[:28]!r}": _line(annotated_at=v) for v in WEIRD_DATES}
    found |= {f"group {str(v)[:20]!r}": _line(group=v) for v in WEIRD_GROUPS}
    found |= {
        f"column {name!r}": _line(**{name: value})
        for name, value in (
            ("length", 3), ("reasons", "x"), ("split", "val"), ("split", "nowhere"), ("source", 1),
            ("annotator", None), ("", 1), ("a\ud800", 1), ("x" * 10_000, 1), ("empty", {}),
            ("nested", {"a": {"b": [1, {"c": None}]}}), ("list", [1, "a", None]),
        )
    }  # fmt: skip
    found |= {
        "no text": '{"id": "a", "labels": ["b"]}',
        "no labels": '{"id": "a", "text": "b"}',
        "no id": '{"text": "a b", "labels": ["b"]}',
        "an array": "[1, 2]",
        "a number": "3",
        "null": "null",
        "truncated": '{"id": "a", "text": "b',
        "nested 150 deep": _line(meta="@").replace('"@"', '{"a":' * 150 + "1" + "}" * 150),
        "nested 100,000 deep": _line(meta="@").replace('"@"', "[" * 100_000 + "]" * 100_000),
        "a number of 5,000 digits": _line(n="@").replace('"@"', "9" * 5000),
        "a lone surrogate": '{"id": "a", "text": "\\ud800", "labels": ["b"]}',
        "NaN": '{"id": "a", "text": "b", "labels": ["c"], "n": NaN}',
        "Infinity": '{"id": "a", "text": "b", "labels": ["c"], "n": -Infinity}',
        "one key twice": '{"id": "a", "id": "b", "text": "c", "labels": ["d"]}',
        "one id twice": _line() + "\n" + _line(text="Another."),
        "columns of two kinds": "\n".join(
            _line(id=f"{i}", n=n) for i, n in enumerate((1, "x", [], {}, None))
        ),
        "pretty": json.dumps(ROW, indent=2),
        "an array of rows": json.dumps([ROW]),
        "blank lines": "\n\n" + _line() + "\n\n\n",
        "5 MB in a line": _line(text="word " * 1_000_000),
        "3,000 columns": _line(**{f"c{i}": i for i in range(3000)}),
    }
    return {name: text.encode("utf-8", "surrogatepass") for name, text in found.items()}


def csv_files() -> dict[str, bytes]:
    """CSV, by what is strange about it."""
    head = "id,text,labels\n"
    cells = (
        '"[\'a\', \'b\']"', '"[""a"", ""b""]"', "a;b", "a|b", '"a,b"', "", '" a , b "', "=1+1",
        '"</script>"', '"a\nb"', "nan", "NULL", '"a,a"', ",,", '"a,,b"', "a/b", "a\tb",
    )  # fmt: skip
    found = {f"labels {cell!r}": f"{head}1,some text,{cell}\n" for cell in cells}
    found |= {
        "no header": "1,some text,a\n2,other text,b\n",
        "header only": head,
        "semicolons": "id;text;labels\n1;some text;a\n",
        "tabs": "id\ttext\tlabels\n1\tsome text\ta\n",
        "one column twice": "id,text,text,labels\n1,a,b,c\n",
        "a quote that does not end": f'{head}1,"some text,a\n2,other,b\n',
        "a NUL": f"{head}1,some\0text,a\n",
        "carriage returns only": head.replace("\n", "\r") + "1,some text,a\r",
        "too many cells": f"{head}1,some text,a,b,c\n",
        "too few cells": f"{head}1\n",
        "an empty name": "id,text,labels,\n1,a,b,c\n",
        "unnamed index": ",id,text,labels\n0,1,some text,a\n",
        "3,000 columns": "id,text,labels," + ",".join(f"c{i}" for i in range(3000)) + "\n1,a,b,\n",
        "a cell of 1 MB": f"{head}1,{'word ' * 200_000},a\n",
        "an id in two cases": f"{head}a,some text,x\nA,other text,y\n",
        "one id twice": f"{head}a,some text,x\na,other text,y\n",
        "column text missing": "id,body,labels\n1,a,b\n",
        "reserved columns": "id,text,labels,length,reasons,split\n1,a,b,3,x,val\n",
        "direction marks": f"{head}1,\u202eevil,\u202elabel\n",
    }
    return {name: text.encode() for name, text in found.items()}


def foreign() -> dict[str, bytes]:
    """Bytes that are something else than what they are called."""
    text = "id,text,labels\n1,some text,a\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    return {
        "nothing": b"",
        "a newline": b"\n",
        "NULs": bytes(1000),
        "UTF-16": text.encode("utf-16"),
        "UTF-16 without its mark": text.encode("utf-16-le"),
        "UTF-32": text.encode("utf-32"),
        "UTF-8 with its mark": b"\xef\xbb\xbf" + text.encode(),
        "Latin-1": "id,text,labels\n1,caf\u00e9,a\n".encode("latin-1"),
        "gzip": gzip.compress(text.encode()),
        "a spreadsheet": archive.getvalue(),
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        "Parquet": parquet(pa.table({"id": ["1"], "text": ["some text"], "labels": [["a"]]})),
        "Parquet cut off": parquet(pa.table({"id": ["1"], "text": ["a"]}))[:-20],
        "random bytes": bytes((i * 7919 + i * i) % 256 for i in range(5000)),
        "HTML": b"<html><body>Please log in</body></html>",
        "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
    }


def parquet(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target)
    return target.getvalue()


def parquet_files() -> dict[str, bytes]:
    """Parquet of other tools, by what is strange about it."""
    offsets = pa.array([0, 2], pa.int32()).buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    text, ids, labels = pa.array(["some text"]), pa.array(["1"]), pa.array([["a"]])
    instant = dt.datetime(2026, 1, 1)
    columns = {
        "text": [
            broken, pa.array([b"\xff"]), pa.array([1]), pa.array([None], pa.string()),
            pa.array([["a"]]), pa.array(["a"]).dictionary_encode(), pa.array([{"a": 1}]),
            pa.array(["a"], pa.large_string()), pa.array(["a"], pa.string_view()), pa.nulls(1),
        ],
        "id": [
            broken, pa.array([1.5]), pa.array([instant]), pa.array([Decimal("1.10")]), pa.nulls(1),
            pa.array([True]), pa.array([b"\xff"]), pa.array([["a"]]),
            pa.array([2**63], pa.uint64()),
        ],
        "labels": [
            pa.array(["a,b"]), pa.array([[1]]), pa.array([[None]], pa.list_(pa.string())),
            pa.array([{"a": True}]), pa.nulls(1), pa.array([[["a"]]]), pa.array([5]), broken,
            pa.array([["a"]], pa.large_list(pa.string())), pa.array([[]], pa.list_(pa.string())),
            pa.array([["a"]], pa.list_(pa.string(), 1)), pa.array([[b"\xff"]]),
            pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string())),
        ],
        "annotated_at": [
            pa.array([instant], pa.timestamp("ns", "Europe/Berlin")), pa.array([dt.time(3)]),
            pa.array([dt.date(1, 1, 1)]), pa.array([2**53], pa.timestamp("ms")), pa.array([3]),
            pa.array([instant], pa.timestamp("us", "Mars/Base")),
            pa.array([-1], pa.timestamp("ns")), pa.array([3], pa.duration("ms")),
            pa.array([253_402_300_799], pa.timestamp("s", "+14:00")),
        ],
        "group": [pa.array([1]), pa.array([["a"]]), pa.nulls(1), broken, pa.array([1.5])],
        "extra": [
            pa.array([Decimal("1.1")]), broken, pa.array([b"\xff"]),
            pa.array([dt.timedelta(1)]), pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        ],
    }  # fmt: skip
    found: dict[str, bytes] = {}
    for name, variants in columns.items():
        for i, array in enumerate(variants):
            whole = {"id": ids, "text": text, "labels": labels} | {name: array}
            found[f"{name}: {array.type} {i}"] = parquet(pa.table(whole))
    plain = {"id": ids, "text": text, "labels": labels}
    found["no rows"] = parquet(pa.table(plain).slice(0, 0))
    found["no columns"] = parquet(pa.table({}))
    found["one column twice"] = parquet(
        pa.Table.from_arrays([ids, text, text, labels], ["id", "text", "text", "labels"])
    )
    found["2,000 columns"] = parquet(pa.table(plain | {f"c{i}": ids for i in range(2000)}))
    return found
