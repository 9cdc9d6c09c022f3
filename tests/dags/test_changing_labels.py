"""Nights in which labels are renamed, merged, split, retired and added, through the real DAG."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors import safe_open

from components._formats.assignment import read_assignment
from components._formats.corpus import read_corpus
from components._formats.labels_file import FILE, read_allowed
from components._registry import client as registry
from components._registry.opened import opened
from components._registry.renamed import Renamed
from longtail.validation.label_history import Fate, Fates
from tests.builders import real_project
from tests.builders.nights import Nights, environment, run
from tests.builders.small_project import LABELS, small_corpus, write_encoder
from tests.dags.test_real_nights import last_workspace

pytestmark = [pytest.mark.slow, pytest.mark.beyond_gate, pytest.mark.timeout(5400)]

N_DOCS, N_NEW = 360, 24  # at the start, and per night
ADDED = "warranty"
DAY = "date: 2026-05-01"
# What is done to the labels before each night.
HISTORY = {
    "renamed": f"{{{DAY}, renamed: {{label-1: first}}, reason: the word of the guideline}}",
    "merged": f"{{{DAY}, merged: {{label-3: label-2}}, reason: nobody told them apart}}",
    "split": f"{{{DAY}, split: {{label-0: [zero-a, zero-b]}}, reason: two teams}}",
    "retired": f"{{{DAY}, retired: [label-4], reason: meant everything}}",
    "added": f"{{{DAY}, added: [{ADDED}], reason: a new product}}",
}
REST = {"label-2", "label-5", "label-6", "label-7"}
# The labels that a version of that night has learned.
LEARNED = {
    "start": set(LABELS),
    "renamed": {"label-0", "first", "label-3", "label-4"} | REST,
    "merged": {"label-0", "first", "label-4"} | REST,
    "split": {"zero-a", "zero-b", "first", "label-4"} | REST,
    "retired": {"zero-a", "zero-b", "first"} | REST,
    "added": {"zero-a", "zero-b", "first", ADDED} | REST,
}
# The champion that each night's version meets, and what the gate must say of their labels: mapped,
# left out, and added. Promotion is held in two of the nights, so a champion lives through three
# changes.
MET = {
    "renamed": ("start", {"first": ["label-1"]}, [], []),
    "merged": ("renamed", {"label-2": ["label-2", "label-3"]}, [], []),
    "split": ("merged", {}, ["label-0"], ["zero-a", "zero-b"]),
    "retired": ("merged", {}, ["label-0", "label-4"], ["zero-a", "zero-b"]),
    "added": ("merged", {}, ["label-0", "label-4"], [ADDED, "zero-a", "zero-b"]),
}
MAIN = "from components._cli.main import main; main()"
HELD = ("split", "retired")
VERSION = {name: str(number) for number, name in enumerate(LEARNED, start=1)}


def params_of(project: Path) -> dict[str, Any]:
    """Short training on a tiny encoder, and a gate that lets every version through."""
    params = real_project.small_params(project)
    params["train"]["encoder"] = str(project.parent / "encoder")
    open_gate = {"min_gain": -1.0, "max_micro_loss": 1.0}
    params["promote"] |= open_gate | {"max_loss": dict.fromkeys(("HEAD", "MEDIUM", "TAIL"), 1.0)}
    return params


def split_by_words(corpus: pd.DataFrame) -> pd.DataFrame:
    """What the annotators make of `label-0`: each document of it has one of its two words."""
    own = corpus[[("label-0" in labels) for labels in corpus["labels"]]].copy()
    became = {"zero-a": "cue0a", "zero-b": "cue0b"}
    own["labels"] = [
        [label for label in labels if label != "label-0"]
        + [new for new, word in became.items() if word in text.split()]
        for text, labels in zip(own["text"], own["labels"], strict=True)
    ]
    return own[["id", "text", "labels"]]


def longtail(project: Path, *argv: str, **env: str) -> str:
    """Run `longtail` in the project, with the project's own code."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *argv], cwd=project, capture_output=True,
        text=True, env=environment(**env) | {"PYTHONPATH": str(project)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def change(project: Path, name: str) -> None:
    """What a person does on the code's branch before the night of this change."""
    # In the words of docs/operations.md: nights took in other data since.
    run("git", "merge", "--quiet", "--no-edit", "--strategy-option", "theirs", "nightly",
        cwd=project)  # fmt: skip
    run(sys.executable, "-m", "dvc", "checkout", "--quiet", "--force", "data.dvc", cwd=project)
    file = project / "data" / "labels.yaml"
    before = file.read_text() if file.exists() else "history:\n"
    file.unlink(missing_ok=True)
    file.write_text(f"{before}  - {HISTORY[name]}\n")
    longtail(project, "labels", "apply")
    if name == "split":
        tasks = project.parent / "tasks.jsonl"
        longtail(project, "labels", "review", "--output", str(tasks))
        asked = {json.loads(line)["id"] for line in tasks.read_text().splitlines()}
        answered = split_by_words(read_corpus(project / "data" / "corpus.parquet"))
        assert set(answered["id"]) == asked
        answered.to_json(project.parent / "answers.jsonl", orient="records", lines=True)
        longtail(project, "ingest", "jsonl", str(project.parent / "answers.jsonl"), "--update")
    longtail(project, "labels", "check")
    run(sys.executable, "-m", "dvc", "add", "--quiet", "data", cwd=project)
    run("git", "add", "data.dvc", cwd=project)
    run("git", "commit", "--quiet", "-m", f"Labels: {name}", cwd=project)


def deliver(folder: Path, number: int, name: str, corpus: pd.DataFrame) -> None:
    """New documents in the words of the first day, but for the splits, which no old word says."""
    new = corpus[["id", "text", "labels"]].copy()
    if name in ("split", "retired", "added"):
        reviewed = split_by_words(new)
        new = pd.concat([new[~new["id"].isin(reviewed["id"])], reviewed])
    if name == "added":
        new["text"] += " guarantee"
        new["labels"] = [[*labels, ADDED] for labels in new["labels"]]
    folder.mkdir(exist_ok=True)
    new.to_json(folder / f"{number}.jsonl", orient="records", lines=True)


def check_follows(workspace: Path, learned: set[str]) -> None:
    """Corpus, model, its prototypes, and thresholds have the labels of today."""
    clean = read_corpus(workspace / "artifacts" / "validate" / "corpus.parquet")
    assert {label for labels in clean["labels"] for label in labels} == learned
    model = workspace / "artifacts" / "train" / "model"
    config = json.loads((model / "config.json").read_text())
    assert set(config["id2label"].values()) == learned
    with safe_open(model / "model.safetensors", "np") as weights:
        names = [key for key in weights.keys() if key.endswith("prototypes")]  # noqa: SIM118
        assert {len(weights.get_tensor(name)) for name in names} == {len(learned)}
    thresholds = json.loads((workspace / real_project.THRESHOLDS).read_text())
    assert set(thresholds["labels"]) == learned
    assert len(thresholds["models"]["model"]["thresholds"]) == len(learned)


def noisy(corpus: pd.DataFrame) -> pd.DataFrame:
    """The corpus, in which a seventh of the documents with several labels lack their last one."""
    rows = [
        labels[:-1] if len(labels) > 1 and number % 7 == 0 else labels
        for number, labels in enumerate(corpus["labels"])
    ]
    return corpus.assign(labels=rows)


def test_a_label_set_that_changes_night_after_night(
    airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    write_encoder(tmp_path / "encoder")
    corpus = noisy(small_corpus(N_DOCS + N_NEW * len(HISTORY), seed=4))
    real_project.clone(project)
    real_project.commit(project, corpus[:N_DOCS], params_of(project))
    home, source = tmp_path / "home", tmp_path / "in"
    home.mkdir()
    nights = Nights(airflow_home, project, home)
    store = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/state/mlflow.db",
        "LONGTAIL_CACHE": str(home / "state" / "cache"),
    }
    parts: dict[str, str] = {}
    for number, name in enumerate(LEARNED):
        if name in HISTORY:
            change(project, name)
            deliver(source, number, name, corpus[N_DOCS + (number - 1) * N_NEW :][:N_NEW])
        if name == HELD[0]:
            longtail(project, "promote", "hold", "--reason", "the labels change", **store)
        if name == "added":
            longtail(project, "promote", "release", "--reason", "they have changed", **store)
        date = f"2026-05-{number + 1:02}T02:00:00"
        states, output = nights(date, **({"source": str(source)} if name in HISTORY else {}))
        failed = [task for task, state in states.items() if "failed" in str(state)]
        assert not failed, output[-6000:]
        last = last_workspace(nights)
        check_follows(last, LEARNED[name])
        decision = json.loads((last / "reports" / "decision.json").read_text())
        print(name, decision["summary"], json.dumps(decision["champion"]), flush=True)
        assert decision["challenger"]["version"] == VERSION[name]
        assert decision["verdict"] == "promoted", decision["rules"]
        if name in MET:
            champion, mapped, left_out, added = MET[name]
            assert decision["champion"]["version"] == VERSION[champion]
            assert decision["labels_mapped"] == mapped
            assert decision["labels_left_out"] == left_out
            assert (decision["labels_added"], decision["labels_removed"]) == (added, [])
            [line] = [rule for rule in decision["rules"] if rule["rule"] == "labels"]
            assert line["verdict"] == "passed" and line["challenger"] == 1.0
            page = (last / "reports" / "decision.md").read_text()
            assert all(label.replace("-", "\\-") in page or label in page
                       for label in [*mapped, *left_out, *added])  # fmt: skip
        outcome = json.loads((last / "reports" / "outcome.json").read_text())
        assert outcome["outcome"] == ("held" if name in HELD else "promoted")
        # Documents keep their part of the split through every change, and none leaves but those
        # whose only label was retired.
        now = read_assignment(last / real_project.SPLIT).to_dict()
        assert {doc: now[doc] for doc in parts.keys() & now.keys()}.items() <= parts.items()
        stored = read_corpus(last / "data" / "corpus.parquet")
        without = {doc for doc, own in zip(stored["id"], stored["labels"], strict=True) if not own}
        assert parts.keys() - now.keys() == (parts.keys() & without)
        assert bool(without) == (name in ("retired", "added"))
        parts = now

    monkeypatch.chdir(last)
    for key, value in store.items():
        monkeypatch.setenv(key, value)
    client = registry.connect()
    assert sorted(v.version for v in registry.versions(client, "longtail")) == [1, 2, 3, 4, 5, 6]
    entries = [json.loads(line) for line in longtail(last, "history", **store).splitlines()]
    moves = [(entry["from"], entry["to"]) for entry in entries if entry["action"] == "promote"]
    assert moves == [(None, "1"), ("1", "2"), ("2", "3"), ("3", "6")]
    fates = read_allowed(FILE).fates
    for name, number in VERSION.items():
        check_answers(number, LEARNED[name], fates)


def check_answers(version: str, learned: set[str], fates: Fates) -> None:
    """A version answers in its own labels, and in those of today."""
    text = ["cue1a cue1b cue1a cue1b word1"]
    with opened(f"models:/longtail/{version}") as served:
        assert set(served.labels) == learned
        assert set(served.ask(text, threshold=0.0).labels[0]) == learned
        today = Renamed(served, fates)
        [labels] = today.ask(text, threshold=0.0).labels
    became = [fates.get(label, Fate((label,))) for label in learned]
    expected = {label for fate in became if not fate.review for label in fate.labels}
    assert set(labels) == set(today.labels) == expected
    assert labels[0] == "first"
