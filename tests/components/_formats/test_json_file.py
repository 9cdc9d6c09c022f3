"""JSON files that somebody else wrote, or cut off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components._formats.json_file import read_json, write_json
from longtail.errors import DataError


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not valid JSON"),
        ('{"a": ', "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("\x00", "is not valid JSON"),
        ("3", "was not written by `dvc repro`: it lacks an object"),
        ("null", "it lacks an object"),
        ('["model"]', "it lacks an object"),
        ('{"b": 1}', "it lacks a, c"),
    ],
)
def test_what_is_not_ours_is_said_in_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_json(path, keys=("a", "b", "c"))
    assert str(path) in str(caught.value) and said in str(caught.value)
    assert "dvc repro" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "lacking"),
    [
        ('{"a": 3, "b": {"c": "x"}}', "a"),
        ('{"a": "x", "b": 3}', "b"),
        ('{"a": "x", "b": {"c": [], "d": 1}}', "b.c"),
        ('{"a": null, "b": {}}', "a, b.c"),
    ],
)
def test_values_of_other_types_are_named(tmp_path: Path, content: str, lacking: str) -> None:
    path = tmp_path / "decision.json"
    path.write_text(content)
    with pytest.raises(DataError, match=f"it lacks {lacking}. Remove"):
        read_json(path, keys={"a": str, "b": {"c": (str, int)}})


def test_what_is_ours_is_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text('{"a": 1, "b": [2]}')
    assert read_json(path, keys=("a",)) == {"a": 1, "b": [2]}


def test_what_a_file_says_already_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    write_json({"a": "ü"}, path)
    os.utime(path, (1, 1))
    write_json({"a": "ü"}, path)
    assert path.stat().st_mtime == 1
    write_json({"a": "u"}, path)
    assert path.stat().st_mtime > 1 and read_json(path) == {"a": "u"}
