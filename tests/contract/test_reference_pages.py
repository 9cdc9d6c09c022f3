"""docs/reference/ has each variable that the code reads, and a page per room of the library."""

from __future__ import annotations

import re

from scripts.files_page import files
from tests.builders.paths import ROOT

NAME = re.compile(r"\bLONGTAIL_[A-Z_]+\b")
REFERENCE = ROOT / "docs" / "reference"


def test_every_variable_is_documented_and_no_other() -> None:
    read = {
        name
        for path in files()
        if path.suffix in {".py", ".yaml", ".mk"} and path.parts[0] != "docs"
        for name in NAME.findall((ROOT / path).read_text(encoding="utf-8"))
    }
    page = REFERENCE / "environment.md"
    documented = set(NAME.findall(page.read_text(encoding="utf-8")))
    assert len(read) > 10
    assert documented == read, f"{page.relative_to(ROOT)} and the code differ"


def test_every_room_of_the_library_has_a_page() -> None:
    rooms = {file.parent.name for file in ROOT.glob("longtail/*/__init__.py")}
    pages = {page.stem for page in REFERENCE.glob("api/*.md")} - {"index", "modules"}
    assert pages == rooms
    for room in rooms:
        text = (REFERENCE / "api" / f"{room}.md").read_text(encoding="utf-8")
        assert f"<!-- generated: api longtail.{room} -->" in text
