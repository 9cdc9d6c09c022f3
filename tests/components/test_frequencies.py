"""The stage on a corpus counted by hand, and the cutoffs that it accepts or refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from dvc_render import VegaRenderer
from pydantic import ValidationError

from components._formats.assignment import read_parts
from components._formats.corpus import FOLD, write_corpus
from components.frequencies import Params, _write_plot, run
from longtail.errors import DataError
from tests.builders.params import stage_params

# id: part, labels. In train: a 4, b 2, ç 1, d 0.
DOCS: dict[str, tuple[str, list[str]]] = {
    "t1": ("train", ["a"]),
    "t2": ("train", ["a", "b"]),
    "t3": ("train", ["a", "b", "ç"]),
    "t4": ("train", ["a"]),
    "t5": ("train", []),
    "v1": ("val", ["a", "d"]),
    "v2": ("val", ["ç"]),
    "x1": ("test", ["d"]),
}
LABELS = ["a", "b", "d", "ç"]


def inputs(folder: Path, assigned: dict[str, str] | None = None) -> tuple[Path, Path]:
    rows = [{"id": i, "text": f"text {i}", "labels": labels} for i, (_, labels) in DOCS.items()]
    write_corpus(pd.DataFrame(rows), folder / "corpus.parquet")
    assigned = assigned or {i: part for i, (part, _) in reversed(DOCS.items())}
    no_folds = pa.nulls(len(assigned), pa.int8())
    table = pa.table({"id": list(assigned), "split": list(assigned.values()), FOLD: no_folds})
    pq.write_table(table, folder / "assignment.parquet")
    return folder / "corpus.parquet", folder / "assignment.parquet"


def count(folder: Path, **params: Any) -> dict[str, Any]:
    corpus, assignment = inputs(folder)
    run(
        corpus=corpus,
        assignment=assignment,
        frequencies=folder / "out" / "frequencies.json",
        cooccurrences=folder / "out" / "cooccurrence.npz",
        label_counts=folder / "out" / "labels.csv",
        params=stage_params(Params, "frequencies", params),
    )
    return json.loads((folder / "out" / "frequencies.json").read_text(encoding="utf-8"))


def test_a_train_part_without_labels_is_said(tmp_path: Path) -> None:
    parts = {i: "val" for i in DOCS} | {"t5": "train", "x1": "test"}
    corpus, assignment = inputs(tmp_path, parts)
    with pytest.raises(DataError, match="none of the 1 documents of train has a label"):
        run(
            corpus=corpus,
            assignment=assignment,
            frequencies=tmp_path / "frequencies.json",
            cooccurrences=tmp_path / "pairs.npz",
            label_counts=tmp_path / "labels.csv",
            params=stage_params(Params, "frequencies"),
        )


def test_an_assignment_without_a_part_is_refused(tmp_path: Path) -> None:
    """The baseline ended in scikit-learn's words."""
    with pytest.raises(DataError, match="assignment.parquet: no documents in val and test"):
        read_parts(*inputs(tmp_path, dict.fromkeys(DOCS, "train")))


def test_no_label_runs_in_a_spreadsheet_or_in_the_page_of_the_plots(tmp_path: Path) -> None:
    """The page is DVC's own: rendered as `dvc plots show` does."""
    hostile = ["=cmd|' /C calc'!A0", "</script><script>alert(1)</script>", "<!--<script>"]
    rows = [(3 - i, label, "TAIL") for i, label in enumerate(hostile)]
    _write_plot(tmp_path / "labels.csv", rows)
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert table[0]["label"] == "'" + hostile[0]
    assert [row["documents"] for row in table] == ["3", "2", "1"]
    drawn = {"filename": "labels.csv", "field": "documents"}
    points = [row | drawn | {"rev": "workspace"} for row in table]
    page = VegaRenderer(
        points, "labels", x="rank", y="documents", anchors_y_definitions=[drawn]
    ).generate_html()
    assert "alert(1)" in page
    assert "</script><script>alert" not in page and "<!--<script>" not in page


def test_counts_by_hand(tmp_path: Path) -> None:
    found = count(tmp_path, head=3, tail=1)
    assert found["labels"] == LABELS
    assert found["train_num"] == 5
    assert found["class_freq"] == [4, 2, 0, 1]
    assert found["val_freq"] == [1, 0, 1, 1]
    assert found["test_freq"] == [0, 0, 1, 0]
    assert found["groups"] == ["HEAD", "MEDIUM", "TAIL", "TAIL"]
    assert (found["head"], found["tail"]) == (3, 1)


def test_statistics_by_hand(tmp_path: Path) -> None:
    found = count(tmp_path)["statistics"]
    assert found["train"] == {
        "documents": 5,
        "labels": 3,
        "labels_per_document": {"mean": 1.4, "median": 1.0, "min": 0, "max": 3},
        "documents_per_label": {"mean": 2.3333, "median": 2.0, "min": 1, "max": 4},
    }
    assert found["val"]["documents"] == 2 and found["val"]["labels"] == 3
    assert found["test"]["documents_per_label"] == {"mean": 1.0, "median": 1.0, "min": 1, "max": 1}


def test_mu_by_hand(tmp_path: Path) -> None:
    """r = (1/n_i) / sum of 1/n_j over the document's labels; mean of mean and median over pairs."""
    two = [(1 / 4) / (1 / 4 + 1 / 2), (1 / 2) / (1 / 4 + 1 / 2)]
    three = [x / (1 / 4 + 1 / 2 + 1) for x in (1 / 4, 1 / 2, 1)]
    r = sorted([1.0, 1.0, *two, *three])
    assert len(r) == 7
    expected = (sum(r) / 7 + r[3]) / 2
    assert count(tmp_path)["mu"] == round(expected, 4)


def test_label_pairs_of_train(tmp_path: Path) -> None:
    count(tmp_path)
    pairs = sp.load_npz(tmp_path / "out" / "cooccurrence.npz")
    assert pairs.toarray().tolist() == [[4, 2, 0, 1], [2, 2, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]]


def test_the_plot_runs_from_frequent_to_rare(tmp_path: Path) -> None:
    count(tmp_path, head=3, tail=1)
    with (tmp_path / "out" / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["rank", "documents", "label", "group"],
        ["1", "4", "a", "HEAD"],
        ["2", "2", "b", "MEDIUM"],
        ["3", "1", "ç", "TAIL"],
        ["4", "0", "d", "TAIL"],
    ]


def test_cutoffs_by_share_of_the_labels(tmp_path: Path) -> None:
    # Of [0, 1, 2, 4], the lower half ends at 1 and the upper quarter starts at 2 (inverted CDF).
    found = count(tmp_path, tail_share=0.5, head_share=0.25)
    assert (found["tail"], found["head"]) == (1, 2)
    assert found["groups"] == ["HEAD", "HEAD", "TAIL", "TAIL"]


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    count(tmp_path)
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    count(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first
    assert len(first) == 3


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"head": 5}, r"set both head and tail, or neither \(null\)"),
        ({"tail": 5}, r"set both head and tail, or neither \(null\)"),
        ({"head": 5, "tail": 5}, "tail must be below head, got 5 and 5"),
        ({"head": 1, "tail": 1}, "head\n.*greater than or equal to 2"),
        ({"head": 3, "tail": 0}, "tail\n.*greater than or equal to 1"),
        ({"head_share": 0.6}, "tail_share [+] head_share must be below 1, got 1"),
        ({"head_share": 0.9}, "tail_share [+] head_share must be below 1, got 1.3"),
        ({"tail_share": 0}, "tail_share\n.*greater than 0"),
    ],
)
def test_cutoffs_that_make_no_sense_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stage_params(Params, "frequencies", params)


# The join of corpus and assignment, which baseline and train use too


def test_parts_keep_the_order_of_the_corpus(tmp_path: Path) -> None:
    labels, parts = read_parts(*inputs(tmp_path))
    assert labels == LABELS and list(parts) == ["train", "val", "test"]
    assert parts["train"].ids == ["t1", "t2", "t3", "t4", "t5"]
    assert parts["val"].texts == ["text v1", "text v2"]
    assert parts["val"].targets.toarray().tolist() == [[1, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("change", "n", "name"),
    [({"new": "train"}, 1, "new"), ({"t1": None}, 1, "t1"), ({"t2": None, "a0": "val"}, 2, "a0")],
)
def test_an_assignment_of_other_documents_is_refused(
    tmp_path: Path, change: dict[str, str | None], n: int, name: str
) -> None:
    assigned = {i: part for i, (part, _) in DOCS.items()} | change
    corpus, assignment = inputs(tmp_path, {i: part for i, part in assigned.items() if part})
    with pytest.raises(DataError) as caught:
        read_parts(corpus, assignment)
    assert str(caught.value) == (
        f"{assignment} and {corpus} differ in {n} document(s), such as {name!r}; "
        "run `dvc repro split`, which assigns every document."
    )
