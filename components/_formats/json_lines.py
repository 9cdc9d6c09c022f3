"""Reads a JSON Lines file object by object; errors name the line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components._formats.text_file import open_text
from longtail.errors import DataError


def json_objects(path: Path | None, encoding: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each line that is not blank; None reads standard input."""
    found = False
    with open_text(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                found = True
                yield number, _object(f"{path or 'stdin'}: line {number}", line)
    if not found:
        raise DataError(
            f"{path or 'stdin'} has only blank lines, expected one JSON object per line."
        )


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition(";")[0]  # of Python, whose settings are not the reader's
        raise DataError(
            f"{where} cannot be read as JSON ({reason}); expected one object per line, such as "
            '{"id": "7", "text": "…", "labels": ["a", "b"]}.'
        ) from None
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(found).__name__}.")
    return found
