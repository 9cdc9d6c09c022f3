"""`longtail queue` on a finished workspace: what it leaves out, what it writes, what it refuses."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from components import predict
from components._cli.new_labels import new_labels
from components._cli.queue import (
    AT_RANDOM,
    CORPUS,
    Documents,
    command,
    read_pool,
    without_known,
)
from components._formats.labels_file import AllowedLabels
from components._formats.queue_file import Queued, write_queue
from components._formats.records import Reading
from components._frame.forgotten import LIST, digest_of
from components._registry import evidence, trust
from components._registry.opened import opened
from longtail.annotation.queue import STRATEGIES
from longtail.errors import DataError, ParameterError
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import WORDS, build
from tests.builders.small_project import write_encoder

MODEL = "artifacts/train/model"
COLUMNS = ["id", "text", "labels", "scores", "drawn", "reasons"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace, and `pool.jsonl`: 60 new texts, two labeled ones, a copy, and an empty text."""
    home = tmp_path_factory.mktemp("queue")
    build(home, blend_weight=0.3)
    own = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    with (home / "params.yaml").open("a") as handle:
        yaml.safe_dump({"queue": own["queue"], "predict": {"batch_docs": 7}}, handle)
    (home / "data").mkdir()
    shutil.copy(home / evidence.CORPUS, home / CORPUS)
    labeled = pd.read_parquet(home / CORPUS)
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice([*WORDS, "the", "of"], 9)) + f" n{i}" for i in range(60)]
    pool = [{"id": f"p{i}", "text": text} for i, text in enumerate(texts)]
    pool += [{"text": labeled["text"][0].upper()}, {"id": labeled["id"][1], "text": "fresh"}]
    pool += [{"text": texts[0] + "!"}, {"text": "?"}]
    (home / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pool))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        yield home


def asked(*argv: str, pool: str = "pool.jsonl", model: str = MODEL) -> None:
    command.main([pool, "--model", model, *argv], "queue", standalone_mode=False)


@pytest.mark.parametrize("model", ["nope", "models:/longtail/9", "models:/longtail@champion"])
def test_a_model_that_does_not_exist_is_told_before_the_pool_is_read(
    home: Path, model: str
) -> None:
    said = "nope does not exist|models:/longtail.* cannot be downloaded"
    with pytest.raises(DataError, match=said):
        asked("--output", "none.jsonl", pool="such-a-pool-is-not-there.jsonl", model=model)


def test_the_queue_says_what_predict_says_and_why(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked("--size", "20", "--output", "queue.parquet")
    told = capsys.readouterr().err
    assert (
        "of 64 documents, left out: 1 without a word, 2 in the corpus already, 1 copies of" in told
    )
    table = pq.read_table("queue.parquet")
    assert table.column_names == COLUMNS
    rows = table.to_pylist()
    assert len({row["id"] for row in rows}) == 20
    assert [row["drawn"] for row in rows].count("random") == 4
    assert {row["drawn"] for row in rows} == {"random", "tail_gain"}
    expected = list(predict.predict([(row["id"], row["text"]) for row in rows], MODEL, 100))
    found = [{name: row[name] for name in ("id", "labels", "scores")} for row in rows]
    assert found == expected
    corpus = pd.read_parquet(CORPUS).merge(pd.read_parquet(evidence.ASSIGNMENT)[["id", "split"]])
    learned = corpus[corpus["split"] != "test"]["labels"].explode().value_counts()
    for row in rows:
        if row["drawn"] == "random":
            assert row["reasons"] == [AT_RANDOM]
            continue
        assert len(row["reasons"]) == 3
        label, rest = row["reasons"][0].split(": ")
        assert rest.endswith(f", {learned[label]} documents to learn from")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_queues_what_there_is(
    home: Path, strategy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked("--strategy", strategy, "--output", "all.jsonl")
    rows = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == sorted(f"p{i}" for i in range(60))
    assert "60 documents are left, fewer than 200" in capsys.readouterr().err


def test_tasks_for_a_tool_say_the_same_as_the_queue(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked("--size", "20", "--output", "plain.jsonl")
    asked("--size", "20", "--tool", "label_studio", "--output", "tasks.json")
    assert "the labels for label_studio are in tasks.labels.xml" in capsys.readouterr().err
    rows = [json.loads(line) for line in Path("plain.jsonl").read_text().splitlines()]
    tasks = json.loads(Path("tasks.json").read_text())
    assert [task["data"]["id"] for task in tasks] == [row["id"] for row in rows]
    assert [task["data"]["reasons"] for task in tasks] == [row["reasons"] for row in rows]
    for row, task in zip(rows, tasks, strict=True):
        predictions = task.get("predictions", [])
        assert [entry["model_version"] for entry in predictions] == [MODEL] * bool(row["labels"])
        for entry in predictions:
            assert entry["result"][0]["value"]["choices"] == row["labels"]
    with opened(MODEL) as served:
        labels = list(served.labels)
    choices = ElementTree.parse("tasks.labels.xml").iter("Choice")
    assert [choice.attrib["value"] for choice in choices] == labels


def test_predict_and_queue_answer_in_the_labels_of_today(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """fox was renamed, gnu retired; the corpus of the test still has the old words."""
    asked("--size", "60", "--output", "own.jsonl")
    history = Path("data/labels.yaml")
    history.write_text(
        "history:\n- {date: 2026-03-01, renamed: {fox: vixen}, reason: more precise}\n"
        "- {date: 2026-03-01, retired: [gnu], reason: too rare}\n"
    )
    try:
        asked("--size", "60", "--output", "new.jsonl", "--labels", "current")
        assert "The model's labels 'gnu' were split or retired" in capsys.readouterr().err
        asked("--size", "60", "--output", "still.jsonl")
        argv = ["pool.jsonl", "--model", MODEL, "--output", "said.jsonl", "--labels", "current"]
        predict.command.main(argv, "predict", standalone_mode=False)
    finally:
        history.unlink()
    own, new, still, said = map(read_rows, ("own.jsonl", "new.jsonl", "still.jsonl", "said.jsonl"))
    assert still == own
    assert new.keys() == own.keys() and any("fox" in row["labels"] for row in own.values())
    for name, row in own.items():
        pairs = dict(zip(row["labels"], row["scores"], strict=True))
        pairs = {"vixen" if k == "fox" else k: v for k, v in pairs.items() if k != "gnu"}
        assert dict(zip(new[name]["labels"], new[name]["scores"], strict=True)) == pairs
        assert said[name]["labels"] == new[name]["labels"]
        assert said[name]["scores"] == pytest.approx(new[name]["scores"], abs=2e-6)


@pytest.fixture
def labels_file(home: Path) -> Iterator[Path]:
    """`data/labels.yaml`, for one test."""
    path = home / "data" / "labels.yaml"
    yield path
    path.unlink()


def test_a_label_that_no_model_knows_is_looked_for_by_its_description(
    home: Path, labels_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two new labels; five texts of the pool have the words by which one of them is described."""
    write_encoder(tmp_path / "encoder")
    before = (home / "params.yaml").read_text()
    own = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["train"]
    train = {"train": own | {"encoder": str(tmp_path / "encoder"), "max_length": 16}}
    lines = (home / "pool.jsonl").read_text()
    more = [{"id": f"new-{i}", "text": f"cue0a cue0a {i} cue0b cue0a cue0b"} for i in range(5)]
    (home / "more.jsonl").write_text(lines + "".join(json.dumps(row) + "\n" for row in more))
    labels_file.write_text(
        "descriptions: {warranty: cue0a cue0b cue0a cue0b, recall: of the other kind}\n"
        "history: [{date: 2026-03-01, added: [recall], reason: new}]\n"
    )
    try:
        (home / "params.yaml").write_text(before + yaml.safe_dump(train))
        asked("--size", "20", "--output", "new.jsonl", pool="more.jsonl")
        told = capsys.readouterr().err
        asked("--size", "20", "--tool", "doccano", "--output", "t.jsonl", pool="more.jsonl")
    finally:
        (home / "params.yaml").write_text(before)
    assert "2 labels that the model does not know: 'recall', 'warranty'" in told
    found = read_rows("new.jsonl")
    drawn = {name: row["drawn"] for name, row in found.items()}
    assert sorted(drawn.values()) == ["new_label"] * 3 + ["random"] * 4 + ["tail_gain"] * 13
    mine = [row for row in found.values() if row["drawn"] == "new_label"]
    of_warranty = [row["reasons"][0] for row in mine if row["id"].startswith("new-")]
    assert of_warranty
    assert all(
        re.fullmatch(r"warranty: number [1-5] of the pool by likeness to its name and "
                     "description; the model does not know it", reason)
        for reason in of_warranty
    )  # fmt: skip
    # A likeness is no score: the new label is offered to annotators, and suggested by nothing.
    assert all("warranty" not in row["labels"] for row in found.values())
    offered = [item["text"] for item in json.loads(Path("t.labels.json").read_text())]
    assert offered[-2:] == ["recall", "warranty"]


def test_of_many_new_labels_each_has_its_turn(
    home: Path, labels_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels_file.write_text(f"labels: [fox, {', '.join(f'n{i}' for i in range(9))}]\n")
    compared: list[list[str]] = []

    def likeness(texts: list[str], labels: list[str], allowed: AllowedLabels) -> np.ndarray:
        compared.append(labels)
        return np.zeros((len(texts), len(labels)))

    monkeypatch.setattr("components._cli.new_labels.likeness", likeness)
    for n_docs in range(40):
        new = new_labels(["a"] * n_docs, ["fox"], 3, 0)
        assert new.names == [f"n{i}" for i in range(9)] and new.sought == compared[-1]
        assert len(new.sought) == 3 == new.likeness.shape[1]
    assert {label for labels in compared for label in labels} == set(new.names)
    assert new_labels(["a"], ["fox"], 0, 0).sought == []
    assert len(compared) == 40


@pytest.mark.parametrize(
    ("size", "strategy", "compared"),
    [(20, "tail_gain", 3), (60, "tail_gain", 10), (2, "random", 0)],
)
def test_labels_are_compared_with_the_pool_only_if_they_get_a_place(
    size: int, strategy: str, compared: int, home: Path, labels_file: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Of 20 documents 4 are drawn at random, and a fifth of the other 16 is for new labels."""
    labels_file.write_text(f"descriptions: {{{', '.join(f'n{i}: a' for i in range(30))}}}\n")
    asked_for: list[int] = []

    def likeness(texts: list[str], labels: list[str], allowed: AllowedLabels) -> np.ndarray:
        asked_for.append(len(labels))
        return np.random.default_rng(0).random((len(texts), len(labels)))

    monkeypatch.setattr("components._cli.new_labels.likeness", likeness)
    asked("--size", str(size), "--strategy", strategy, "--output", "new.jsonl")
    drawn = [row["drawn"] for row in read_rows("new.jsonl").values()]
    assert sum(asked_for) == compared == drawn.count("new_label")
    assert ("some texts are chosen by likeness" in capsys.readouterr().err) == (compared > 0)


def test_a_model_folder_is_not_read_for_a_digest_that_nobody_uses(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(trust, "listing", lambda folder: read.append(folder) or "")
    asked("--size", "1", "--output", "one.jsonl")
    assert read == []


def read_rows(name: str) -> dict[str, dict]:
    return {row["id"]: row for row in map(json.loads, Path(name).read_text().splitlines())}


def test_csv_joins_lists_and_runs_no_formula(tmp_path: Path) -> None:
    row = Queued("a", "=1+1", ["x", "y"], [0.9, 0.5], "tail_gain", ["x: why", "y: why"])
    write_queue([row], tmp_path / "queue.csv")
    with (tmp_path / "queue.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            COLUMNS, ["a", "'=1+1", "x,y", "0.9,0.5", "tail_gain", "x: why; y: why"],
        ]  # fmt: skip
    comma = Queued("a", "t", ["x,y"], [0.9], "random", [])
    with pytest.raises(DataError, match="has a comma"):
        write_queue([comma], tmp_path / "queue.csv")
    assert len((tmp_path / "queue.csv").read_text().splitlines()) == 2  # the old one is there


def test_an_id_is_made_from_the_text_and_no_row_number(tmp_path: Path) -> None:
    for name, lines in (("a.txt", "one\ntwo\n"), ("b.txt", "two\none\ntwo\n")):
        (tmp_path / name).write_text(lines)
    first, second = (read_pool(Reading(tmp_path / n), "txt", "text") for n in ("a.txt", "b.txt"))
    assert first.ids == [second.ids[1], second.ids[0]]
    assert all(name.startswith("pool-") for name in first.ids)


def test_a_pool_without_documents_is_told(tmp_path: Path) -> None:
    (tmp_path / "header.csv").write_text("id,text\n")
    with pytest.raises(DataError, match="header.csv has no documents; pass a file with texts"):
        read_pool(Reading(tmp_path / "header.csv"), "csv", "text")


# What the pool has instead of the usual, further arguments, and the error.
REFUSED: dict[str, tuple[str | None, list[str], type[Exception], str]] = {
    "empty": ("", [], DataError, "is empty"),
    "all known": (
        '{"id": "d0", "text": "a"}\n', [], DataError,
        r"all 1 documents are left out \(1 in the corpus already\)",
    ),
    "one id": (
        '{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}\n', [], DataError,
        "the id '1' appears twice",
    ),
    "strategy": (None, ["--strategy", "tailgain"], ParameterError, "mean 'tail_gain'"),
    "extension": (None, ["--output", "q.xls"], ParameterError, "extension of --output"),
    "tool": (None, ["--tool", "prodigy"], ParameterError, "--tool 'prodigy'"),
    "file of a tool": (None, ["--tool", "label_studio"], ParameterError, r"reads \.json, got 'ref"),
    "folder": (None, ["--output", "data"], DataError, "data is a folder"),
    "input": (None, ["--output", "bad.jsonl"], ParameterError, "is the input"),
    "input beside": (
        None, ["--output", "in.jsonl", "--tool", "doccano", "--format", "jsonl"], ParameterError,
        "in.labels.json is the input",
    ),
    "corpus": (
        None, ["--output", "data/corpus.parquet"], ParameterError,
        "data/corpus.parquet is among the data of the pipeline",
    ),
    "champion": (None, ["--model", "models:/longtail@champion"], DataError, "longtail history"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_sentence(home: Path, case: str) -> None:
    content, argv, kind, message = REFUSED[case]
    pool = home / ("in.labels.json" if case == "input beside" else "bad.jsonl")
    shutil.copy("pool.jsonl", pool)
    if content is not None:
        pool.write_text(content)
    before = pool.read_bytes(), (home / CORPUS).read_bytes()
    with pytest.raises(kind, match=message):
        asked("--output", "refused.jsonl", *argv, pool=str(pool))
    assert not (home / "refused.jsonl").exists()
    assert (pool.read_bytes(), (home / CORPUS).read_bytes()) == before


def test_a_forgotten_document_is_not_queued(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = Documents(["p1", "p2"], ["a text to forget", "another one"])
    (home / LIST).write_text(digest_of("p1") + "\n")
    found = without_known(pool, pd.read_parquet(home / CORPUS), 0.8, "pool")
    (home / LIST).unlink()
    assert found.ids == ["p2"]
    assert "of 2 documents, left out: 1 to be forgotten." in capsys.readouterr().err
