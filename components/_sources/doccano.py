"""Reads the annotations of text classification that doccano exports as JSON Lines."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import click

from components._formats.annotation_tools import HINTS
from components._formats.columns import checked_columns
from components._formats.json_lines import json_objects
from components._sources.judgments import judged_source
from components._sources.rows import FileFormat, Rows, converted, named
from components._sources.source import column_option, encoding_option, option
from longtail.errors import DataError

ALL = "all"  # the file of a project in which the annotators share their labels
COMMENTS = "Comments"


def read_doccano(path: Path, file_format: FileFormat) -> Rows:
    """One row per document with labels; the file is called after its annotator, or `all`.

    The export has neither names nor times, and does not tell a document without labels from one
    that nobody has looked at; without `empty_labels`, these are counted and left out.

    Raises:
        DataError: the file is no such export, or no document in it has labels.
    """
    lines, objects, n_empty, n_comments = array("q"), [], 0, 0
    for number, item in json_objects(path, file_format.encoding):
        if item.get(file_format.labels_column) == [] and not file_format.empty_labels:
            n_empty += 1
            continue
        comments = item.pop(COMMENTS, None)
        n_comments += len(comments) if isinstance(comments, list) else 0
        objects.append({name: value for name, value in item.items() if name not in HINTS})
        lines.append(number)
    if not objects:
        raise DataError(
            f"{path}: none of {n_empty:,} documents has labels; annotate some, then export again, "
            "or pass --empty-labels if they were all judged to have none."
        )
    _tell(path, n_empty, n_comments)
    names = list(dict.fromkeys(name for item in objects for name in item))
    checked_columns(str(path), names)
    columns: dict[str, list[Any]] = {name: [item.get(name) for item in objects] for name in names}
    rows = named(Rows(str(path), columns, lines), file_format)
    if path.stem != ALL:
        rows.columns["annotator"] = [path.stem] * len(objects)
    return converted(rows, file_format)


def _tell(path: Path, n_empty: int, n_comments: int) -> None:
    if n_empty:
        print(
            f"{path}: left out: {n_empty:,} documents without labels; if the export has approved "
            "documents only, take them in with --empty-labels."
        )
    if n_comments:
        print(f"{path}: {n_comments:,} comments of annotators are not taken in.")


DOCCANO = judged_source(
    "annotations that doccano exports as JSON Lines, one file per annotator",
    read_doccano,
    column_option("id"),
    column_option("text"),
    option("--labels-column", help="column with the labels", default="label"),
    click.Option(
        ["--empty-labels"],
        is_flag=True,
        help="a document without labels was judged to have none (export of approved ones only)",
    ),
    encoding_option(),
)
