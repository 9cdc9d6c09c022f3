"""Forgetting documents as a user does it: everywhere beside the corpus, for good, until lifted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click import UsageError

from components import ingest as command
from components._formats.annotations import read_annotations
from components._formats.assignment import write_assignment
from components._formats.corpus import read_corpus
from components._frame.forgotten import LIST, digest_of
from components._frame.scratch import scratch
from longtail.errors import DataError
from tests.builders.nights import run

CORPUS = Path("data/corpus.parquet")
FOUR = "id,text,labels\n1,one,a\n2,two is ada@x.invalid,b\n3,three,a\n4,four,b\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    Path("in.csv").write_text(FOUR)
    ingest("csv", "in.csv")
    pd.DataFrame(
        {"id": ["1", "2", "2"], "annotator": ["x", "x", "y"], "labels": [["a"], ["b"], ["a"]]}
    ).to_parquet("data/annotations.parquet")
    Path("gone.txt").write_text("2\nnobody\n")
    return tmp_path


def ingest(*arguments: str) -> None:
    command.command.main(list(arguments), standalone_mode=False)


def ids() -> list[str]:
    return read_corpus(CORPUS)["id"].tolist()


def kept() -> dict[str, bytes]:
    """All files below `data/`, and the list."""
    files = [path for path in Path("data").rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in [*files, *Path().glob(LIST)]}


def test_documents_leave_the_corpus_and_what_is_beside_it(folder: Path, capsys) -> None:
    features = scratch("features", {}, ["two is ada@x.invalid"])
    lock = folder / "cache" / "locks" / "held"
    lock.mkdir(parents=True)
    ingest("--forget", "gone.txt")
    assert ids() == ["1", "3", "4"]
    assert pd.read_parquet("data/origins.parquet")["id"].tolist() == ["1", "3", "4"]
    judged = read_annotations(Path("data/annotations.parquet"))
    assert judged is not None and judged["id"] == ["1"]
    assert not features.exists() and lock.exists()
    assert read_corpus(CORPUS)["text"].tolist() == ["one", "three", "four"]
    printed = capsys.readouterr().out
    assert "1 of 2 documents found and removed" in printed and "'nobody'" in printed
    assert Path(LIST).read_text().split() == sorted(map(digest_of, ["2", "nobody"]))
    assert "3 documents" in printed and "1 forgotten" in printed


def test_a_later_delivery_does_not_bring_them_back_until_lifted(folder: Path, capsys) -> None:
    ingest("--forget", "gone.txt")
    before = CORPUS.read_bytes()
    Path("again.csv").write_text(FOUR.replace("two", "TWO") + "5,five,a\n")
    for mode in ("--append", "--update", "--replace"):
        ingest("csv", "in.csv", mode)
        assert ids() == ["1", "3", "4"] and CORPUS.read_bytes() == before
    assert "in.csv: 1 rows left out; forgotten.txt says to forget" in capsys.readouterr().out
    ingest("csv", "again.csv")
    assert ids() == ["1", "3", "4", "5"]
    ingest("--lift", "gone.txt")
    assert not Path(LIST).exists()
    ingest("csv", "again.csv")
    assert ids() == ["1", "2", "3", "4", "5"]


def test_the_list_is_obeyed_whatever_brought_the_documents_back(folder: Path) -> None:
    """Such as a merge of `data.dvc`, or a backfill of a date that still had them."""
    before = CORPUS.read_bytes()
    ingest("--forget", "gone.txt")
    CORPUS.unlink()
    CORPUS.write_bytes(before)
    ingest("--freeze")
    assert ids() == ["1", "3", "4"]
    CORPUS.unlink()
    CORPUS.write_bytes(before)
    Path("more.csv").write_text("id,text,labels\n6,six,a\n")
    ingest("csv", "more.csv", "--forgotten", LIST)
    assert ids() == ["1", "3", "4", "6"]


def test_the_others_keep_their_part_of_the_split(folder: Path) -> None:
    path = Path("artifacts/split/assignment.parquet")
    path.parent.mkdir(parents=True)
    parts = ["train", "test", "test", "val"]
    write_assignment(path, ["1", "2", "3", "4"], parts, ["1", "2", "3", "4"], [False] * 4, [-1] * 4)
    ingest("--forget", "gone.txt")
    frame = read_corpus(CORPUS)
    assert dict(zip(frame["id"], frame["split"], strict=True)) == {
        "1": "train", "3": "test", "4": "val",
    }  # fmt: skip


def test_a_killed_call_is_finished_by_the_same_call(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def killed(*_: object) -> None:
        raise ValueError("killed")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="killed"):
        patch.setattr("components._sources.merge.save", killed)
        ingest("--forget", "gone.txt")
    assert ids() == ["1", "2", "3", "4"], "the corpus is written last"
    ingest("--forget", "gone.txt")
    assert ids() == ["1", "3", "4"]
    assert "1 of 2 documents found" in capsys.readouterr().out


def test_json_lines_name_ids_too(folder: Path) -> None:
    Path("gone.jsonl").write_text('{"id": 2, "why": "asked"}\n{"id": "4"}\n')
    ingest("--forget", "gone.jsonl")
    assert ids() == ["1", "3"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.txt", "\n", "none.txt is empty; expected one id per line"),
        ("bad.jsonl", '{"key": 2}\n', 'expected lines such as {"id": "7"}, got'),
        ("all.txt", "1\n2\n3\n4\n", "No documents would be left in data/corpus.parquet"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    folder: Path, name: str, text: str, message: str
) -> None:
    Path(name).write_text(text)
    before = kept()
    with pytest.raises(DataError) as caught:
        ingest("--forget", name)
    assert message in str(caught.value)
    assert kept() == before


def test_a_damaged_list_and_mixed_calls_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="without a SOURCE"):
        ingest("--forget", "gone.txt", "csv", "in.csv")
    Path(LIST).write_text("2\n")
    with pytest.raises(DataError, match="forgotten.txt has '2'; expected digests only"):
        ingest("csv", "in.csv")


def test_without_a_corpus_the_list_is_written_for_the_next_night(folder: Path, capsys) -> None:
    CORPUS.unlink()
    ingest("--forget", "gone.txt")
    assert digest_of("2") in Path(LIST).read_text()
    assert "does not exist, so nothing was removed here" in capsys.readouterr().out


def test_what_still_has_them_is_said(folder: Path, capsys) -> None:
    for argv in (["init", "--quiet"], ["add", "in.csv"], ["commit", "--quiet", "-m", "Start"]):
        run("git", *argv, cwd=folder)
    Path("data.dvc").write_text("outs: []\n")
    Path("reports").mkdir()
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    remote = store\n")
    run("git", "add", "data.dvc", cwd=folder)
    run("git", "commit", "--quiet", "-m", "Data", cwd=folder)
    run("git", "tag", "nightly/2026-03-01T020000Z", cwd=folder)
    run("git", "tag", "v1", cwd=folder)
    ingest("--forget", "gone.txt")
    printed = capsys.readouterr().out
    assert "1 recorded nights (nightly/2026-03-01T020000Z) and DVC's cache: `make prune" in printed
    assert "v1: as long as their data.dvc does" in printed
    assert "reports of this folder: until the next `dvc repro`" in printed
    assert "DVC's remote 'store': nothing here removes from it" in printed
    assert "versions: no registry here; set MLFLOW_TRACKING_URI" in printed
    # A night that was recorded with the list has taken them out.
    run("git", "add", LIST, cwd=folder)
    run("git", "commit", "--quiet", "-m", "Forget", cwd=folder)
    run("git", "tag", "nightly/2026-03-02T020000Z", cwd=folder)
    ingest("--forget", "gone.txt")
    assert "1 recorded nights (nightly/2026-03-01T020000Z)" in capsys.readouterr().out
