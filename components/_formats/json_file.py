"""JSON files of the pipeline: written whole, and read with one sentence for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from components._frame.files import written
from longtail.errors import DataError

# What a value must be: of a type, or an object with these keys, each with its shape.
Shape = type | tuple[type, ...] | Mapping[str, "Shape"]
NUMBER = (int, float)


def write_json(
    value: Any, path: Path, *, indent: int | None = None, allow_nan: bool = False
) -> None:
    """Write `value`; a NaN, which is not JSON, is an error unless it is allowed.

    A file that says so already keeps its time, by which others know what is new.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=allow_nan) + "\n"
    with suppress(OSError):
        if path.read_bytes() == text.encode():
            return
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(
    path: Path, *, maker: str = "dvc repro", keys: Collection[str] | Mapping[str, Shape] = ()
) -> dict[str, Any]:
    """The object in `path`.

    Args:
        path: the file.
        maker: the command that writes it, which the errors name.
        keys: what the object must have; with their shapes, if they are a mapping.

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
    shape = keys if isinstance(keys, Mapping) else dict.fromkeys(keys, object)
    if lacking := sorted(_lacking(found, shape, "")):
        raise DataError(
            f"{path} was not written by `{maker}`: it lacks {', '.join(lacking)}. Remove it and "
            f"run `{maker}`."
        )
    return dict(found)


def _lacking(found: Any, shape: Shape, where: str) -> Iterator[str]:
    """The places at which `found` is not of that shape."""
    if not isinstance(shape, Mapping):
        if not isinstance(found, shape):
            yield where
    elif not isinstance(found, dict):
        yield where or "an object"
    else:
        for key, inner in shape.items():
            place = f"{where}.{key}" if where else key
            if key in found:
                yield from _lacking(found[key], inner, place)
            else:
                yield place
