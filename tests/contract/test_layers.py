"""dags -> components -> longtail, no arrow up; import-linter checks what pyproject.toml says."""

import subprocess
import sys
from pathlib import Path

from tests.builders.paths import ROOT


def test_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout
