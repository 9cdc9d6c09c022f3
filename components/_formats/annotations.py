"""Reads the optional files beside the corpus: annotators' judgments and the allowed labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from components._formats.columns import listed
from longtail.errors import DataError

OPTIONAL = {"annotated_at": pa.timestamp("us")}


@dataclass(frozen=True)
class AllowedLabels:
    """`data/labels.yaml`: the allowed labels (None allows any), and alias to label."""

    labels: frozenset[str] | None = None
    aliases: dict[str, str] = field(default_factory=dict)


def read_annotations(path: Path) -> dict[str, list[Any]] | None:
    """The columns id, annotator, labels of `annotations.parquet`, and annotated_at if it has that.

    Only annotated_at may have nulls. None if there is no file.
    """
    if not path.exists():
        return None
    wanted = {"id": pa.string(), "annotator": pa.string(), "labels": pa.list_(pa.string())}
    try:
        table = pq.read_table(path)
        missing = set(wanted) - set(table.column_names)
        if missing:
            raise DataError(
                f"{path}: column(s) {', '.join(sorted(missing))} missing; "
                f"expected {', '.join(wanted)}, got {', '.join(table.column_names)}."
            )
        optional = {name: kind for name, kind in OPTIONAL.items() if name in table.column_names}
        typed = (wanted | optional).items()
        # Finer times than microseconds are cut, as the corpus's are.
        columns = {
            name: table.column(name).cast(kind, safe=not pa.types.is_timestamp(kind))
            for name, kind in typed
        }
        for column in columns.values():
            column.validate(full=True)  # other tools write strings that are no UTF-8
        lists = {name: column.to_pylist() for name, column in columns.items()}
    except (pa.ArrowException, OSError, OverflowError) as error:  # a year beyond 9999
        raise DataError(
            f"{path} is not a readable file of judgments ({error}); expected id (string), "
            "annotator (string), labels (list of strings), and optionally annotated_at "
            "(timestamp). Write it again or remove it."
        ) from None
    for name, column in columns.items():
        if column.null_count and name in wanted:
            row = column.is_null().to_pylist().index(True) + 1
            raise DataError(f"{path}: row {row}, column {name!r} is null; fill or remove the row.")
    return lists


def read_allowed(path: Path) -> AllowedLabels:
    """Read `labels.yaml`: `labels` (a list) and `aliases` (alias: label), both optional.

    Raises:
        DataError: the file has another form, or an alias points to a label that is not allowed.
    """
    if not path.exists():
        return AllowedLabels()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid YAML in UTF-8: {error}") from None
    # Only keys are shown: a few nested anchors are a value of many megabytes.
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise DataError(f"{path}: expected the keys 'labels' and 'aliases', got a {kind}.")
    if others := [key for key in document if key not in ("labels", "aliases")]:
        raise DataError(
            f"{path}: expected only the keys 'labels' and 'aliases', got {listed(others)}."
        )
    labels, aliases = document.get("labels"), document.get("aliases") or {}
    if labels is not None and not _strings(labels):
        raise DataError(f"{path}: 'labels' must be a list of strings; quote numbers, yes and no.")
    if not isinstance(aliases, dict) or not _strings([*aliases, *aliases.values()]):
        raise DataError(
            f"{path}: 'aliases' must map strings to strings; quote numbers, yes and no."
        )
    allowed = None if labels is None else frozenset(labels)
    for alias, label in aliases.items():
        if label in aliases or (allowed is not None and label not in allowed):
            raise DataError(
                f"{path}: alias {alias!r:.80} points to {label!r:.80}, which is not an "
                "allowed label; point it to an allowed one or add the label to 'labels'."
            )
    return AllowedLabels(allowed, aliases)


def _strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
