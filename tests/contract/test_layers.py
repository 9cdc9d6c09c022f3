"""dags -> components -> longtail, no arrow up; import-linter checks what pyproject.toml says."""

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.builders.paths import ROOT


def test_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    contracts = tool["importlinter"]["contracts"]
    assert len(contracts) >= 5
    assert f"{len(contracts)} kept, 0 broken" in done.stdout
