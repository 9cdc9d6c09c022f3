"""The examples in docstrings give what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import components
import longtail


def test_examples_give_what_they_show() -> None:
    names = [
        info.name
        for package in (longtail, components)
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    examples = 0
    for name in names:
        found = doctest.testmod(importlib.import_module(name))
        assert found.failed == 0, name
        examples += found.attempted
    assert len(names) > 90 and examples >= 20
