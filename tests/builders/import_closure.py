"""The first-party files that a module imports, directly or not, by reading the source."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.builders.paths import ROOT

FIRST_PARTY = ("components", "longtail")


def import_closure(module: str, root: Path = ROOT) -> list[str]:
    """Paths, relative to `root`, of `module` and of everything first-party that it imports."""
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
    return sorted(str(path.relative_to(root)) for path in seen.values())


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
