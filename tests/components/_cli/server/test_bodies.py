"""What a request asks, and why it is refused (over HTTP: `_registry/test_serving_http.py`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components._cli.server.bodies import MOST_BYTES, MOST_TEXTS, Asked, RefusedError, parse

JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"inputs": ["ant", "bee"]}, ["ant", "bee"]),
        ({"inputs": "ant"}, ["ant"]),
        ({"inputs": {"text": "ant"}}, ["ant"]),
        ({"inputs": {"text": ["ant"], "other": [1]}}, ["ant"]),
        ({"instances": [{"text": "ant"}, {"text": "bee"}]}, ["ant", "bee"]),
        ({"dataframe_records": [{"text": "ant"}]}, ["ant"]),
        ({"dataframe_split": {"columns": ["id", "text"], "data": [[1, "ant"]]}}, ["ant"]),
    ],
)
def test_every_form_of_mlflow_gives_the_texts(body: dict[str, Any], texts: list[str]) -> None:
    assert parse(json.dumps(body).encode(), JSON) == Asked(texts, {})


def test_parameters_that_are_null_are_as_if_they_were_not_there() -> None:
    body = {"inputs": ["ant"], "params": {"top_k": 3, "threshold": None}}
    assert parse(json.dumps(body).encode(), f"{JSON}; charset=utf-8").params == {"top_k": 3}


def test_csv_with_quotes_a_mark_of_order_and_other_columns() -> None:
    body = '\ufeffid,text\n1,"an ant,\nand a bee"\n2,\n'.encode()
    assert parse(body, "text/csv").texts == ["an ant,\nand a bee", ""]


def test_a_text_of_a_megabyte_is_read_from_csv_too() -> None:
    assert parse(b"text\n" + b"a" * 1_000_000 + b"\n\n", "text/csv").texts == ["a" * 1_000_000]


def test_a_wide_header_over_short_rows_is_refused_at_once() -> None:
    """A row of dictionaries took a gigabyte for these 50 kB."""
    body = b"text" + b",c" * 5000 + b"\n" + b"a\n" * 10_000
    with pytest.raises(RefusedError, match="Row 1: 1 columns, expected 5001"):
        parse(body, "text/csv")


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"text\n", "text/csv", "no text, expected at least one"),
        (b"words\na\n", "text/csv", "0 columns 'text', expected one"),
        (b"text\n\xff\n", "text/csv", "not valid CSV in UTF-8"),
        (b"id,text\n1\n", "text/csv", "Row 1: 1 columns, expected 2"),
        (b"{}", "text/plain", "content type is 'text/plain', expected application/json"),
        (b"{}", "", "content type is ''"),
        (b'{"inputs": ["a"], "instances": ["b"]}', JSON, "has inputs and instances, expected one"),
        (b"text\n" + b"a\n" * (MOST_TEXTS + 1), "text/csv", "more than 1,000 texts"),
        (b"text\nHello, world\n", "text/csv", "Row 1: 2 columns, expected 1; quote a text"),
        (b'text\n"abc\nb\n', "text/csv", "unexpected end of data"),
        (b'text\n"a"b"\n', "text/csv", "not valid CSV"),
        (b"text,text\na,b\n", "text/csv", "2 columns 'text', expected one"),
        (b"text\na\n", "text/csv; charset=latin-1", "'charset=latin-1', expected UTF-8"),
        (b'{"dataframe_split": {"columns": ["id", "text"], "data": ["ab"]}}', JSON, "list of 2"),
        (b'{"dataframe_split": {"columns": ["text", "text"], "data": []}}', JSON, "no column 'te"),
        (b" " * (MOST_BYTES + 1), JSON, "8,000,001 bytes"),
    ],
)
def test_what_is_refused_says_why(body: bytes, kind: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        parse(body, kind)
