"""What `split` writes is what the others read; files of other kinds are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components._formats.assignment import (
    read_assignment,
    read_folds,
    read_groups,
    write_assignment,
)
from longtail.errors import DataError


def test_what_is_written_is_read_sorted_by_id(tmp_path: Path) -> None:
    path = tmp_path / "assignment.parquet"
    parts, groups, retired = ["test", "val", "train"], ["b", "a", "a"], [False, False, True]
    write_assignment(path, ["b", "c", "a"], parts, groups, retired, [-1, 3, 0])
    assert read_assignment(path).to_dict() == {"a": "train", "b": "test", "c": "val"}
    found = read_groups(path)
    assert found.to_dict() == {"a": "a", "b": "b", "c": "a"}
    assert found.index.tolist() == ["a", "b", "c"] and found.name == "group"
    assert read_folds(path).to_dict() == {"a": 0, "b": -1, "c": 3}
    assert pd.read_parquet(path)["retired"].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "split": ["train"]}, "group.*columns id and group.*dvc repro split"),
        ({"id": ["a", "b"], "group": ["a", None]}, "null in column group"),
        ({"id": ["a", "a"], "group": ["a", "a"]}, "an id appears twice"),
    ],
)
def test_groups_of_another_file_are_refused(
    tmp_path: Path, columns: dict[str, list], message: str
) -> None:
    path = tmp_path / "assignment.parquet"
    pd.DataFrame(columns).to_parquet(path)
    with pytest.raises(DataError, match=message):
        read_groups(path)


def test_an_assignment_with_an_unknown_part_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "assignment.parquet"
    pd.DataFrame({"id": ["a"], "split": ["dev"]}).to_parquet(path)
    with pytest.raises(DataError, match="split 'dev'"):
        read_assignment(path)
