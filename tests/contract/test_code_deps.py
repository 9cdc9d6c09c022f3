"""The code files among a stage's `deps` are exactly what its module imports, first-party."""

from __future__ import annotations

from pathlib import Path

import pytest

from components._frame.pipeline import Stage, load_stages
from tests.builders.import_closure import import_closure
from tests.builders.paths import ROOT

STAGES = load_stages(ROOT / "dvc.yaml")


@pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
def test_code_deps_are_the_import_closure(stage: Stage) -> None:
    declared = sorted(dep for dep in stage.deps if dep.endswith(".py"))
    needed = import_closure(f"components.{stage.name}")
    lines = "\n".join(f"      - {path}" for path in needed)
    assert declared == needed, f"dvc.yaml, {stage.name}, deps: put these code files:\n{lines}"


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
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert import_closure("components.a", tmp_path) == sorted(set(files) - {"longtail/unused.py"})
