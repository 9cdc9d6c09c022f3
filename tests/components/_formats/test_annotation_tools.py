"""There and back: tasks for Label Studio and doccano, and what `ingest` makes of their answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components._formats.annotation_tools import TOOLS, checked_tool, labeling_config, write_tasks
from components._formats.queue_file import Queued
from components._sources.doccano import DOCCANO
from components._sources.label_studio import LABEL_STUDIO
from longtail.errors import DataError, ParameterError

ODD = ['a & "b" <c>', "x,y", " padded ", "line\nbreak", "naïve ☕", "$price", "tab\t", "cr\r"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
LABEL = st.sampled_from(ODD) | st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=20,
)
TRIMMED = LABEL.filter(lambda label: label == label.strip())
DOCUMENTS = st.dictionaries(st.text("abc-17 é", min_size=1).filter(str.strip), TEXT, min_size=1)


UNFIT = [
    ("label_studio", "bell\a", "XML"),
    ("doccano", "x" * 101, "101 characters"),
    ("doccano", "end ", "doccano removes"),
]


def queue_of(documents: dict[str, str], labels: list[str]) -> list[Queued]:
    """Every second document has suggestions."""
    rows = []
    for i, (identity, text) in enumerate(documents.items()):
        suggested = labels[: (i % 2) * 2]
        scores = [0.5 + 0.1 * k for k in range(len(suggested))]
        rows.append(Queued(identity, text, suggested, scores, "random", ["drawn at random"]))
    return rows


def choices_of(path: Path) -> list[str]:
    """What Label Studio writes into an annotation for each choice: its alias, else its value."""
    choices = [choice.attrib for choice in ElementTree.parse(path).iter("Choice")]
    assert not any(re.search(r"\$\w", choice["value"]) for choice in choices)  # a field of the task
    return [choice.get("alias", choice["value"]) for choice in choices]


def answer(task: dict[str, Any], labels: list[str], number: int) -> dict[str, Any]:
    """An export's task, as Label Studio makes it of an imported one."""
    choices = {"from_name": "labels", "to_name": "text", "type": "choices"}
    result = [{**choices, "value": {"choices": labels}}] if labels else []
    done = {"id": number, "completed_by": 1, "result": result, "was_cancelled": False}
    done |= {"updated_at": "2026-01-02T03:04:05.678Z"}
    return {"id": number, "data": task["data"], "annotations": [done], "predictions": []}


@settings(max_examples=40, deadline=None)
@given(DOCUMENTS, st.lists(LABEL, min_size=1, max_size=6, unique=True), st.data())
def test_ids_texts_and_labels_come_back_from_label_studio(documents, labels, data):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tasks.json"
        tool = checked_tool("label_studio", path)
        beside = write_tasks(queue_of(documents, labels), labels, path, tool, "models:/m/1")
        known = choices_of(beside)
        assert known == labels
        picked = [data.draw(st.lists(st.sampled_from(known), unique=True)) for _ in documents]
        tasks = json.loads(path.read_text(encoding="utf-8"))
        export = [answer(task, picked[i], i) for i, task in enumerate(tasks)]
        path.write_text(json.dumps(export), encoding="utf-8")
        (rows,) = LABEL_STUDIO.read(
            paths=(path,), id_column="id", text_column="text", labels_column="labels",
            encoding="utf-8",
        )  # fmt: skip
    assert rows.columns["id"] == list(documents)
    assert rows.columns["text"] == list(documents.values())
    assert rows.columns["labels"] == picked
    assert rows.columns["drawn"] == ["random"] * len(documents)
    expected = {"id", "text", "labels", "drawn", "annotator", "annotated_at"}
    assert set(rows.columns) == expected


@settings(max_examples=40, deadline=None)
@given(DOCUMENTS, st.lists(TRIMMED, min_size=1, max_size=6, unique=True), st.data())
def test_ids_texts_and_labels_come_back_from_doccano(documents, labels, data):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "anna.jsonl"
        tool = checked_tool("doccano", path)
        beside = write_tasks(queue_of(documents, labels), labels, path, tool, "models:/m/1")
        known = [label["text"] for label in json.loads(beside.read_text(encoding="utf-8"))]
        assert known == labels
        lines = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
        assert all(line["label"] == [] for line in lines), "a suggestion is no annotation"
        picked = [data.draw(st.lists(st.sampled_from(known), unique=True)) for _ in documents]
        answers = [
            {**line, "label": own, "Comments": []} for line, own in zip(lines, picked, strict=True)
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in answers), encoding="utf-8")
        (rows,) = DOCCANO.read(
            paths=(path,), id_column="id", text_column="text", labels_column="label",
            empty_labels=True, encoding="utf-8",
        )  # fmt: skip
    assert rows.columns["id"] == list(documents)
    assert rows.columns["text"] == list(documents.values())
    assert rows.columns["labels"] == picked
    assert rows.columns["annotator"] == ["anna"] * len(documents)
    assert set(rows.columns) == {"id", "text", "labels", "drawn", "annotator"}


def test_a_prediction_has_the_model_its_labels_and_the_mean_of_their_scores(tmp_path):
    queue = [Queued("1", "t", ["a", "b"], [0.9, 0.6], "random", ["r"]),
             Queued("2", "u", [], [], "tail_gain", ["s"])]  # fmt: skip
    path = tmp_path / "tasks.json"
    write_tasks(queue, ["a", "b"], path, checked_tool("label_studio", path), "models:/m/1")
    first, second = json.loads(path.read_text(encoding="utf-8"))
    (prediction,) = first["predictions"]
    assert prediction["model_version"] == "models:/m/1" and prediction["score"] == 0.75
    assert prediction["result"][0]["value"] == {"choices": ["a", "b"]}
    assert "predictions" not in second
    assert first["data"]["suggested"] == {"a": 0.9, "b": 0.6}


def test_a_label_that_a_tool_cannot_hold_is_named_and_nothing_is_written(tmp_path):
    queue = [Queued("1", "t", [], [], "random", ["r"])]
    for name, label, why in UNFIT:
        path = tmp_path / f"tasks{TOOLS[name].suffix}"
        with pytest.raises(DataError, match=f"the label '{label[:4]}.*{why}"):
            write_tasks(queue, ["fine", label], path, checked_tool(name, path), "m")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_tool_or_extension_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(ParameterError, match=r"--tool.*labelstudio.*label_studio"):
        checked_tool("labelstudio", tmp_path / "tasks.json")
    with pytest.raises(ParameterError, match=r"label_studio reads \.json, got 'tasks\.csv'"):
        checked_tool("label_studio", tmp_path / "tasks.csv")


def test_the_labeling_config_has_one_choice_per_label():
    config = ElementTree.fromstring(labeling_config(['<&">', "b"]))
    (choices,) = config.iter("Choices")
    assert choices.attrib == {"name": "labels", "toName": "text", "choice": "multiple"}
    assert [choice.attrib["value"] for choice in choices] == ['<&">', "b"]
