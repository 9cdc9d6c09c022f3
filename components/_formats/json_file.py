"""JSON files of the pipeline: written whole, and read with one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components._frame.files import written
from longtail.errors import DataError


def write_json(
    value: Any, path: Path, *, indent: int | None = None, allow_nan: bool = False
) -> None:
    """Write `value`; a NaN, which is not JSON, is an error unless it is allowed."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=allow_nan)
    with written(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, *, maker: str = "dvc repro") -> Any:
    """The content of `path`; DataError names `maker`, the command that writes it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run `{maker}` first.") from None
    except ValueError as error:
        raise DataError(
            f"{path} is not valid JSON ({error}); remove it and run `{maker}`."
        ) from None
