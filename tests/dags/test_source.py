"""What is taken in from a source of new files."""

from __future__ import annotations

from pathlib import Path

import pytest

from components._sources.arguments import parser
from dags._source import INCOMING, ingest_command, take_in
from dags._workspace import WorkspaceError


def test_known_files_are_copied_and_named_by_format(tmp_path: Path) -> None:
    source, workspace = tmp_path / "in", tmp_path / "w"
    source.mkdir()
    workspace.mkdir()
    for name in ("a.csv", "b.tsv", ".c.csv", "d.csv.part", "README"):
        (source / name).write_text(name)
    assert take_in(str(source), workspace) == ["incoming/a.csv", "incoming/b.tsv"]
    copied = {p.name: p.read_text() for p in (workspace / INCOMING).iterdir()}
    assert copied == {"a.csv": "a.csv", "b.tsv": "b.tsv"}
    (source / "a.csv").unlink()
    assert take_in(f"file://{source}", workspace) == ["incoming/b.tsv"]
    assert [p.name for p in (workspace / INCOMING).iterdir()] == ["b.tsv"]


def words(source: str, workspace: Path, **facts: bool) -> list[str] | None:
    return ingest_command(source, workspace, **{"update": False, "recorded": False, **facts})


def test_the_command_that_takes_the_files_in(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = str(tmp_path / "in")
    assert words(source, tmp_path) is None
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "in" / name).write_text("{}")
    start = ["python", "-m", "components.ingest", "jsonl", "incoming/a.jsonl", "incoming/b.jsonl"]
    frozen = ["--assignment", "artifacts/split/assignment.parquet"]
    assert words(source, tmp_path) == start
    assert words(source, tmp_path, update=True, recorded=True) == [*start, "--update", *frozen]


def test_debian_s_packages_change_so_their_new_content_is_taken(tmp_path: Path) -> None:
    start = ["python", "-m", "components.ingest", "debian", "--update"]
    assert words("debian", tmp_path) == start
    assert words("debian", tmp_path, recorded=True)[5:] == [
        "--assignment", "artifacts/split/assignment.parquet"
    ]  # fmt: skip
    assert not (tmp_path / INCOMING).exists()


@pytest.mark.parametrize("source", ["debian", "csv"])
def test_the_component_understands_the_command(source: str, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("id,text,labels")
    given = source if source == "debian" else str(tmp_path)
    command = words(given, tmp_path, update=True, recorded=True)
    found = parser(None).parse_args(command[3:])
    assert (found.source, found.mode) == (source, "update")
    assert found.assignment == Path("artifacts/split/assignment.parquet")


def test_a_missing_or_mixed_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="nowhere does not exist"):
        take_in(str(tmp_path / "nowhere"), tmp_path)
    for name in ("a.csv", "b.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(WorkspaceError, match="formats csv, jsonl; expected one"):
        take_in(str(tmp_path), tmp_path)
