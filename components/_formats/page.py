"""Writes the report's page and Markdown from its JSON; `report` does so, and `promote` again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components._frame.files import written
from longtail.report.page import render


def write_page(
    details: Path,
    page: Path,
    markdown: Path,
    *,
    decision: Mapping[str, Any] | None = None,
    drift: Mapping[str, Any] | None = None,
) -> None:
    """Render `details` (reports/report.json) with the decision, if there is one, into two files."""
    record = json.loads(details.read_text(encoding="utf-8"))
    texts = {
        page: render.page(record, decision, drift),
        markdown: render.markdown(record, decision),
    }
    for path, text in texts.items():
        with written(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
