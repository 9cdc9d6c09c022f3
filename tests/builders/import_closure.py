"""The first-party files that a module needs, directly or not, by reading the source."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.builders.paths import ROOT

FIRST_PARTY = ("components", "longtail")


def is_code(path: str) -> bool:
    """Whether a dependency of a stage is code, package data included, rather than its input."""
    return path.split("/")[0] in FIRST_PARTY


def import_closure(module: str, root: Path = ROOT) -> list[str]:
    """Paths of `module`, of everything first-party that it imports, and of their package data.

    Paths are relative to `root`. Package data is what `root`/pyproject.toml declares: a template
    counts like the module that renders it.
    """
    seen: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file_of(name, root)
        if name in seen or path is None:
            continue
        seen[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        # Importing a.b.c runs a/__init__.py and a/b/__init__.py first.
        waiting += [name.rpartition(".")[0], *_imported(path, package)]
    files = {*seen.values(), *_package_data(seen.values(), root)}
    return sorted(path.relative_to(root).as_posix() for path in files)


def _package_data(modules: Iterable[Path], root: Path) -> Iterator[Path]:
    """The data files of the packages whose `__init__.py` is among `modules`."""
    project = root / "pyproject.toml"
    if not project.is_file():
        return
    tool = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]
    imported = {path.parent for path in modules if path.name == "__init__.py"}
    for package, patterns in tool["setuptools"]["package-data"].items():
        # Wheels carry the components inside `longtail_pipeline`.
        folder = root.joinpath(*package.removeprefix("longtail_pipeline.").split("."))
        if folder in imported:
            for pattern in patterns:
                yield from folder.glob(pattern)


def _file_of(module: str, root: Path) -> Path | None:
    if module.split(".")[0] not in FIRST_PARTY:
        return None
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imported(path: Path, package: str) -> list[str]:
    """Every module that a file may import: `from a import b` may mean the module a.b."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return names
