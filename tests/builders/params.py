"""Parameters of a stage: those of the project's `params.yaml`, with the changes of a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import yaml

from components._frame.params import Section
from tests.builders.paths import ROOT

P = TypeVar("P", bound=Section)


def stage_params(model: type[P], stage: str, changes: Mapping[str, Any] | None = None) -> P:
    """`model` filled from the section `stage`; `changes` replace single values, also nested."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return model.model_validate(_merged(document[stage], changes or {}))


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, change in changes.items():
        inner = values.get(name)
        nested = isinstance(inner, Mapping) and inner and isinstance(change, Mapping)
        merged[name] = _merged(inner, change) if nested else change
    return merged
