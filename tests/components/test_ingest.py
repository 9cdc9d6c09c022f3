"""The command as a user runs it: modes, frozen splits, corrections, exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from components import ingest as command
from components._formats.assignment import write_assignment
from components._formats.corpus import FOLD, read_corpus
from longtail.errors import DataError, ParameterError
from tests.builders.paths import ROOT

THREE = 'id,text,labels\n7,seven,"a,b"\n5,five,b\n6,six,\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text(THREE, encoding="utf-8")
    return tmp_path


def ingest(*arguments: str) -> dict[str, list]:
    command.command.main(list(arguments), standalone_mode=False)
    frame = read_corpus(Path("data/corpus.parquet")).astype(object)
    return {name: frame[name].where(frame[name].notna(), None).tolist() for name in frame.columns}


def digest() -> str:
    return hashlib.sha256(Path("data/corpus.parquet").read_bytes()).hexdigest()


def record_assignment(
    *, retired: tuple[str, ...] = (), folds: dict[str, int] | None = None, **split_of: str
) -> None:
    path = Path("artifacts/split/assignment.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    ids, parts = list(split_of), list(split_of.values())
    given = [(folds or {}).get(identity, -1) for identity in ids]
    write_assignment(path, ids, parts, ids, [identity in retired for identity in ids], given)


def test_a_csv_becomes_the_corpus_sorted_by_id(folder):
    assert ingest("csv", "in.csv") == {
        "id": ["5", "6", "7"],
        "text": ["five", "six", "seven"],
        "labels": [["b"], [], ["a", "b"]],
    }
    assert sorted(p.name for p in Path("data").iterdir()) == ["corpus.parquet", "origins.parquet"]


def test_the_same_rows_give_the_same_bytes_in_any_order_and_any_number_of_files(folder):
    ingest("csv", "in.csv")
    whole = digest()
    head, *rows = THREE.splitlines()
    for k, row in enumerate(rows):
        Path(f"{k}.csv").write_text(f"{head}\n{row}\n", encoding="utf-8")
    ingest("csv", "2.csv", "0.csv", "--replace")
    assert digest() != whole
    ingest("csv", "1.csv")
    assert digest() == whole


def test_a_quiet_night_changes_nothing(folder, capsys):
    ingest("csv", "in.csv")
    record_assignment(**{"5": "train", "6": "test", "7": "train"})
    path = Path("data/corpus.parquet")
    before, when = digest(), path.stat().st_mtime_ns
    Path("none.csv").write_text("id,text,labels\n", encoding="utf-8")
    for arguments in (["in.csv"], ["none.csv"], ["in.csv", "--update"]):
        ingest("csv", *arguments)
        assert (digest(), path.stat().st_mtime_ns) == (before, when)
    assert capsys.readouterr().out.count("nothing new") == 3


def test_new_rows_freeze_the_split_of_the_old_ones(folder):
    ingest("csv", "in.csv")
    record_assignment(**{"5": "train", "6": "test", "8": "val"})  # 7 was quarantined
    Path("new.csv").write_text("id,text,labels\n8,eight,a\n9,nine,b\n", encoding="utf-8")
    corpus = ingest("csv", "new.csv")
    assert dict(zip(corpus["id"], corpus["split"], strict=True)) == {
        "5": "train",
        "6": "test",
        "7": None,
        "8": None,  # a new row is never frozen, even if an old record names its id
        "9": None,
    }


def test_a_frozen_split_wins_over_the_recorded_one(folder):
    Path("in.csv").write_text("id,text,labels,split\n5,five,b,test\n6,six,b,\n", encoding="utf-8")
    ingest("csv", "in.csv")
    record_assignment(**{"5": "train", "6": "val"})
    Path("new.csv").write_text("id,text,labels\n9,nine,b\n", encoding="utf-8")
    frozen = ["test", "val", None]
    assert ingest("csv", "new.csv")["split"] == frozen
    before = digest()
    assert ingest("csv", "in.csv")["split"] == frozen  # its empty split changes nothing
    assert digest() == before


def test_retired_documents_move_to_train_and_no_others(folder, capsys):
    text = "id,text,labels,split\n5,five,b,test\n6,six,b,test\n7,seven,a,val\n8,eight,a,\n"
    Path("in.csv").write_text(text, encoding="utf-8")
    ingest("csv", "in.csv")
    record_assignment(retired=("5", "7", "9"), **dict.fromkeys("56789", "train"))
    Path("new.csv").write_text("id,text,labels,split\n9,nine,b,test\n", encoding="utf-8")
    # 6 is frozen in test, 7 is not in test, and 9 has only just arrived.
    assert ingest("csv", "new.csv")["split"] == ["train", "test", "val", "train", "test"]
    assert "1 splits frozen, 1 retired from test" in capsys.readouterr().out


def test_an_assignment_of_an_earlier_version_retires_nobody(folder):
    Path("in.csv").write_text("id,text,labels,split\n5,five,b,test\n", encoding="utf-8")
    ingest("csv", "in.csv")
    pd.DataFrame({"id": ["5"], "split": ["train"]}).to_parquet("old.parquet")
    Path("new.csv").write_text("id,text,labels\n9,nine,b\n", encoding="utf-8")
    assert ingest("csv", "new.csv", "--assignment", "old.parquet")["split"] == ["test", None]


def test_a_given_assignment_must_exist_and_be_valid(folder):
    ingest("csv", "in.csv")
    before = digest()
    Path("new.csv").write_text("id,text,labels\n9,nine,b\n", encoding="utf-8")
    Path("broken.parquet").write_bytes(b"PAR1")
    pd.DataFrame({"id": ["5"], "split": ["dev"]}).to_parquet("wrong.parquet")
    for name in ("missing.parquet", "broken.parquet", "wrong.parquet"):
        with pytest.raises(DataError, match=name):
            ingest("csv", "new.csv", "--assignment", name)
    assert digest() == before


def test_an_id_with_different_content_is_refused_by_file_row_and_column(folder):
    ingest("csv", "in.csv")
    before = digest()
    Path("new.csv").write_text("id,text,labels\n9,nine,b\n5,FIVE,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"new.csv: row 2 \(line 3\), column 'text': id '5'"):
        ingest("csv", "new.csv")
    assert digest() == before


def test_a_long_id_is_shortened_in_messages(folder):
    rows = [f'{{"id": "{"x" * 10**6}", "text": "{text}", "labels": ["a"]}}' for text in ("1", "2")]
    (folder / "1.jsonl").write_text(rows[0])
    (folder / "2.jsonl").write_text(rows[1])
    (folder / "twice.jsonl").write_text("\n".join(rows))
    ingest("jsonl", "1.jsonl")
    for path, what in (("2.jsonl", "already in the corpus"), ("twice.jsonl", "also appears")):
        with pytest.raises(DataError, match=what) as caught:
            ingest("jsonl", path)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("values", [[{}], [1, "one"]])
def test_a_long_column_name_is_shortened_in_messages(folder, values):
    rows = [
        {"id": f"{i}", "text": "a", "labels": [], "x" * 10**6: value}
        for i, value in enumerate(values)
    ]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="column 'xxx") as caught:
        ingest("jsonl", "in.jsonl")
    assert len(str(caught.value)) < 1000


def test_a_conflict_names_both_files_and_the_way_out(folder):
    ingest("csv", "in.csv")
    Path("second.csv").write_text("id,text,labels\n5,FIVE,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"second.csv: row 1 .* taken in from in\.csv\. .*--update"):
        ingest("csv", "second.csv")
    ingest("csv", "second.csv", "--update")
    with pytest.raises(DataError, match=r"in.csv: row \d .* taken in from second\.csv\."):
        ingest("csv", "in.csv")
    Path("one.csv").write_text("id,text,labels\n9,nine,b\n", encoding="utf-8")
    Path("two.csv").write_text("id,text,labels\n9,NINE,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"two.csv: row 1 .* taken in from one\.csv\."):
        ingest("csv", "one.csv", "two.csv")
    assert ingest("csv", "one.csv", "two.csv", "--update")["text"][-1] == "NINE"


def test_splits_are_frozen_without_new_rows_only_on_request(folder):
    ingest("csv", "in.csv")
    record_assignment(**{"5": "train", "6": "test"})
    assert "split" not in ingest("csv", "in.csv")
    assert ingest("--freeze")["split"] == ["train", "test", None]
    before = digest()
    ingest("--freeze")
    assert digest() == before


def test_update_takes_the_new_content_and_keeps_the_frozen_split(folder):
    ingest("csv", "in.csv")
    record_assignment(**{"5": "train", "6": "test", "7": "val"})
    Path("new.csv").write_text("id,text,labels\n5,FIVE,c\n", encoding="utf-8")
    corpus = ingest("csv", "new.csv", "--update")
    assert corpus["text"] == ["FIVE", "six", "seven"]
    assert corpus["labels"] == [["c"], [], ["a", "b"]]
    assert corpus["split"] == ["train", "test", "val"]


def test_replace_starts_over_without_old_splits(folder):
    ingest("csv", "in.csv")
    record_assignment(**{"5": "test"})
    Path("new.csv").write_text("id,text,labels\n5,other,a\n", encoding="utf-8")
    corpus = ingest("csv", "new.csv", "--replace")
    assert corpus == {"id": ["5"], "text": ["other"], "labels": [["a"]]}


def test_a_folder_in_place_of_the_corpus_is_left_with_all_that_is_beside_it(folder):
    (folder / "data/corpus.parquet").mkdir(parents=True)
    (folder / "data/corpus.parquet/kept").touch()
    with pytest.raises(DataError, match=r"corpus\.parquet is a folder.*nothing was written"):
        ingest("csv", "in.csv", "--replace")
    assert [p.name for p in (folder / "data").rglob("*")] == ["corpus.parquet", "kept"]


@pytest.mark.parametrize("mode", ["--append", "--replace"])
def test_a_file_that_is_no_corpus_is_left_alone(folder, mode):
    (folder / "data").mkdir()
    notes = folder / "data/corpus.parquet"
    notes.write_text("my notes")
    with pytest.raises(DataError, match="no Parquet file"):
        ingest("csv", "in.csv", mode)
    assert notes.read_text() == "my notes"


def test_user_defined_columns_are_kept_when_rows_are_appended(folder):
    Path("a.jsonl").write_text('{"id":"1","text":"x","labels":["a"],"n":3}\n', encoding="utf-8")
    Path("b.jsonl").write_text(
        '{"id":"2","text":"y","labels":[],"place":"Oslo"}\n', encoding="utf-8"
    )
    ingest("jsonl", "a.jsonl")
    corpus = ingest("jsonl", "b.jsonl")
    assert corpus["n"] == [3, None] and corpus["place"] == [None, "Oslo"]
    Path("c.jsonl").write_text('{"id":"3","text":"y","labels":[],"n":"x"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"c\.jsonl, column 'n': its values cannot be kept"):
        ingest("jsonl", "c.jsonl")


def test_corrections_are_applied_and_repeating_them_changes_nothing(folder, capsys):
    ingest("csv", "in.csv")
    Path("fix.csv").write_text(
        "text,id,label,action\n?,7,a,remove\n?,5,a,add\n?,6,b,\n?,7,b,ADD\n", encoding="utf-8"
    )
    corpus = ingest("--corrections", "fix.csv")
    assert corpus["labels"] == [["b", "a"], [], ["b"]]
    assert "2 labels corrected" in capsys.readouterr().out
    Path("again.csv").write_text("id,label,action\n7,a,remove\n7,b,add\n", encoding="utf-8")
    before = digest()
    ingest("--corrections", "again.csv")
    assert digest() == before


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("8,a,add", r"row 1 \(line 2\), column 'id': no document '8'"),
        ("5,a,delete", "column 'action': expected add or remove, got 'delete'"),
        ("5,A,add", r"column 'label': Unknown label 'A'.*Valid: a, b"),
    ],
)
def test_a_wrong_correction_is_refused(folder, row, message):
    ingest("csv", "in.csv")
    before = digest()
    Path("fix.csv").write_text(f"id,label,action\n{row}\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        ingest("--corrections", "fix.csv")
    assert digest() == before


def test_normalization_is_applied_to_the_new_texts(folder):
    Path("in.csv").write_text("id,text,labels\n1,<b>No</b>  42,a\n", encoding="utf-8")
    assert ingest("csv", "in.csv", "--normalize", "whitespace,digits,html")["text"] == ["No 00"]
    with pytest.raises(ParameterError, match="Did you mean 'html'"):
        ingest("csv", "in.csv", "--normalize", "htlm")


def test_nothing_is_left_if_nothing_was_ingested(folder):
    Path("none.csv").write_text("id,text,labels\n", encoding="utf-8")
    Path("twice.csv").write_text("id,text,labels\n5,other,b\n", encoding="utf-8")
    for paths in (["none.csv"], ["in.csv", "twice.csv"], ["missing.csv"]):
        with pytest.raises(DataError):
            command.command.main(["csv", *paths], standalone_mode=False)
        assert not Path("data").exists()


def test_synthetic_writes_the_truth_to_a_separate_file(folder):
    arguments = ["synthetic", "--docs", "60", "--labels", "9", "--wrong", "0.3"]
    corpus = ingest(*arguments, "--truth", "aside/truth.parquet")
    truth = pd.read_parquet("aside/truth.parquet")
    assert truth["id"].tolist() == corpus["id"] and corpus["source"] == ["synthetic"] * 60
    wrong = [a != list(b) for a, b in zip(corpus["labels"], truth["labels"], strict=True)]
    assert 3 < sum(wrong) < 40


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "components.ingest", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["csv", "in.csv"], 0, "3 documents, 2 labels, 1.00 per document"),
        ([], 2, "pass a SOURCE"),
        (["csv", "in.csv", "--normalize", "x"], 2, "Unknown normalization step"),
        (["csv", "gone.csv"], 3, "ingest: gone.csv does not exist"),
    ],
)
def test_exit_codes(folder, arguments, code, message):
    done = run(folder, *arguments)
    assert done.returncode == code
    assert message in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_a_full_disk_is_temporary_and_leaves_the_corpus_whole(folder, monkeypatch):
    ingest("csv", "in.csv")
    before = digest()
    monkeypatch.setattr("components._formats.corpus.pq.write_table", _full)
    Path("new.csv").write_text("id,text,labels\n9,nine,b\n", encoding="utf-8")
    with pytest.raises(OSError, match="No space"):
        ingest("csv", "new.csv")
    assert digest() == before
    assert sorted(p.name for p in Path("data").iterdir()) == ["corpus.parquet", "origins.parquet"]


def _full(table, path, **options):
    Path(path).write_bytes(b"half")
    raise OSError(28, "No space left on device")


PARTS = {"5": "train", "6": "test", "7": "val"}


def test_folds_are_frozen_with_the_split_and_beside_one_that_is_frozen(folder):
    ingest("csv", "in.csv")
    record_assignment(**PARTS)
    assert FOLD not in ingest("csv", "in.csv", "--freeze")
    record_assignment(**PARTS, folds={"5": 0, "7": 1})  # by a version that has folds
    assert ingest("csv", "in.csv", "--freeze")[FOLD] == [0, None, 1]
    before = digest()
    ingest("csv", "in.csv", "--freeze")
    assert digest() == before, "a quiet night changes nothing"
    record_assignment(**PARTS, folds={"5": 3, "7": 2})  # another number of folds
    assert ingest("csv", "in.csv", "--freeze")[FOLD] == [3, None, 2]


@pytest.mark.parametrize("folds", ["0,,7", "0.5,x,300"])
def test_a_delivery_does_not_say_the_fold(folder, folds):
    """And one that is delivered again is still the same."""
    rows = zip("567", folds.split(","), strict=True)
    lines = "".join(f"{identity},text {identity},a,{fold}\n" for identity, fold in rows)
    Path("folds.csv").write_text(f"id,text,labels,{FOLD}\n{lines}", encoding="utf-8")
    assert FOLD not in ingest("csv", "folds.csv")
    record_assignment(**PARTS, folds={"5": 4, "7": 1})
    assert ingest("csv", "folds.csv", "--freeze")[FOLD] == [4, None, 1]
    assert ingest("csv", "folds.csv")[FOLD] == [4, None, 1]
