"""The ground plan: few things in sight, short files and functions, no circle, one package list."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from tests.builders.paths import ROOT

PACKAGES = ("longtail", "components", "dags")
MOST_LINES, MOST_FUNCTION_LINES = 400, 60
MOST_ENTRIES = {"components": 22, "longtail": 17}


def tracked(*folders: str) -> list[Path]:
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


SOURCES = [path for path in tracked(*PACKAGES, "scripts") if path.suffix == ".py"]


@pytest.mark.parametrize("folder", MOST_ENTRIES)
def test_few_entries_are_in_sight(folder: str) -> None:
    entries = {path.relative_to(ROOT / folder).parts[0] for path in tracked(folder)}
    assert 10 < len(entries) <= MOST_ENTRIES[folder], sorted(entries)


def test_no_file_and_no_function_is_long() -> None:
    assert len(SOURCES) > 120
    long = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT)
        if text.count("\n") > MOST_LINES:
            long.append(f"{name}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines - docstring_lines(node) > MOST_FUNCTION_LINES:
                    long.append(f"{name}: {node.name} has {lines} lines")
    assert long == []


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """What the docstring takes: it may be as long as it has to be."""
    if ast.get_docstring(node) is None:
        return 0
    first = node.body[0]
    return (first.end_lineno or 0) - first.lineno + 1


def test_no_name_says_nothing() -> None:
    bad = {"utils", "helpers", "helper", "misc", "common", "util"}
    assert [path for path in SOURCES if path.stem in bad] == []


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES)


def test_no_import_circle(graph: grimp.ImportGraph) -> None:
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert sum(map(len, imports.values())) > 300
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_package_is_shipped() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for path in tracked("longtail", "components")
        if path.suffix == ".py"
    }
    inside = {
        f"longtail_pipeline.{name}" if name.startswith("components") else name for name in folders
    }
    assert sorted(setuptools["packages"]) == sorted(inside), "pyproject.toml, [tool.setuptools]"
