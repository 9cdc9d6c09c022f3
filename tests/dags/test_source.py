"""Which files are copied from a source, and the command that ingests them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components._frame.forgotten import LIST
from components._frame.suffixes import SUFFIXES
from components.ingest import command
from dags._source import INCOMING, NAMED, copy_files, ingest_command
from dags._tools import WorkspaceError
from dags._workspace import TAKEN_IN, Workspace


def test_known_files_are_copied_and_named_by_format(tmp_path: Path) -> None:
    source, workspace = tmp_path / "in", tmp_path / "w"
    source.mkdir()
    workspace.mkdir()
    for name in ("a.csv", "b.tsv", ".c.csv", "d.csv.part", "README"):
        (source / name).write_text(name)
    assert copy_files(str(source), workspace) == ["incoming/a.csv", "incoming/b.tsv"]
    copied = {p.name: p.read_text() for p in (workspace / INCOMING).iterdir()}
    assert copied == {"a.csv": "a.csv", "b.tsv": "b.tsv"}
    (source / "a.csv").unlink()
    (workspace / TAKEN_IN).unlink()
    assert copy_files(f"file://{source}", workspace) == ["incoming/b.tsv"]
    assert [p.name for p in (workspace / INCOMING).iterdir()] == ["b.tsv"]


def run_of(folder: Path, *, recorded: bool = False, by_hand: bool = False) -> Workspace:
    """A run that starts from a record, or from none."""
    return Workspace(str(folder), "key", "code", "base" if recorded else None, None, by_hand)


def argv(source: str | None, workspace: Path, *, update: bool = False, **facts: bool) -> Any:
    return ingest_command(source, run_of(workspace, **facts), update=update)


def test_the_command_that_ingests_the_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = str(tmp_path / "in")
    assert argv(source, tmp_path) is None
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "in" / name).write_text("{}")
    start = ["python", "-m", "components.ingest", "jsonl", "incoming/a.jsonl", "incoming/b.jsonl"]
    frozen = ["--assignment", "artifacts/split/assignment.parquet"]
    assert argv(source, tmp_path) == start
    (tmp_path / TAKEN_IN).unlink()
    assert argv(source, tmp_path, update=True, recorded=True) == [*start, "--update", *frozen]


def test_only_new_and_changed_files_are_taken(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.jsonl").write_text("1")
    (source / "b.jsonl").write_text("2")
    assert copy_files(str(source), tmp_path) == ["incoming/a.jsonl", "incoming/b.jsonl"]
    assert copy_files(str(source), tmp_path) == []
    assert list((tmp_path / INCOMING).iterdir()) == []
    (source / "b.jsonl").write_text("changed")
    (source / "c.csv").write_text("a table, taken in alone")
    with pytest.raises(WorkspaceError, match="new files in the formats csv, jsonl"):
        copy_files(str(source), tmp_path)
    (source / "c.csv").rename(source / "c.jsonl")
    assert copy_files(str(source), tmp_path) == ["incoming/b.jsonl", "incoming/c.jsonl"]
    assert sorted(json.loads((tmp_path / TAKEN_IN).read_text())) == [
        "a.jsonl", "b.jsonl", "c.jsonl",
    ]  # fmt: skip


def test_data_changed_by_hand_keep_the_recorded_split(tmp_path: Path) -> None:
    found = argv(None, tmp_path, recorded=True, by_hand=True)
    assert found[3:] == ["--assignment", "artifacts/split/assignment.parquet", "--freeze"]
    given = command.make_context("ingest", found[3:]).params
    assert given["freeze"] and given["assignment"] == Path("artifacts/split/assignment.parquet")


def test_documents_to_forget_are_forgotten_also_without_new_files(tmp_path: Path) -> None:
    (tmp_path / LIST).write_text("")
    assert ingest_command(None, run_of(tmp_path), update=False) is None
    found = ingest_command(None, replace(run_of(tmp_path), forgets=True), update=False)
    assert found == ["python", "-m", "components.ingest", "--forgotten", LIST]
    assert command.make_context("ingest", found[3:]).params["forgotten"] == Path(LIST)
    assert argv("debian", tmp_path) == [*found[:3], "debian", "--update", "--forgotten", LIST]


def test_debian_packages_change_so_they_are_always_updated(tmp_path: Path) -> None:
    start = ["python", "-m", "components.ingest", "debian", "--update"]
    assert argv("debian", tmp_path) == start
    assert argv("debian", tmp_path, recorded=True)[5:] == [
        "--assignment", "artifacts/split/assignment.parquet"
    ]  # fmt: skip
    assert not (tmp_path / INCOMING).exists()


@pytest.mark.parametrize("source", [*NAMED, *SUFFIXES])
def test_the_component_accepts_the_command(source: str, tmp_path: Path) -> None:
    if source in SUFFIXES:
        (tmp_path / f"one{source}").write_text("")
    place = source if source in NAMED else str(tmp_path)
    found = argv(place, tmp_path, update=True, recorded=True, by_hand=True)
    assert found is not None
    name, *flags = found[3:]
    params = command.commands[name].make_context(name, flags).params
    assert params["update"] and not params["append"] and not params["replace"]
    assert params["freeze"]
    assert params["assignment"] == Path("artifacts/split/assignment.parquet")


def test_a_missing_or_mixed_source_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="nowhere does not exist"):
        copy_files(str(tmp_path / "nowhere"), tmp_path)
    for name in ("a.csv", "b.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(WorkspaceError, match="formats csv, jsonl; expected one"):
        copy_files(str(tmp_path), tmp_path)
