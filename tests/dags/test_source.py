"""What is taken in from a source of new files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dags._source import INCOMING, take_in
from dags._workspace import WorkspaceError


def test_known_files_are_copied_and_named_by_format(tmp_path: Path) -> None:
    source, workspace = tmp_path / "in", tmp_path / "w"
    source.mkdir()
    workspace.mkdir()
    for name in ("a.csv", "b.tsv", ".c.csv", "d.csv.part", "README"):
        (source / name).write_text(name)
    assert take_in(str(source), workspace) == "csv"
    copied = {p.name: p.read_text() for p in (workspace / INCOMING).iterdir()}
    assert copied == {"a.csv": "a.csv", "b.tsv": "b.tsv"}
    (source / "a.csv").unlink()
    assert take_in(f"file://{source}", workspace) == "csv"
    assert [p.name for p in (workspace / INCOMING).iterdir()] == ["b.tsv"]


def test_an_empty_source_has_no_format(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert take_in(str(tmp_path / "in"), tmp_path) is None


def test_a_missing_or_mixed_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="nowhere does not exist"):
        take_in(str(tmp_path / "nowhere"), tmp_path)
    for name in ("a.csv", "b.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(WorkspaceError, match="formats csv, jsonl; expected one"):
        take_in(str(tmp_path), tmp_path)
