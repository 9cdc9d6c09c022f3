"""Writes a queue for an annotation tool: its tasks, and the labels that the tool must know."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from components._formats.queue_file import SUSPECTED, Queued, Task
from components._frame.files import written
from longtail.errors import DataError, ParameterError, unknown_name

TEXT, LABELS = "text", "labels"  # the names of both tags in Label Studio's labeling config
# What a task says beside the document, which is no part of the corpus.
HINTS = ("reasons", "suggested", "suggested_by", "current")
NO_WIDTH = "\u200b"
MAX_DOCCANO_LABEL = 100  # characters


@dataclass(frozen=True)
class Tool:
    """How an annotation tool takes documents in.

    Attributes:
        suffix: of the file with the tasks.
        tasks: the content of that file, from the queue and the name of the model.
        labels_suffix: of the file with the labels.
        labels: the content of that file.
    """

    suffix: str
    tasks: Callable[[Sequence[Task], str], str]
    labels_suffix: str
    labels: Callable[[Sequence[str]], str]


def checked_tool(name: str, path: Path) -> Tool:
    """The tool of this name.

    Raises:
        ParameterError: there is none, or it does not read files of this extension.
    """
    if name not in TOOLS:
        raise unknown_name("--tool", name, TOOLS)
    tool = TOOLS[name]
    if path.suffix.lower() != tool.suffix:
        raise ParameterError(
            f"--output: {name} reads {tool.suffix}, got {path.name!r:.80}; pass a path that ends "
            f"in {tool.suffix}."
        )
    return tool


def write_tasks(
    queue: Sequence[Task], labels: Sequence[str], path: Path, tool: Tool, model: str
) -> Path:
    """Write the tasks, and the labels to a file beside them.

    Args:
        queue: the documents.
        labels: all that an annotator may choose from.
        path: of the tasks.
        tool: that reads them.
        model: that made the suggestions.

    Returns:
        The path of the file with the labels.

    Raises:
        DataError: the tool cannot hold one of the labels.
    """
    beside = path.with_suffix(tool.labels_suffix)
    with written(beside) as names, written(path) as tasks:
        names.write_text(tool.labels(labels), encoding="utf-8")
        tasks.write_text(tool.tasks(queue, model), encoding="utf-8")
    return beside


def document_of(row: Task, model: str) -> dict[str, Any]:
    """What a task has, whatever the tool; `ingest` takes all but `HINTS` back as columns.

    A review does not say how the document was drawn: the corpus knows, and keeps it.
    """
    known: dict[str, Any] = {"id": row.id, TEXT: row.text}
    hints: dict[str, Any] = {"reasons": row.reasons, "suggested_by": model}
    if isinstance(row, Queued):
        suggested = dict(zip(row.labels, row.scores, strict=True))
        return {**known, "drawn": row.drawn, **hints, "suggested": suggested}
    return {
        **known, SUSPECTED: row.suspected, **hints, "suggested": row.labels, "current": row.current
    }  # fmt: skip


def label_studio_tasks(queue: Sequence[Task], model: str) -> str:
    """Tasks with predictions (https://labelstud.io/guide/predictions).

    The score of a prediction is the mean of its labels' scores; that of a review has none, since
    its labels are mostly the document's own. A document without a suggested label has no
    prediction.
    """
    tasks = []
    for row in queue:
        task: dict[str, Any] = {"data": document_of(row, model)}
        if row.labels:
            choices = {"from_name": LABELS, "to_name": TEXT, "type": "choices"}
            result = [{**choices, "value": {"choices": row.labels}}]
            prediction: dict[str, Any] = {"model_version": model, "result": result}
            if isinstance(row, Queued):
                prediction["score"] = sum(row.scores) / len(row.scores)
            task["predictions"] = [prediction]
        tasks.append(task)
    return json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"


def labeling_config(labels: Sequence[str]) -> str:
    """Label Studio's labeling config (https://labelstud.io/tags/choices), with a search box.

    Raises:
        DataError: XML cannot hold one of the labels.
    """
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Text", name=TEXT, value=f"${TEXT}")
    ElementTree.SubElement(view, "Filter", name="filter", toName=LABELS)
    choices = ElementTree.SubElement(view, "Choices", name=LABELS, toName=TEXT, choice="multiple")
    for label in labels:
        # Label Studio takes `$name` for a field of the task: what is shown has a mark of no width
        # after each dollar, and the alias, which goes into the annotation, is the label itself.
        shown = label.replace("$", f"${NO_WIDTH}")
        own = {"value": label} if shown == label else {"value": shown, "alias": label}
        ElementTree.SubElement(choices, "Choice", own)
    ElementTree.indent(view)
    text = ElementTree.tostring(view, encoding="unicode") + "\n"
    try:
        ElementTree.fromstring(text)
    except ElementTree.ParseError:
        wrong = next(label for label in labels if not _fits_xml(label))
        raise DataError(
            f"the label {wrong!r:.80} has a character that XML, and so Label Studio, cannot hold; "
            "rename the label."
        ) from None
    return text


def _fits_xml(label: str) -> bool:
    element = ElementTree.Element("Choice", value=label)
    try:
        ElementTree.fromstring(ElementTree.tostring(element, encoding="unicode"))
    except ElementTree.ParseError:
        return False
    return True


def doccano_lines(queue: Sequence[Task], model: str) -> str:
    """JSON Lines for a project of text classification.

    The suggestions are metadata that the annotator sees. As `label` they would be annotations:
    doccano's export does not tell those that a person confirmed from those that no one looked at.
    In ASCII, since doccano guesses the encoding of a file.
    """
    lines = (json.dumps({**document_of(row, model), "label": []}) for row in queue)
    return "".join(f"{line}\n" for line in lines)


def doccano_labels(labels: Sequence[str]) -> str:
    """The file for doccano's Labels, Actions, Import Labels.

    Raises:
        DataError: a label is too long for doccano, or has blanks around it, which doccano removes.
    """
    for label in labels:
        if label != label.strip():
            raise DataError(
                f"the label {label!r:.80} begins or ends with a blank, which doccano removes; "
                "rename the label, or use Label Studio."
            )
        if len(label) > MAX_DOCCANO_LABEL:
            raise DataError(
                f"the label {label!r:.80} has {len(label):,} characters, and doccano takes "
                f"{MAX_DOCCANO_LABEL}; rename the label, or use Label Studio."
            )
    return json.dumps([{"text": label} for label in labels], indent=1) + "\n"


TOOLS = {
    "label_studio": Tool(".json", label_studio_tasks, ".labels.xml", labeling_config),
    "doccano": Tool(".jsonl", doccano_lines, ".labels.json", doccano_labels),
}
