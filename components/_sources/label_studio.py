"""Reads the annotations of text classification that Label Studio exports as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components._formats.annotation_tools import HINTS
from components._formats.columns import listed
from components._formats.text_file import open_text
from components._sources.judgments import judged_source
from components._sources.rows import FileFormat, Rows, converted, named
from components._sources.source import column_option, encoding_option, option
from longtail.errors import DataError

EXPORT = "export the project again, in the format JSON"
CHOICES = "choices"


def read_label_studio(path: Path, file_format: FileFormat) -> Rows:
    """One row per annotation; skipped ones, drafts and tasks without any are counted and left out.

    An annotation that a second person has changed is that person's. Annotators are called by
    their email, or by their number where the export has only that.

    Raises:
        DataError: the file is no such export, has no annotations, or none of the choices asked for.
    """
    tasks = _tasks(path, file_format.encoding)
    people = dict(_people(tasks))
    rows: list[dict[str, Any]] = []
    left: Counter[str] = Counter()
    found: Counter[tuple[Any, Any]] = Counter()
    for task in tasks:
        done = [entry for entry in task["annotations"] if not entry.get("was_cancelled")]
        left["skipped annotations"] += len(task["annotations"]) - len(done)
        left["tasks without an annotation"] += not task["annotations"]
        for entry in done:
            result = _result(path, task, entry)
            found.update((item.get("from_name"), item.get("type")) for item in result)
            rows.append(_row(task, entry, result, people, file_format))
    _check_found(path, rows, left, found, file_format)
    told = ", ".join(f"{count:,} {what}" for what, count in left.items() if count)
    if told:
        print(f"{path}: left out: {told}.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    contract = FileFormat(file_format.id_column, file_format.text_column)
    return converted(named(Rows(str(path), columns), contract), contract)


def _tasks(path: Path, encoding: str) -> list[dict[str, Any]]:
    """The tasks of an export, each an object with `data` and a list of `annotations`."""
    with open_text(path, encoding) as file:
        text = file.read()
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); {EXPORT}.") from None
    if not isinstance(tasks, list):
        raise DataError(f"{path}: expected a list of tasks, got {type(tasks).__name__}; {EXPORT}.")
    if not tasks:
        raise DataError(f"{path} has no tasks, expected annotated ones; {EXPORT}.")
    for number, task in enumerate(tasks, 1):
        _check_task(f"{path}: task {number}", task)
    return tasks


def _check_task(where: str, task: Any) -> None:
    if not isinstance(task, dict):
        raise DataError(f"{where}: expected an object, got {type(task).__name__}; {EXPORT}.")
    if "annotation_id" in task:
        raise DataError(f"{where} is of the format JSON_MIN, which leaves out a part; {EXPORT}.")
    data, annotations = task.get("data"), task.get("annotations")
    if not isinstance(data, dict) or not isinstance(annotations, list):
        raise DataError(
            f"{where}: expected `data` (an object) and `annotations` (a list), got "
            f"{listed(list(task))}; a file made for the import has no annotations: {EXPORT}."
        )
    if not all(isinstance(entry, dict) for entry in annotations):
        raise DataError(f"{where}: expected annotations that are objects; {EXPORT}.")


def _result(path: Path, task: dict[str, Any], entry: dict[str, Any]) -> list[dict[str, Any]]:
    result = entry.get("result") or []
    where = f"{path}: task {task.get('id')!r:.20}, annotation {entry.get('id')!r:.20}"
    if not isinstance(result, list) or not all(map(_is_result, result)):
        raise DataError(
            f"{where}: expected `result` to be a list of objects with `from_name`, `type`, and "
            f"a `value` (choices are a list of strings), got {result!r:.60}; {EXPORT}."
        )
    for name in ("completed_by", "updated_by"):
        if not isinstance(_number(entry.get(name)), (int, str, type(None))):
            raise DataError(
                f"{where}: expected `{name}` to be a user's number, or an object with `id`, got "
                f"{entry[name]!r:.60}; {EXPORT}."
            )
    return result


def _is_result(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    names, value = [item.get("from_name"), item.get("type")], item.get("value") or {}
    if not all(isinstance(name, (str, type(None))) for name in names):
        return False
    choices = value.get(CHOICES) if isinstance(value, dict) else 0
    return choices is None or (
        isinstance(choices, list) and all(isinstance(choice, str) for choice in choices)
    )


def _number(who: Any) -> Any:
    """The number of a user, which an export has alone or in an object."""
    return who.get("id") if isinstance(who, dict) else who


def _row(
    task: dict[str, Any],
    entry: dict[str, Any],
    result: Sequence[dict[str, Any]],
    people: dict[Any, str],
    file_format: FileFormat,
) -> dict[str, Any]:
    labels: dict[Any, None] = {}  # a set in order; the same label may be chosen in two places
    for item in result:
        if (item.get("from_name"), item.get("type")) == (file_format.labels_column, CHOICES):
            labels.update(dict.fromkeys((item.get("value") or {}).get(CHOICES) or ()))
    who = _number(entry.get("updated_by") or entry.get("completed_by"))
    return {
        **{name: value for name, value in task["data"].items() if name not in HINTS},
        "labels": list(labels),
        "annotator": None if who is None else people.get(who, str(who)),
        "annotated_at": entry.get("updated_at") or entry.get("created_at"),
    }


def _people(tasks: Sequence[dict[str, Any]]) -> Iterator[tuple[Any, str]]:
    """Number and email of each annotator whom the export describes."""
    for task in tasks:
        for entry in task["annotations"]:
            who = entry.get("completed_by")
            if not isinstance(who, dict) or not isinstance(who.get("id"), (int, str)):
                continue
            if isinstance(who.get("email"), str) and who["email"].strip():
                yield who["id"], who["email"]


def _check_found(
    path: Path,
    rows: Sequence[dict[str, Any]],
    left: Counter[str],
    found: Counter[tuple[Any, Any]],
    file_format: FileFormat,
) -> None:
    if not rows:
        told = ", ".join(f"{count:,} {what}" for what, count in left.items() if count)
        raise DataError(f"{path} has no annotations ({told}); annotate tasks, then {EXPORT}.")
    wanted = file_format.labels_column
    if found and (wanted, CHOICES) not in found:
        others = [f"{name} ({kind})" for name, kind in found]
        raise DataError(
            f"{path}: no choices named {wanted!r:.60} in the annotations; found {listed(others)}. "
            "Name the Choices tag of the labeling config with --labels-column."
        )


LABEL_STUDIO = judged_source(
    "annotations that Label Studio exports as JSON",
    read_label_studio,
    column_option("id"),
    column_option("text"),
    option("--labels-column", help="name of the Choices tag with the labels", default="labels"),
    encoding_option(),
)
