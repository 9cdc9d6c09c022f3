"""The code files among a stage's `deps` are exactly what its module needs, first-party."""

from __future__ import annotations

from pathlib import Path

import pytest

from components._frame.pipeline import Stage, load_stages
from tests.builders.import_closure import import_closure, is_code
from tests.builders.paths import ROOT

STAGES = load_stages(ROOT / "dvc.yaml")


@pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
def test_code_deps_are_the_import_closure(stage: Stage) -> None:
    declared = sorted(dep for dep in stage.deps if is_code(dep))
    needed = import_closure(f"components.{stage.name}")
    lines = "\n".join(f"      - {path}" for path in needed)
    assert declared == needed, f"dvc.yaml, {stage.name}, deps: put these code files:\n{lines}"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_closure_follows_packages_and_relative_imports(tmp_path: Path) -> None:
    files = {
        "components/__init__.py": "",
        "components/a.py": "from longtail.p import q\nimport numpy",
        "longtail/__init__.py": "",
        "longtail/p/__init__.py": "from . import r",
        "longtail/p/q.py": "def late():\n    import longtail.s",
        "longtail/p/r.py": "",
        "longtail/s.py": "",
        "longtail/unused.py": "",
    }
    write(tmp_path, files)
    assert import_closure("components.a", tmp_path) == sorted(set(files) - {"longtail/unused.py"})


def test_closure_holds_the_package_data_of_imported_packages(tmp_path: Path) -> None:
    needed = {
        "components/__init__.py": "",
        "components/a.py": "from longtail.page import render",
        "longtail/__init__.py": "",
        "longtail/page/__init__.py": "",
        "longtail/page/page.css": "",
        "longtail/page/render.py": "",
        "longtail/page/templates/head.html": "",
        "longtail/page/templates/page.html": "",
    }
    others = {
        "pyproject.toml": """
            [tool.setuptools.package-data]
            "longtail.page" = ["templates/*.html", "page.css"]
            "longtail.unused" = ["*.txt"]
        """,
        "longtail/page/undeclared.css": "",
        "longtail/page/templates/page.html.orig": "",
        "longtail/unused/__init__.py": "",
        "longtail/unused/notes.txt": "",
    }
    write(tmp_path, needed | others)
    assert import_closure("components.a", tmp_path) == sorted(needed)


def test_everything_in_the_page_folder_is_declared() -> None:
    """A template that no wheel ships and no stage counts would go unnoticed."""
    page = ROOT / "longtail/report/page"
    shipped = {path for path in page.rglob("*") if path.suffix in (".html", ".css", ".js")}
    counted = {ROOT / path for path in import_closure("components.report")}
    assert shipped <= counted
    assert len(shipped) > 10
