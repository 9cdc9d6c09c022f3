"""The base class of all `Params`, and the reader of their sections in `params.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longtail.errors import ParameterError, unknown_name

PARAMS_FILE = Path("params.yaml")
# Above what one machine holds: a bound for numbers of documents or labels, so that a slip is told.
MOST_DOCS = 1_000_000_000
MOST_SHOWN = 60
MOST_ERRORS = 12  # of a section that are written out
MOST_VALUES = 10_000  # aliases of aliases make gigabytes of a few lines

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what NumPy and scikit-learn take

P = TypeVar("P", bound="Section")


class Section(BaseModel):
    """Base class of all `Params`: frozen, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def load_params(stage: str, model: type[P], path: Path = PARAMS_FILE) -> P:
    """Read and validate the stage's section of `params.yaml`.

    Raises:
        ParameterError: the file or the section is missing, or values are invalid; all errors are
            reported together.
    """
    return _section(read_document(path), stage, model, path)


def _section(document: Mapping[Any, Any], stage: str, model: type[P], path: Path) -> P:
    if stage not in document:
        raise ParameterError(f"{path} has no section {stage!r}; add it (it may be empty: {{}}).")
    try:
        return model.model_validate({} if document[stage] is None else document[stage])
    except ValidationError as error:
        raise ParameterError(_explain(stage, path, model, error)) from None


def read_document(path: Path = PARAMS_FILE) -> dict[Any, Any]:
    """All sections of `params.yaml`, not validated.

    Raises:
        ParameterError: there is no such file, or it is no YAML with sections.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(
            f"No {path} in {Path.cwd()}; run from the project's root folder."
        ) from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}.") from None
    except RecursionError:
        raise ParameterError(f"{path} is nested too deeply, expected sections.") from None
    # A ValueError: no UTF-8, no such date (2026-13-01), or a number of thousands of digits.
    except (yaml.YAMLError, ValueError) as error:
        raise ParameterError(f"{path} is not valid YAML in UTF-8: {error}") from None
    if any(True for _ in islice(_values(document), MOST_VALUES, None)):
        raise ParameterError(
            f"{path} has over {MOST_VALUES:,} values once its aliases (*name) are written out, "
            "expected a few hundred; remove the aliases."
        )
    if not isinstance(document, dict):
        raise ParameterError(
            f"{path} has no sections, expected one per stage and command, such as `train:`."
        )
    return document


def _values(value: object) -> Iterator[object]:
    """The value and everything in it, again wherever an alias repeats it."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value


def load_sections(
    wanted: Mapping[str, tuple[str, type[Section]]], path: Path = PARAMS_FILE
) -> dict[str, Section]:
    """Read several sections of `params.yaml`.

    Args:
        wanted: key to the section's name and its model.
        path: the file.

    Returns:
        Key to the validated section.

    Raises:
        ParameterError: as in `load_params`; what is wrong in any section is reported together.
    """
    found, wrong = {}, []
    document = read_document(path)
    for key, (name, model) in wanted.items():
        try:
            found[key] = _section(document, name, model, path)
        except ParameterError as error:
            wrong.append(str(error))
    if wrong:
        raise ParameterError("\n".join(dict.fromkeys(wrong)))
    return found


def _explain(stage: str, path: Path, model: type[Section], error: ValidationError) -> str:
    lines = [f"{path} has {error.error_count()} invalid value(s):"]
    for item in error.errors()[:MOST_ERRORS]:
        where = ".".join(str(part) for part in (stage, *item["loc"]))
        got = "" if item["type"] == "missing" else f" (got {_shown(item['input'])})"
        text = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            text = str(unknown_name("parameter", str(item["loc"][-1]), _names(model, item["loc"])))
        lines.append(f"  {where}: {text:.600}{got}")
    if (more := error.error_count() - MOST_ERRORS) > 0:
        lines.append(f"  … and {more:,} more")
    return "\n".join(lines)


def _shown(value: object) -> str:
    """The value as Python writes it, cut to what fits a line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; a list inside itself
        return f"a {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _names(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The valid fields next to the unknown one at `loc`."""
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return list(model.model_fields)
