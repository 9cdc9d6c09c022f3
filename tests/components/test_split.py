"""The stage: frozen rows stay, groups stay together, the row order does not matter."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from components._formats.corpus import write_corpus
from components.split import Params, run
from longtail.errors import DataError
from longtail.splitting.iterative import SPLITS, scikit_multilearn_split
from longtail.splitting.quality import quality
from tests.builders.params import stage_params

N_DOCS = 100


def corpus(**columns: Any) -> pd.DataFrame:
    """100 documents: `common` in all, `half` in every second one, `rare` in the first three."""
    rows = [
        {
            "id": f"d{i:03}",
            "text": f"text {i}",
            "labels": ["common"] + ["half"] * (i % 2) + ["rare"] * (i < 3),
        }
        for i in range(N_DOCS)
    ]
    return pd.DataFrame(rows).assign(**columns)


def split(folder: Path, frame: pd.DataFrame, **params: Any) -> tuple[pd.Series, dict[str, Any]]:
    """The assignment by id and the report."""
    write_corpus(frame, folder / "corpus.parquet")
    run(
        corpus=folder / "corpus.parquet",
        assignment=folder / "out" / "assignment.parquet",
        split_report=folder / "out" / "split.json",
        params=stage_params(Params, "split", params),
    )
    table = pq.read_table(folder / "out" / "assignment.parquet")
    assert table.column_names == ["id", "split"]
    report = json.loads((folder / "out" / "split.json").read_text(encoding="utf-8"))
    return table.to_pandas().set_index("id")["split"], report


def test_sizes_shares_and_order_of_ids(tmp_path: Path) -> None:
    parts, _ = split(tmp_path, corpus().sample(frac=1, random_state=1))
    assert Counter(parts) == {"train": 60, "val": 20, "test": 20}
    assert parts.index.tolist() == [f"d{i:03}" for i in range(N_DOCS)]
    half = Counter(parts[1::2])
    assert half == {"train": 30, "val": 10, "test": 10}
    assert set(parts[:3]) == {"train", "val", "test"}  # a label of three documents is in every part


def test_other_fractions_reach_their_own_parts(tmp_path: Path) -> None:
    parts, report = split(tmp_path, corpus(), fractions={"train": 0.5, "val": 0.1, "test": 0.4})
    assert Counter(parts) == {"train": 50, "val": 10, "test": 40}
    sizes = report["quality"]["sizes"]
    assert {name: row["docs"] for name, row in sizes.items()} == Counter(parts)


def test_frozen_rows_stay_and_count(tmp_path: Path) -> None:
    frozen = [None] * 20 + ["test"] * 20 + ["train"] * 10 + [None] * 50
    parts, report = split(tmp_path, corpus(split=frozen))
    assert set(parts[20:40]) == {"test"} and set(parts[40:50]) == {"train"}
    assert report["frozen"] == 30
    # Test is already full, so that only the one document that brings it `rare` joins it.
    assert "test" in set(parts[:3])
    assert Counter(parts) == {"train": 59, "val": 20, "test": 21}


@pytest.mark.parametrize("method", ["iterative", "scikit_multilearn"])
def test_all_rows_frozen_change_nothing(tmp_path: Path, method: str) -> None:
    frozen = [SPLITS[i % 3] for i in range(N_DOCS)]
    parts, report = split(tmp_path, corpus(split=frozen), method=method)
    assert parts.tolist() == frozen and report["frozen"] == N_DOCS


def test_an_empty_split_column_counts_as_none(tmp_path: Path) -> None:
    without, _ = split(tmp_path, corpus())
    parts, report = split(tmp_path, corpus(split=[None] * N_DOCS))
    assert report["frozen"] == 0 and parts.equals(without)


def test_an_unknown_split_names_the_document(tmp_path: Path) -> None:
    names = [None] * N_DOCS
    names[7] = "Train"
    with pytest.raises(DataError) as caught:
        split(tmp_path, corpus(split=names))
    assert str(caught.value) == (
        "Document 'd007': split is 'Train', expected train, val, test or nothing; "
        "fix the source and ingest it again."
    )
    assert not (tmp_path / "out").exists()


def test_groups_stay_together_and_rows_without_one_are_free(tmp_path: Path) -> None:
    groups = [f"g{i // 4}" for i in range(80)] + [None] * 20
    parts, report = split(tmp_path, corpus(group=groups))
    frame = pd.DataFrame({"group": groups[:80], "part": parts[:80].tolist()})
    assert (frame.groupby("group")["part"].nunique() == 1).all()
    assert parts[80:].nunique() > 1
    assert report["quality"]["groups_apart"] == 0
    assert report["reference"]["groups_apart"] > 0  # the library does not know groups
    for part, share in zip(SPLITS, (60, 20, 20), strict=True):
        assert abs((parts == part).sum() - share) <= 4


def test_free_rows_join_the_frozen_rows_of_their_group(tmp_path: Path) -> None:
    groups = [f"g{i // 2}" for i in range(N_DOCS)]
    frozen = ["val" if i in (0, 20, 40) else None for i in range(N_DOCS)]
    parts, _ = split(tmp_path, corpus(group=groups, split=frozen))
    assert [parts[f"d{i:03}"] for i in (1, 21, 41)] == ["val"] * 3


@pytest.mark.parametrize("method", ["iterative", "scikit_multilearn"])
def test_the_row_order_does_not_matter_but_the_seed_does(tmp_path: Path, method: str) -> None:
    frame = corpus()
    first, report = split(tmp_path, frame, method=method)
    content = (tmp_path / "out" / "assignment.parquet").read_bytes()
    again, shuffled = split(tmp_path, frame.sample(frac=1, random_state=3), method=method)
    assert again.equals(first) and shuffled == report
    assert (tmp_path / "out" / "assignment.parquet").read_bytes() == content
    other, _ = split(tmp_path, frame, method=method, seed=1)
    assert not other.equals(first)


def test_the_library_method_leaves_frozen_rows_and_splits_the_rest(tmp_path: Path) -> None:
    frozen = ["train"] * 15 + ["test"] * 5 + [None] * 80
    frame = corpus(split=frozen)
    parts, report = split(tmp_path, frame, method="scikit_multilearn")
    assert parts[:20].tolist() == frozen[:20]
    assert report["method"] == "scikit_multilearn"
    labels = report["labels"]
    free = np.array([[name in doc for name in labels] for doc in frame["labels"][20:]], dtype=int)
    from scipy.sparse import csr_matrix

    # 60, 20 and 20 documents are wanted; 15, 0 and 5 are frozen.
    wanted = [45 / 80, 20 / 80, 15 / 80]
    expected = scikit_multilearn_split(
        csr_matrix(free), wanted, ids=frame["id"][20:].tolist(), seed=0
    )
    assert parts[20:].tolist() == [SPLITS[code] for code in expected]


def test_the_report_compares_our_split_with_the_librarys(tmp_path: Path) -> None:
    frame = corpus()
    parts, report = split(tmp_path, frame)
    assert set(report) == {"method", "frozen", "labels", "quality", "reference"}
    assert report["labels"] == ["common", "half", "rare"]
    assert report["method"] == "iterative" and report["frozen"] == 0
    figures = {
        "sizes", "label_share_deviation", "ld", "rld", "dcp", "pairs", "missing", "groups_apart",
    }  # fmt: skip
    assert set(report["quality"]) == figures
    assert set(report["reference"]) == figures | {"method"}
    from scipy.sparse import csr_matrix

    wanted = csr_matrix([[name in doc for name in report["labels"]] for doc in frame["labels"]])
    codes = np.array([SPLITS.index(part) for part in parts[frame["id"]]])
    assert report["quality"] == quality(wanted.astype(int), codes, [0.6, 0.2, 0.2])
    # By hand: common and half are exact; rare has 1/3 in each part instead of .6, .2, .2.
    deviation = (4 / 15 + 2 / 15 + 2 / 15) / 9
    assert report["quality"]["label_share_deviation"] == pytest.approx(deviation, abs=1e-9)


def test_the_second_order_looks_at_label_pairs(tmp_path: Path) -> None:
    frame = corpus()
    frame["labels"] = [
        [f"a{i % 4}", f"b{i % 3}"] + (["c"] if i % 5 == 0 else []) for i in range(N_DOCS)
    ]
    deviation = {}
    for order in (1, 2):
        _, report = split(tmp_path, frame, order=order)
        deviation[order] = report["quality"]["pairs"]["share_deviation"]
        assert report["quality"]["pairs"]["count"] == 12 + 4 + 3
    assert deviation[2] < deviation[1]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fractions": {"train": 0.7}}, "train [+] val [+] test must be 1, got 1.1"),
        ({"fractions": {"train": 1.0, "val": 0.0, "test": 0.0}}, "less than 1"),
        ({"fractions": {"train": float("nan")}}, "fractions.train"),
        ({"order": 3}, "less than or equal to 2"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"method": "random"}, "'iterative' or 'scikit_multilearn'"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stage_params(Params, "split", params)


@pytest.mark.parametrize("method", ["iterative", "scikit_multilearn"])
def test_val_comes_from_train_if_a_corpus_was_published_in_two_parts(
    tmp_path: Path, method: str
) -> None:
    published = ["test" if i % 10 < 3 else "train" for i in range(N_DOCS)]
    parts, report = split(tmp_path, corpus(split=published), method=method)
    # Test keeps its 30; train and val share the other 70 as 60 : 20.
    assert parts[np.array(published) == "test"].eq("test").all()
    assert Counter(parts)["test"] == report["frozen"] == 30
    assert Counter(parts)["train"] == pytest.approx(52.5, abs=2)


def test_val_is_left_alone_if_a_row_is_free_or_frozen_in_val(tmp_path: Path) -> None:
    published: list[str | None] = ["test" if i % 10 < 3 else "train" for i in range(N_DOCS)]
    for last in (None, "val"):
        parts, report = split(tmp_path, corpus(split=[*published[:-1], last]))
        frozen = np.array(published[:-1])
        assert (parts.to_numpy()[:-1] == frozen).all()
        assert parts.iloc[-1] == "val" and report["frozen"] == 99 + (last is not None)
