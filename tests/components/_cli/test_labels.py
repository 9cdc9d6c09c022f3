"""`longtail labels` and `ingest` with a history of labels, as a user runs them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from components import ingest as ingesting
from components._cli.labels import CORPUS, JUDGMENTS, command
from components._formats.assignment import write_assignment
from components._formats.corpus import read_corpus
from longtail.errors import DataError, ParameterError

DOCUMENTS = {
    "1": ["invoice", "billing"],
    "2": ["invoice"],
    "3": ["printers", "invoice"],
    "4": ["misc"],
    "5": ["delivery"],
}
HISTORY = """
history:
  - {date: 2026-03-01, merged: {invoice: bill}, reason: one thing}
  - {date: 2026-03-02, renamed: {bill: billing}, reason: the guideline's word}
  - {date: 2026-03-03, retired: [misc], reason: meant everything}
  - {date: 2026-03-04, split: {printers: [inkjet, laser]}, reason: two teams}
"""
MIGRATED = {
    "1": ["billing"],
    "2": ["billing"],
    "3": ["printers", "billing"],
    "4": [],
    "5": ["delivery"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    delivery("in.jsonl", DOCUMENTS)
    ingest("jsonl", "in.jsonl")
    rows = {"id": ["1", "2", "4"], "annotator": ["ada", "ben", "ada"],
            "labels": [["invoice"], ["delivery"], ["misc"]], "note": ["x", "y", "z"]}  # fmt: skip
    pd.DataFrame(rows).to_parquet(JUDGMENTS)
    Path("data/labels.yaml").write_text(HISTORY)
    yield tmp_path


def delivery(name: str, documents: dict[str, list[str]]) -> None:
    rows = [{"id": i, "text": f"text {i}", "labels": labels} for i, labels in documents.items()]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def ingest(*argv: str) -> None:
    ingesting.command.main(list(argv), standalone_mode=False)


def labels(*argv: str) -> None:
    command.main(list(argv), standalone_mode=False)


def corpus() -> dict[str, list[str]]:
    frame = read_corpus(CORPUS)
    return dict(zip(frame["id"], frame["labels"], strict=True))


def kept() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path("data").iterdir()}


def test_apply_migrates_corpus_and_judgments_once(capsys: pytest.CaptureFixture[str]) -> None:
    labels("apply")
    said = capsys.readouterr().out
    assert corpus() == MIGRATED
    assert "4 relabeled" in said and "2 judgments have current labels now" in said
    assert "labels that were split (1 times): 'printers'" in said
    judged = pq.read_table(JUDGMENTS).to_pydict()
    assert judged["labels"] == [["billing"], ["delivery"], []]
    assert judged["note"] == ["x", "y", "z"]
    before = kept()
    labels("apply")
    assert kept() == before
    assert "nothing new" in capsys.readouterr().out


def test_apply_freezes_the_recorded_split() -> None:
    """Else `split` would assign the documents anew, since their labels have changed."""
    ids = list(DOCUMENTS)
    parts = ["train", "val", "test", "train", "test"]
    path = Path("artifacts/split/assignment.parquet")
    path.parent.mkdir(parents=True)
    write_assignment(path, ids, parts, ids, [False] * 5, [-1] * 5)
    labels("apply")
    assert read_corpus(CORPUS)["split"].tolist() == parts


def test_a_killed_apply_is_finished_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(ingesting.merge, "save", _killed)
        labels("apply")
    assert corpus() == DOCUMENTS
    labels("apply")
    assert corpus() == MIGRATED


def _killed(*_: object) -> None:
    raise RuntimeError


def test_check_says_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError) as caught:
        labels("check")
    said = str(caught.value)
    assert "corpus.parquet: old labels replaced or dropped (4 times): 'invoice', 'misc'" in said
    assert "annotations.parquet: old labels replaced or dropped (2 times)" in said
    assert "labels that were split (1 times): 'printers'" in said
    assert said.endswith("`longtail labels apply` replaces and drops old labels.")
    labels("apply")
    with pytest.raises(DataError, match=re.escape("split (1 times): 'printers'")) as caught:
        labels("check")
    assert "labels apply" not in str(caught.value)
    delivery("reviewed.jsonl", {"3": ["laser", "billing"]})
    ingest("jsonl", "reviewed.jsonl", "--update")
    labels("check")
    assert "4 changes; corpus and judgments follow them" in capsys.readouterr().out


def test_a_file_with_old_words_comes_in_with_current_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels("apply")
    before = kept()
    ingest("jsonl", "in.jsonl")  # the same delivery again
    assert kept() == before
    delivery("more.jsonl", {"6": ["bill", "delivery"], "7": ["misc"], "8": ["printers"]})
    ingest("jsonl", "more.jsonl")
    said = capsys.readouterr().out
    assert "more.jsonl: old labels replaced or dropped (2 times): 'bill', 'misc'; labels" in said
    assert corpus() == MIGRATED | {"6": ["billing", "delivery"], "7": [], "8": ["printers"]}


def test_a_delivery_is_no_conflict_before_the_corpus_is_migrated() -> None:
    before = kept()
    ingest("jsonl", "in.jsonl")
    assert kept() == before
    delivery("changed.jsonl", {"2": ["delivery"]})
    with pytest.raises(DataError, match="already in the corpus with different content"):
        ingest("jsonl", "changed.jsonl")


def test_a_rename_to_a_name_in_use_is_refused() -> None:
    """It would merge two labels that nothing could tell apart again."""
    before = "history: [{date: 2026-03-01, %s: {invoice: billing}, reason: x}]"
    Path("data/labels.yaml").write_text(before % "renamed")
    as_it_was = kept()
    with pytest.raises(DataError, match="but 1 documents have 'billing' already.*Write 'merged'"):
        labels("apply")
    assert kept() == as_it_was
    Path("data/labels.yaml").write_text(before % "merged")
    labels("apply")
    assert corpus()["1"] == corpus()["2"] == ["billing"]


def test_show_follows_the_history_to_a_day(capsys: pytest.CaptureFixture[str]) -> None:
    labels("show")
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "2026" in line]
    assert [row[3] for row in rows] == ["merged", "renamed", "retired", "split"]
    assert [row[7] for row in rows[:2]] == ["billing", "billing"]
    assert rows[0][9] == "3"
    labels("show", "--at", "2026-03-01")
    [row] = [line.split() for line in capsys.readouterr().out.splitlines() if "2026" in line]
    assert row[7] == "bill"


def test_a_split_goes_to_annotators_and_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    labels("review", "--output", "tasks.json", "--tool", "label_studio")
    [task] = json.loads(Path("tasks.json").read_text())
    assert task["data"]["id"] == "3" and task["data"]["drawn"] == "split"
    [reason] = task["data"]["reasons"]
    assert "'printers' was split into 'inkjet', 'laser' on 2026-03-04 (two teams)" in reason
    [result] = task["predictions"][0]["result"]
    assert result["value"]["choices"] == ["billing"]
    choices = re.findall(r'value="(\w+)"', Path("tasks.labels.xml").read_text())
    assert choices == ["billing", "delivery", "inkjet", "laser"]
    labels("review", "--output", "tasks.csv")
    assert pd.read_csv("tasks.csv")["id"].tolist() == [3]
    assert "1 documents to review" in capsys.readouterr().out


def test_proposals_are_only_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """inbox and mailbox are used for the same texts; misc is about trains and about soup."""
    words = {
        "inbox": "mail letter post stamp send reply",
        "rail": "train track station signal",
        "soup": "broth carrot pepper onion leek",
        "bank": "money loan interest credit",
    }
    rng = np.random.default_rng(0)
    rows = []
    for number in range(1200):
        topic = list(words)[number % 4]
        label = {"inbox": rng.choice(["inbox", "mailbox"]), "rail": "misc", "soup": "misc"}
        given = [str(label.get(topic, topic))]
        text = " ".join(rng.choice(words[topic].split(), 8)) + f" {rng.integers(50)}"
        rows.append({"id": f"p{number}", "text": text, "labels": given})
    Path("more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("data/labels.yaml").unlink()
    ingest("jsonl", "more.jsonl", "--replace")
    before = kept()
    labels("propose")
    said = capsys.readouterr().out
    assert kept() == before
    assert "1 pairs of labels are used as one" in said and "- 'inbox' and 'mailbox': " in said
    assert "1 labels hide two" in said and "- 'misc': " in said
    assert said.count("300 documents such as") == 2


@pytest.mark.parametrize(
    ("argv", "history", "error", "says"),
    [
        (["apply"], "", DataError, "has no history"),
        (["show"], "labels: [a]", DataError, "has no history"),
        (["review", "--output", "x.csv"], HISTORY.split("  - {date: 2026-03-04")[0], DataError,
         "nothing to review"),
        (["review", "--output", "x.odt"], HISTORY, ParameterError, "extension"),
        (["review", "--output", "data/x.csv"], HISTORY, ParameterError, "among the data"),
        (["apply"], "history: [{date: 2026-03-01, renamed: {a: a}, reason: x}]", DataError,
         "cannot take its own place"),
    ],
)  # fmt: skip
def test_what_is_refused_changes_nothing(
    argv: list[str], history: str, error: type[Exception], says: str
) -> None:
    Path("data/labels.yaml").write_text(history)
    before = kept()
    with pytest.raises(error, match=says):
        labels(*argv)
    assert kept() == before


def test_a_broken_history_stops_ingest() -> None:
    Path("data/labels.yaml").write_text("history: [1]")
    before = kept()
    with pytest.raises(DataError, match="entry 1"):
        ingest("jsonl", "in.jsonl")
    assert kept() == before
