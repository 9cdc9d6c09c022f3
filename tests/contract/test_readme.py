"""The README's file tree has one line for each source file, and its stage table each stage."""

from __future__ import annotations

import re
import subprocess

from components._frame.pipeline import load_stages
from tests.builders.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
ONE_BY_ONE = ("longtail/", "components/", "dags/", "benchmarks/", "docker/", "mk/")


def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return set(listed.stdout.split())


def test_tree_names_every_source_file_once_and_no_other() -> None:
    named = re.findall(r"^    (\S+)  +\S", README.partition("## Files")[2], re.M)
    expected = {
        path
        for path in tracked()
        if path.startswith(ONE_BY_ONE) and not path.endswith("__init__.py")
    }
    files = [name for name in named if name.startswith(ONE_BY_ONE)]
    assert len(files) == len(set(files))
    assert set(files) == expected, "README.md, Files: one line for each file"
    others = set(named) - set(files)
    assert others <= tracked() | {path.split("/")[0] + "/" for path in tracked()}


def test_stage_table_is_that_of_dvc_yaml() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (\w+) \|$", README, re.M)
    stages = load_stages(ROOT / "dvc.yaml")
    assert rows == [(stage.name, stage.desc, stage.image) for stage in stages]
