"""The base class of all `Params`, and the reader of their sections in `params.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from longtail.errors import ParameterError, unknown_name

PARAMS_FILE = Path("params.yaml")

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
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(
            f"No {path} in {Path.cwd()}; run from the project's root folder."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is not valid YAML in UTF-8: {error}") from None
    if not isinstance(document, dict) or stage not in document:
        raise ParameterError(f"{path} has no section {stage!r}; add it (it may be empty: {{}}).")
    try:
        return model.model_validate({} if document[stage] is None else document[stage])
    except ValidationError as error:
        raise ParameterError(_explain(stage, path, model, error)) from None


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
    for key, (name, model) in wanted.items():
        try:
            found[key] = load_params(name, model, path)
        except ParameterError as error:
            wrong.append(str(error))
    if wrong:
        raise ParameterError("\n".join(dict.fromkeys(wrong)))
    return found


def _explain(stage: str, path: Path, model: type[Section], error: ValidationError) -> str:
    lines = [f"{path} has {error.error_count()} invalid value(s):"]
    for item in error.errors():
        where = ".".join(str(part) for part in (stage, *item["loc"]))
        got = "" if item["type"] == "missing" else f" (got {item['input']!r})"
        text = item["msg"]
        if item["type"] == "extra_forbidden":
            text = str(unknown_name("parameter", str(item["loc"][-1]), _names(model, item["loc"])))
        lines.append(f"  {where}: {text}{got}")
    return "\n".join(lines)


def _names(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The valid fields next to the unknown one at `loc`."""
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return list(model.model_fields)
