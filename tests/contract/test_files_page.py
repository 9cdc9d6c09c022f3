"""docs/files.md describes each source file in one line; README's table has each stage once."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from components._frame.pipeline import load_stages
from scripts import files_page
from tests.builders.paths import ROOT


def test_the_page_describes_every_file() -> None:
    shown = files_page.PAGE.read_text(encoding="utf-8")
    made = files_page.page()
    changes = "\n".join(difflib.unified_diff(shown.splitlines(), made.splitlines(), lineterm=""))
    assert shown == made, f"run `python -m scripts.files_page`:\n{changes}"
    assert len(files_page.files()) > 100
    assert f"| {files_page.MISSING} |" not in made, "describe each file that has a question mark"
    assert f"\n{files_page.MISSING}\n" not in made, "write a sentence for each such folder"


def test_a_new_file_or_folder_is_asked_for() -> None:
    assert files_page._description(Path("mk/new.mk"), "") == files_page.MISSING
    assert files_page._sentence("") == files_page.MISSING


def test_stage_table_is_that_of_dvc_yaml() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (\w+) \|$", readme, re.M)
    stages = load_stages(ROOT / "dvc.yaml")
    assert rows == [(stage.name, stage.desc, stage.image) for stage in stages]
