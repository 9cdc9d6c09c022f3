"""JSON files of the pipeline: written whole, and read with one sentence for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Collection
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


def read_json(
    path: Path, *, maker: str = "dvc repro", keys: Collection[str] = ()
) -> dict[str, Any]:
    """The object in `path`.

    Args:
        path: the file.
        maker: the command that writes it, which the errors name.
        keys: what the object must have.

    Raises:
        DataError: there is no such file, or it is not one that `maker` has written.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run `{maker}` first.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not valid JSON ({error}); remove it and run `{maker}`."
        ) from None
    lacking = sorted(set(keys) - found.keys()) if isinstance(found, dict) else ["an object"]
    if lacking:
        raise DataError(
            f"{path} was not written by `{maker}`: it lacks {', '.join(lacking)}. Remove it and "
            f"run `{maker}`."
        )
    return found
