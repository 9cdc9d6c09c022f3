"""JSON Lines: one object per line, `labels` a list of strings."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

from components._sources.csv_files import wrong_encoding
from components._sources.form import Form, Rows, checked_file, codec, named, typed
from longtail.errors import DataError


def read_jsonl(path: Path, form: Form) -> Rows:
    """The objects as rows; a key that some objects lack is null there. Blank lines are skipped."""
    lines, objects = array("q"), []
    encoding = codec(form.encoding)
    try:
        with open(checked_file(path), encoding=encoding) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    objects.append(_object(f"{path}: line {number}", line))
                    lines.append(number)
    except UnicodeError:
        raise wrong_encoding(path, form.encoding) from None
    if not objects:
        raise DataError(f"{path} holds only blank lines, expected one JSON object per line.")
    names = dict.fromkeys(name for item in objects for name in item)
    columns = {name: [item.get(name) for item in objects] for name in names}
    return typed(named(Rows(str(path), columns, lines), form), form)


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            f"{where} is not JSON ({error}); expected one object per line, such as "
            '{"id": "7", "text": "…", "labels": ["a", "b"]}.'
        ) from None
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(found).__name__}.")
    return found
