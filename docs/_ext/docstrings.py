"""Makes the project's docstrings reStructuredText, which autodoc reads."""

from __future__ import annotations

import re
from typing import Any


def _as_restructured_text(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings are written for people: `code` in single backticks, and |x| is a modulus."""
    for number, line in enumerate(lines):
        parts = re.split(r"(?<![`:])`([^`]+)`(?!`)", line)
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        parts[1::2] = [f"``{part.strip()}``" for part in parts[1::2]]
        lines[number] = "".join(parts)


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples: the class's own docstring says what they are."""
    return True if str(obj.__doc__).startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, bool]:
    """Rewrite docstrings before napoleon, which takes a colon outside of code for a type's end."""
    app.connect("autodoc-process-docstring", _as_restructured_text, priority=400)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
