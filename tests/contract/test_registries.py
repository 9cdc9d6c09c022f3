"""A registry lists every function of its kind: one that is written but not listed is found here."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import components._sources
from components._formats.records import RECORDS
from components._frame.suffixes import SUFFIXES
from components._registry import smoke
from components._sources.source import Source
from components.ingest import AUTO, SOURCES
from longtail import losses
from longtail.annotation import queue
from longtail.evaluation import slices
from longtail.gate import rules as gate_rules
from longtail.validation import rules

# Module, registry, the names of the parameters that make a function one of its kind.
REGISTRIES: dict[str, tuple[ModuleType, dict[str, Any], tuple[str, ...]]] = {
    "losses": (losses, losses.LOSSES, ("freq",)),
    "slices": (slices, slices.SLICES, ("evaluation",)),
    "promotion rules": (gate_rules, gate_rules.RULES, ("contest", "rules")),
    "validation rules": (rules, rules.RULES, ("view",)),
    "strategies": (queue, queue.STRATEGIES, ("pool", "size", "rng")),
    "smoke checks": (smoke, smoke.CHECKS, ("model", "sample")),
}
# Functions with the same parameters that are not of the kind.
OTHERS = {"judge", "answered", "_parts", "_measure"}


def of_kind(module: ModuleType, parameters: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    """Functions written in `module` whose positional parameters begin with `parameters` only."""
    found = {}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ != module.__name__:
            continue
        positional = tuple(
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        )
        if positional == parameters:
            found[name] = function
    return found


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_function_of_the_kind_is_listed(kind: str) -> None:
    module, registry, parameters = REGISTRIES[kind]
    listed = {getattr(entry, "flag", entry) for entry in registry.values()}
    written = of_kind(module, parameters)
    assert len(registry) >= 3 and written
    forgotten = [name for name, function in written.items() if function not in listed]
    assert sorted(set(forgotten) - OTHERS) == [], f"list them in the registry of {kind}"


def test_every_source_of_documents_is_listed() -> None:
    written = {}
    for info in pkgutil.iter_modules(components._sources.__path__):
        module = importlib.import_module(f"components._sources.{info.name}")
        for name, value in vars(module).items():
            if isinstance(value, Source):
                written[f"{info.name}.{name}"] = value
    assert len(written) >= 7
    forgotten = [name for name, source in written.items() if source not in SOURCES.values()]
    assert forgotten == [], "list them in SOURCES of components/ingest.py"
    assert len(SOURCES) == len(written) + 1 and AUTO in SOURCES


def test_every_file_ending_leads_to_a_source_and_to_a_reader() -> None:
    assert set(SUFFIXES.values()) <= SOURCES.keys()
    assert set(SUFFIXES.values()) <= RECORDS.keys()
    unreachable = set(RECORDS) - set(SUFFIXES.values())
    assert unreachable == {"txt"}, "give them an ending in components/_frame/suffixes.py"
