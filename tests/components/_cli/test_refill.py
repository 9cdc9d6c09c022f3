"""`longtail refill`: night after night, only as much as annotators have room for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from components._cli import refill
from components._cli.refill import command, count_waiting, read_earlier, write_all
from components._formats.corpus import write_corpus
from components._formats.queue_file import Queued
from components._frame.exit_codes import GateNotPassed
from components._frame.forgotten import LIST, digest_of
from components._registry import evidence
from longtail.errors import DataError, ParameterError
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import WORDS, build

MODEL, CORPUS = "artifacts/train/model", Path("data/corpus.parquet")
FILES = ["doccano.jsonl", "doccano.labels.json", "label_studio.json", "label_studio.labels.xml",
         "queue.csv", "queue.jsonl"]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished workspace without a registry, and two files of new texts."""
    home = tmp_path_factory.mktemp("refill") / "workspace"
    build(home)
    own = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    with (home / "params.yaml").open("a") as handle:
        yaml.safe_dump({"queue": own["queue"], "predict": {"batch_docs": 50}}, handle)
    (home / "data").mkdir()
    shutil.copy(home / evidence.CORPUS, home / CORPUS)
    rng = np.random.default_rng(5)
    rows = [
        {"id": f"p{i}", "text": " ".join(rng.choice([*WORDS, "the"], 9)) + f" n{i}"}
        for i in range(60)
    ]
    labeled = pd.read_parquet(home / CORPUS)
    rows.append({"id": labeled["id"].iloc[-1], "text": "of test"})  # its part, by `build`
    for name, own_rows in (("a.jsonl", rows[:30]), ("b.jsonl", rows[30:])):
        (home / name).write_text("".join(json.dumps(row) + "\n" for row in own_rows))
    return home


@pytest.fixture
def home(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = Path(shutil.copytree(built, tmp_path / "workspace"))
    monkeypatch.chdir(home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    return home


Night = Callable[..., list[str]]


@pytest.fixture
def night(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    """Refill as a night does, with the workspace's model; the ids that were queued."""
    monkeypatch.setattr(refill, "champion_address", lambda: MODEL)
    queues = tmp_path / "queues"

    def refilled(name: str, *pool: str, size: int = 20) -> list[str]:
        monkeypatch.setenv("LONGTAIL_LOGICAL_DATE", name)
        argv = [*(pool or ("a.jsonl", "b.jsonl")), "--folder", str(queues), "--size", str(size)]
        command.main(argv, "refill", standalone_mode=False)
        return queued_in(queues / name)

    return refilled


def queued_in(folder: Path) -> list[str]:
    lines = (folder / "queue.jsonl").read_text().splitlines()
    return [json.loads(line)["id"] for line in lines]


def annotate(ids: list[str], **text: str) -> None:
    """The documents come back labeled."""
    corpus = pd.read_parquet(CORPUS)
    rows = [{"id": name, "text": text.get(name, f"text of {name}"), "labels": ["ant"]}
            for name in ids]  # fmt: skip
    write_corpus(pd.concat([corpus, pd.DataFrame(rows)], ignore_index=True), CORPUS)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_nights_queue_what_annotators_have_room_for(
    night: Night, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = night("n1")
    told = capsys.readouterr()
    assert "of 61 documents, left out: 1 in the corpus already" in told.err
    assert "n1: 20 documents to annotate; 0 of earlier queues wait still." in told.out
    assert len(set(first)) == 20
    written = contents(tmp_path / "queues" / "n1")
    assert sorted(written) == FILES
    tasks = json.loads(written["label_studio.json"])
    assert [task["data"]["id"] for task in tasks] == first
    doccano = [json.loads(line)["id"] for line in written["doccano.jsonl"].splitlines()]
    assert doccano == first

    with pytest.raises(GateNotPassed, match="20 documents of the queues in .* wait .* 20 may;"):
        night("n2")
    annotate(first[:15])
    second = night("n3")
    assert len(second) == 15 and not set(second) & set(first)
    assert "16 in the corpus already, 5 in an earlier queue" in capsys.readouterr().err
    with pytest.raises(GateNotPassed, match="n3 was written before; it stays as it is"):
        night("n3", size=60)
    assert contents(tmp_path / "queues" / "n1") == written
    assert sorted(path.name for path in (tmp_path / "queues").iterdir()) == ["n1", "n3"]

    # A queue that nobody works on any more makes room, but does not come again by itself.
    (tmp_path / "queues" / "n3" / "done").touch()
    third = night("n4")
    assert len(third) == 15 and not set(third) & {*first, *second}
    # One that is removed does.
    shutil.rmtree(tmp_path / "queues" / "n3")
    assert set(second) <= set(night("n5", size=60))


def test_a_pool_that_is_used_up_is_no_error(night: Night) -> None:
    assert len(night("n1", size=60)) == 60
    with pytest.raises(GateNotPassed, match=r"all 61 .*\(1 in the corpus already, 60 in an"):
        night("n2", size=70)


def test_a_queued_document_is_labeled_by_its_id_or_its_text(home: Path, tmp_path: Path) -> None:
    rows = [Queued(name, f"text {name}", [], [], "random", []) for name in "abcd"]
    write_all(rows, ["ant"], tmp_path / "queues" / "n1", MODEL)
    (home / LIST).write_text(digest_of("d") + "\n")  # d is to be forgotten
    annotate(["a", "x"], x="TEXT b!")
    every, still_open = read_earlier(tmp_path / "queues")
    assert every.ids == still_open.ids == ["a", "b", "c"]
    assert count_waiting(still_open, pd.read_parquet(CORPUS)) == 1


def test_a_tool_that_cannot_hold_the_labels_is_left_out(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = "x," + "y" * 100
    write_all([Queued("a", "t", [label], [0.9], "random", [])], [label], tmp_path / "q", MODEL)
    assert sorted(path.name for path in (tmp_path / "q").iterdir()) == [
        "label_studio.json", "label_studio.labels.xml", "queue.jsonl",
    ]  # fmt: skip
    told = capsys.readouterr().err
    assert "queue.csv is left out" in told and "the tasks for doccano are left out" in told


def test_without_a_champion_nothing_is_queued(home: Path, tmp_path: Path) -> None:
    argv = ["a.jsonl", "--folder", str(tmp_path / "queues")]
    with pytest.raises(GateNotPassed, match="longtail has no champion yet, so nothing was queued"):
        command.main(argv, "refill", standalone_mode=False)
    assert list((tmp_path / "queues").iterdir()) == []


REFUSED: dict[str, tuple[list[str], type[Exception], str]] = {
    "missing": (["away.jsonl"], DataError, "away.jsonl does not exist; check the path"),
    "empty": (["empty.jsonl"], DataError, "empty.jsonl"),
    "one id": (["a.jsonl", "other.jsonl"], DataError, "the id 'p0' appears in both, with diff"),
    "format": (["a.xls"], ParameterError, "xls"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_broken_pool_is_one_sentence(night: Night, tmp_path: Path, case: str) -> None:
    pool, kind, message = REFUSED[case]
    Path("empty.jsonl").touch()
    Path("other.jsonl").write_text('{"id": "p0", "text": "another"}\n')
    Path("a.xls").write_text("a")
    with pytest.raises(kind, match=message):
        night("n1", *pool)
    assert list((tmp_path / "queues").iterdir()) == []


def test_a_damaged_queue_and_a_folder_among_the_data_are_refused(
    night: Night, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "queues" / "n0").mkdir(parents=True)
    (tmp_path / "queues" / "n0" / "queue.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(DataError, match=r"queue.jsonl: line 1 has no id and text, .* restore"):
        night("n1")
    argv = ["a.jsonl", "--folder", "data/queues"]
    with pytest.raises(ParameterError, match="is among the data of the pipeline"):
        command.main(argv, "refill", standalone_mode=False)
