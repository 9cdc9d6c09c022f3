"""The folder for intermediate results: its key, its place, what is deleted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from components._frame import scratch as _scratch
from components._frame.scratch import scratch

FACTS = {"encoder": "tiny", "max_length": 32}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_same_inputs_find_the_same_folder_again(cache: Path) -> None:
    folder = scratch("features", FACTS, ["one", "two"])
    (folder / "half.npy").write_text("done so far")
    again = scratch("features", dict(reversed(FACTS.items())), iter(["one", "two"]))
    assert again == folder and (again / "half.npy").read_text() == "done so far"
    assert folder.parent == cache / "features"


@pytest.mark.parametrize(
    ("facts", "texts"),
    [
        (FACTS | {"max_length": 33}, ["ab", "c"]),
        (FACTS, ["a", "bc"]),
        (FACTS, ["c", "ab"]),
        (FACTS, ["ab", "c", ""]),
        (FACTS, ["ab", "ć"]),
        (FACTS, ["ab2:c"]),
        ({}, ["ab", "c"]),
    ],
)
def test_different_inputs_have_different_folders(
    facts: dict[str, object], texts: list[str]
) -> None:
    assert scratch("features", facts, texts) != scratch("features", FACTS, ["ab", "c"])


def test_arrays_are_part_of_the_key_with_their_shape_and_dtype() -> None:
    given = [np.arange(6), np.array([7])]
    others = [
        [np.arange(6), np.array([8])],
        [np.arange(6).reshape(2, 3), np.array([7])],
        [np.arange(6, dtype=np.int32), np.array([7])],
        [np.arange(6).reshape(2, 3)[::-1], np.array([7])],
        [np.array([7]), np.arange(6)],
        [np.array([0, 1, 2, 3, 4, 5, 7])],
        [],
    ]
    keys = [scratch("features", FACTS, ["ab"], arrays) for arrays in (given, *others)]
    assert len(set(keys)) == len(keys)
    assert scratch("features", FACTS, ["ab"], [array.copy() for array in given]) == keys[0]


def test_kinds_have_separate_folders() -> None:
    first, second = (scratch(kind, FACTS, []) for kind in ("features", "checkpoints"))
    assert first.name == second.name and first.parent != second.parent


def test_the_default_place_is_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LONGTAIL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert scratch("features", {}, []).parent == tmp_path / ".cache" / "longtail" / "features"


def test_an_empty_setting_is_none_and_not_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _scratch.cache_folder() == tmp_path / ".cache/longtail"


def test_a_user_without_a_home_needs_none_where_the_place_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs under any user id."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path))
    monkeypatch.setattr(Path, "home", homeless)
    assert _scratch.cache_folder() == tmp_path


def test_only_the_most_recently_used_folders_are_kept() -> None:
    folders = []
    for i in range(_scratch.KEPT):
        folders.append(scratch("features", {"i": i}, []))
        os.utime(folders[-1], (1000 + i, 1000 + i))
    other = scratch("checkpoints", {}, [])
    os.utime(other, (1, 1))
    assert scratch("features", {"i": 0}, []) == folders[0]  # the oldest is used again
    newest = scratch("features", {"i": "new"}, [])
    kept = set(newest.parent.iterdir())
    assert kept == {newest, *folders} - {folders[1]}
    assert other.exists()
