"""Several judgments per document: which one the corpus takes, and what annotations.parquet has."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components._formats.annotations import read_annotations
from components._sources.judgments import add, folded
from components._sources.rows import Rows
from longtail.errors import DataError

OLD, MID, NEW = (dt.datetime(2026, 1, day) for day in (1, 2, 3))


def judged(*rows: tuple[str, str | None, list[str], dt.datetime | None], text: str = "") -> Rows:
    names = ("id", "annotator", "labels", "annotated_at")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return Rows("in", {**columns, "text": [text or f"text of {row[0]}" for row in rows]})


def added(folder: Path, *files: Rows, unwanted: frozenset[str] = frozenset()) -> list[tuple]:
    path = folder / "annotations.parquet"
    add(path, files, lambda ids: unwanted & set(ids))
    if not path.exists():
        return []
    rows = pq.read_table(path).to_pylist()
    return [(row["id"], row["annotator"], sorted(row["labels"])) for row in rows]


def test_the_latest_judgment_is_the_row_and_the_latest_of_each_annotator_is_kept():
    rows = folded(
        [judged(("1", "anna", ["a"], NEW), ("1", "bert", ["b"], MID), ("1", "bert", ["c"], OLD)),
         judged(("2", "bert", [], OLD), ("1", "anna", ["z"], OLD))]
    )  # fmt: skip
    assert rows.columns["id"] == ["1", "2"] and rows.columns["labels"] == [["a"], []]
    assert rows.columns["annotator"] == ["anna", "bert"]
    assert rows.judgments is not None
    found = {
        (identity, who): labels
        for identity, who, labels in zip(
            *(rows.judgments[name] for name in ("id", "annotator", "labels")), strict=True
        )
    }
    assert found == {("1", "anna"): ["a"], ("1", "bert"): ["b"], ("2", "bert"): []}


def test_without_times_the_last_file_wins_and_without_annotator_there_is_no_judgment():
    rows = folded([judged(("1", "anna", ["a"], None)), judged(("1", None, ["b"], None))])
    assert rows.columns["labels"] == [["b"]]
    assert rows.judgments is not None and rows.judgments["annotator"] == ["anna"]


def test_what_is_left_out_of_the_corpus_is_told(capsys):
    folded([judged(("1", "anna", ["a"], NEW), ("1", "bert", ["b"], MID), ("2", "bert", [], OLD))])
    told = capsys.readouterr().out
    assert "2 documents annotated, 3 judgments of 2 annotators; the corpus takes the latest" in told


def test_one_id_with_two_texts_is_refused():
    with pytest.raises(
        DataError, match=r"in: row 1: document '1' has another text than in in: row"
    ):
        folded([judged(("1", "anna", [], OLD)), judged(("1", "bert", [], OLD), text="other")])


def test_judgments_are_added_and_a_later_one_replaces_an_earlier_one(tmp_path):
    first = folded([judged(("1", "anna", ["a"], MID), ("2", "anna", ["a"], MID))])
    assert added(tmp_path, first) == [("1", "anna", ["a"]), ("2", "anna", ["a"])]
    before = (tmp_path / "annotations.parquet").stat()
    assert added(tmp_path, first) == [("1", "anna", ["a"]), ("2", "anna", ["a"])]
    assert added(tmp_path, folded([judged(("1", "anna", ["z"], OLD))]))[0] == ("1", "anna", ["a"])
    after = (tmp_path / "annotations.parquet").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    later = folded([judged(("1", "anna", ["b"], NEW), ("1", "bert", [], OLD))])
    assert added(tmp_path, later) == [("1", "anna", ["b"]), ("1", "bert", []), ("2", "anna", ["a"])]


def test_forgotten_documents_leave_no_judgment(tmp_path):
    rows = folded([judged(("1", "anna", ["a"], MID), ("2", "anna", ["a"], MID))])
    assert added(tmp_path, rows, unwanted=frozenset("1")) == [("2", "anna", ["a"])]


def test_a_file_made_by_hand_keeps_its_columns_and_its_other_rows(tmp_path):
    by_hand = {"id": ["1", "1"], "annotator": ["anna", "carl"], "labels": [["a"], ["c"]]}
    pq.write_table(pa.table({**by_hand, "round": [7, 8]}), tmp_path / "annotations.parquet")
    added(tmp_path, folded([judged(("1", "anna", ["b"], NEW))]))
    frame = pd.read_parquet(tmp_path / "annotations.parquet").astype(object)
    assert frame["labels"].map(list).tolist() == [["b"], ["c"]]
    assert frame["round"].fillna(0).tolist() == [0, 8]
    assert frame["annotated_at"].tolist() == [pd.Timestamp(NEW), pd.NaT]


def test_a_file_that_has_no_judgments_is_refused_and_kept(tmp_path):
    path = tmp_path / "annotations.parquet"
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match="not a readable file of judgments"):
        added(tmp_path, folded([judged(("1", "anna", ["b"], NEW))]))
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.int64()]
)
def test_a_file_of_another_tool_has_other_types(tmp_path, kind):
    who = pa.array(["7"]).cast(kind)
    labels = pa.array([["a", None]], pa.large_list(pa.large_string()))
    at = pa.array([1_767_225_600_000_000_123], pa.timestamp("ns"))
    table = pa.table(
        {"id": pa.array(["1"]), "annotator": who, "labels": labels, "annotated_at": at}
    )
    pq.write_table(table, tmp_path / "annotations.parquet")
    assert read_annotations(tmp_path / "annotations.parquet") is not None
    cut = dt.datetime(2026, 1, 1, 0, 0, 0)
    add(
        tmp_path / "annotations.parquet",
        [folded([judged(("1", "7", ["b"], cut))])],
        lambda _: set(),
    )
    [row] = pq.read_table(tmp_path / "annotations.parquet").to_pylist()
    assert (row["annotator"], row["labels"], row["annotated_at"]) == ("7", ["b"], cut)


def test_a_time_that_no_calendar_has_is_refused(tmp_path):
    at = pa.array([10**18], pa.timestamp("us"))
    table = pa.table({"id": ["1"], "annotator": ["a"], "labels": [["x"]], "annotated_at": at})
    pq.write_table(table, tmp_path / "annotations.parquet")
    with pytest.raises(DataError, match="not a readable file of judgments"):
        read_annotations(tmp_path / "annotations.parquet")


def test_one_person_under_a_number_and_an_email_is_refused(tmp_path):
    added(tmp_path, folded([judged(("1", "2", ["b", "a"], MID), ("1", "3", ["c"], MID))]))
    before = (tmp_path / "annotations.parquet").read_bytes()
    with pytest.raises(DataError, match="'1' is given by 2 and by ann@x.org: one person, called"):
        added(tmp_path, folded([judged(("1", "ann@x.org", ["a", "b"], MID))]))
    assert (tmp_path / "annotations.parquet").read_bytes() == before
    others = folded([judged(("1", "bo@x.org", ["a", "b"], NEW), ("1", "cy@x.org", ["a"], MID))])
    assert len(added(tmp_path, others)) == 4
