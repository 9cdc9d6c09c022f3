"""What a request's body asks: texts and parameters in the forms of MLflow's protocol."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

# Of one request: what a core answers within a minute.
MOST_BYTES, MOST_TEXTS = 8_000_000, 1000
MOST_LABELS = 1_000_000
TOO_MANY = f"The request has more than {MOST_TEXTS:,} texts; send it in pieces."
FORMS = ("inputs", "instances", "dataframe_records", "dataframe_split")
csv.field_size_limit(MOST_BYTES)


class Asked(NamedTuple):
    """Texts, and `top_k` and `threshold` where they are given."""

    texts: list[str]
    params: dict[str, Any]


class RefusedError(Exception):
    """A request that is not answered; the message says what is wrong with it."""


def parse(body: bytes, content_type: str) -> Asked:
    """The texts and parameters of a request.

    Args:
        body: of the request.
        content_type: `application/json` or `text/csv`, with or without parameters.

    Raises:
        RefusedError: with a reason for whoever sent it.
    """
    if len(body) > MOST_BYTES:
        raise too_large(len(body))
    kind, _, options = (part.strip().lower() for part in content_type.partition(";"))
    if "charset" in options and "utf-8" not in options:
        raise RefusedError(f"The content type has {options[:60]!r}, expected UTF-8.")
    if kind == "application/json":
        asked = _of_json(body)
    elif kind == "text/csv":
        asked = Asked(_of_csv(body), {})
    else:
        raise RefusedError(
            f"The content type is {kind[:60]!r}, expected application/json or text/csv."
        )
    if not asked.texts:
        raise RefusedError("The request has no text, expected at least one.")
    if len(asked.texts) > MOST_TEXTS:
        raise RefusedError(TOO_MANY)
    _check_texts(asked.texts)
    return asked


def too_large(n_bytes: int) -> RefusedError:
    """What is said of a body of so many bytes."""
    return RefusedError(f"The request has {n_bytes:,} bytes, expected at most {MOST_BYTES:,}.")


def _of_json(body: bytes) -> Asked:
    try:
        request = json.loads(body)
    except RecursionError:
        raise RefusedError("The request is nested too deeply.") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise RefusedError(f"The request is not valid JSON: {error}") from None
    if not isinstance(request, dict) or not any(form in request for form in FORMS):
        raise RefusedError(f"The request must be a JSON object with one of: {', '.join(FORMS)}.")
    if len(forms := [form for form in FORMS if form in request]) > 1:
        raise RefusedError(f"The request has {' and '.join(forms)}, expected one of them.")
    texts = _column(request)
    if texts is None:
        raise RefusedError("The request has no column 'text', expected a list of texts in it.")
    return Asked(texts, _params(request.get("params")))


def _of_csv(body: bytes) -> list[str]:
    texts: list[str] = []
    try:
        text = body.decode("utf-8-sig")
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(rows, [])
        if header.count("text") != 1:
            raise RefusedError(
                f"The request has {header.count('text')} columns 'text', expected one."
            )
        for number, row in enumerate((row for row in rows if row), 1):
            if len(row) != len(header):
                raise RefusedError(
                    f"Row {number}: {len(row)} columns, expected {len(header)}; quote a text with "
                    "commas."
                )
            if number > MOST_TEXTS:
                raise RefusedError(TOO_MANY)
            texts.append(row[header.index("text")])
    except (UnicodeDecodeError, csv.Error) as error:
        raise RefusedError(f"The request is not valid CSV in UTF-8: {error}") from None
    return texts


def _column(request: dict[str, Any]) -> list[Any] | None:
    """The texts in any of the forms that MLflow's server knows; None if they are not there."""
    if "dataframe_split" in request:
        return _of_split(request["dataframe_split"])
    [given] = (request[form] for form in FORMS[:-1] if form in request)
    if isinstance(given, dict) and "text" in given:  # columns
        return given["text"] if isinstance(given["text"], list) else [given["text"]]
    if not isinstance(given, list):
        return None if given is None or isinstance(given, dict) else [given]
    return [row.get("text", row) if isinstance(row, dict) else row for row in given]


def _of_split(split: Any) -> list[Any] | None:
    if not isinstance(split, dict):
        return None
    names, rows = split.get("columns"), split.get("data")
    if not isinstance(names, list) or not isinstance(rows, list) or names.count("text") != 1:
        return None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != len(names):
            raise RefusedError(f"Row {number}: expected a list of {len(names)} values.")
    return [row[names.index("text")] for row in rows]


def _check_texts(texts: Sequence[Any]) -> None:
    for row, text in enumerate(texts, 1):
        if not isinstance(text, str):
            kind = "missing" if text is None else json.dumps(text)[:60]
            raise RefusedError(f"Row {row}: 'text' is {kind}, expected a string.")
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            raise RefusedError(f"Row {row}: 'text' has half of a character (a lone surrogate).")


def _params(given: Any) -> dict[str, Any]:
    """Those that a version's signature has, without nulls."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise RefusedError(f"'params' is {json.dumps(given)[:60]}, expected an object.")
    for name, value in given.items():
        if name not in ("top_k", "threshold"):
            raise RefusedError(f"Unknown parameter {name[:60]!r}; valid: threshold, top_k.")
        kind = int if name == "top_k" else (int, float)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            what = "an integer" if name == "top_k" else "a number"
            raise RefusedError(f"params.{name} is {json.dumps(value)[:60]}, expected {what}.")
    top_k, threshold = given.get("top_k"), given.get("threshold")
    if top_k is not None and not 1 <= top_k < MOST_LABELS:
        raise RefusedError(
            f"params.top_k must be at least 1 and below {MOST_LABELS:,}, got {str(top_k)[:20]}."
        )
    if threshold is not None and not 0 <= threshold <= 1:
        raise RefusedError(f"params.threshold must be between 0 and 1, got {str(threshold)[:20]}.")
    return {name: value for name, value in given.items() if value is not None}
