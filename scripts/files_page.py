"""Writes docs/files.md, the list of files: `python -m scripts.files_page`.

The first line of its docstring describes a Python file. Everything else is written by hand in the
page and kept: the sentence of each folder, and what the other files hold. Where one is missing, the
page shows "?", and this ends with exit code 1.
"""

from __future__ import annotations

import ast
import re
import subprocess
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "files.md"
ROOMS = (
    "longtail",
    "components",
    "dags",
    "scripts",
    "docker",
    "mk",
    "benchmarks",
    "docs/conf.py",
    "docs/_ext",
    ".ci",
    ".github",
)
MISSING = "?"


def page() -> str:
    """The page as it should be for the files of the working tree."""
    introduction, *sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)
    by_hand = {section.partition("\n")[0]: section for section in sections}
    blocks = [introduction.rstrip()]
    for folder, paths in groupby(files(), lambda path: path.parent):
        title = f"`{folder}/`" if folder.name else "The project's folder"
        section = by_hand.get(title, "")
        rows = [f"| `{path.name}` | {_description(path, section)} |" for path in paths]
        table = "\n".join(["| file | what it is |", "|---|---|", *rows])
        blocks.append(f"## {title}\n\n{_sentence(section)}\n\n{table}")
    return "\n\n".join(blocks) + "\n"


def files() -> list[Path]:
    """What the page lists: the files of the project's folder and of its rooms, by folder."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = {Path(line) for line in listed.stdout.splitlines() if (ROOT / line).exists()}
    shown = [path for path in paths if path.name != "__init__.py" and _room(path) is not None]
    return sorted(shown, key=lambda path: (_room(path), path.parent.parts, path.name))


def _room(path: Path) -> int | None:
    """Its place in the page: -1 for the project's folder, then by ROOMS; None: not listed."""
    if len(path.parts) == 1:
        return -1
    return next((i for i, room in enumerate(ROOMS) if path.is_relative_to(room)), None)


def _sentence(section: str) -> str:
    """What the page says of a folder, between its heading and its table."""
    return section.partition("\n")[2].partition("\n|")[0].strip() or MISSING


def _description(path: Path, section: str) -> str:
    if path.suffix == ".py":
        docstring = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        return docstring.splitlines()[0].replace("|", r"\|") if docstring else MISSING
    row = re.search(rf"^\| `{re.escape(path.name)}` \| (.+) \|$", section, re.M)
    return row[1] if row else MISSING


if __name__ == "__main__":
    text = page()
    PAGE.write_text(text, encoding="utf-8")
    if f"\n{MISSING}\n" in text or f"| {MISSING} |" in text:
        raise SystemExit(f"{PAGE.relative_to(ROOT)}: replace each {MISSING} with a description.")
