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


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"text\n", "text/csv", "no text, expected at least one"),
        (b"words\na\n", "text/csv", "no column 'text'"),
        (b"text\n\xff\n", "text/csv", "not valid CSV in UTF-8"),
        (b"id,text\n1\n", "text/csv", "Row 1: 'text' is missing"),
        (b"{}", "text/plain", "content type is 'text/plain', expected application/json"),
        (b"{}", "", "content type is ''"),
        (b'{"inputs": ["a"], "instances": ["b"]}', JSON, "has inputs and instances, expected one"),
        (b"text\n" + b"a\n" * (MOST_TEXTS + 1), "text/csv", "1,001 texts, expected at most 1,000"),
        (b" " * (MOST_BYTES + 1), JSON, "8,000,001 bytes"),
    ],
)
def test_what_is_refused_says_why(body: bytes, kind: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        parse(body, kind)
