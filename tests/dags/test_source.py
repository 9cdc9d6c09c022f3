"""Which files are copied from a source, and the command that ingests them."""

from __future__ import annotations

from pathlib import Path

import pytest

from components._frame.suffixes import SUFFIXES
from components.ingest import command
from dags._source import INCOMING, NAMED, copy_files, ingest_command
from dags._workspace import WorkspaceError


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
    assert copy_files(f"file://{source}", workspace) == ["incoming/b.tsv"]
    assert [p.name for p in (workspace / INCOMING).iterdir()] == ["b.tsv"]


def argv(source: str, workspace: Path, **facts: bool) -> list[str] | None:
    return ingest_command(source, workspace, **{"update": False, "recorded": False, **facts})


def test_the_command_that_ingests_the_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = str(tmp_path / "in")
    assert argv(source, tmp_path) is None
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "in" / name).write_text("{}")
    start = ["python", "-m", "components.ingest", "jsonl", "incoming/a.jsonl", "incoming/b.jsonl"]
    frozen = ["--assignment", "artifacts/split/assignment.parquet"]
    assert argv(source, tmp_path) == start
    assert argv(source, tmp_path, update=True, recorded=True) == [*start, "--update", *frozen]


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
    found = argv(source if source in NAMED else str(tmp_path), tmp_path, update=True, recorded=True)
    assert found is not None
    name, *flags = found[3:]
    params = command.commands[name].make_context(name, flags).params
    assert params["update"] and not params["append"] and not params["replace"]
    assert params["assignment"] == Path("artifacts/split/assignment.parquet")


def test_a_missing_or_mixed_source_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="nowhere does not exist"):
        copy_files(str(tmp_path / "nowhere"), tmp_path)
    for name in ("a.csv", "b.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(WorkspaceError, match="formats csv, jsonl; expected one"):
        copy_files(str(tmp_path), tmp_path)
