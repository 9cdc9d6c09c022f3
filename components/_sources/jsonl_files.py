"""Reads JSON Lines with one document per line."""

from __future__ import annotations

from array import array
from pathlib import Path

from components._formats.columns import checked_columns
from components._formats.json_lines import json_objects
from components._sources.rows import FileFormat, Rows, named, typed
from components._sources.source import column_option, encoding_option, file_source, option


def read_jsonl(path: Path, file_format: FileFormat) -> Rows:
    """Read the objects as rows; missing keys become null, blank lines are skipped."""
    lines, objects = array("q"), []
    for number, item in json_objects(path, file_format.encoding):
        objects.append(item)
        lines.append(number)
    names = list(dict.fromkeys(name for item in objects for name in item))
    checked_columns(str(path), names)
    columns = {name: [item.get(name) for item in objects] for name in names}
    return typed(named(Rows(str(path), columns, lines), file_format), file_format)


JSONL = file_source(
    "JSON Lines with labels as a list of strings",
    read_jsonl,
    column_option("id"),
    column_option("text"),
    column_option("labels"),
    option("--label-separator", help="separator of labels given as one string", metavar="CHAR"),
    encoding_option(),
)
