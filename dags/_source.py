"""Copies the night's new files from a folder or bucket into the workspace."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from components._frame.forgotten import LIST
from components._frame.suffixes import SUFFIXES
from dags._tools import WorkspaceError
from dags._workspace import TAKEN_IN, Workspace

INCOMING = "incoming"
# Sources that `ingest` downloads by name. Their documents change, so existing ones are updated.
NAMED = {"debian": ["debian", "--update"]}
ASSIGNMENT = "artifacts/split/assignment.parquet"


def ingest_command(source: str | None, workspace: Workspace, *, update: bool) -> list[str] | None:
    """Copy the source's new files into the workspace and return the command that ingests them.

    Args:
        source: A name in `NAMED`, or what `copy_files` takes; None for no new texts.
        workspace: Of the run. If an earlier night was recorded, its split must exist, since its
            test documents stay test documents, also in data that were changed by hand. It also
            says whether there are documents to forget.
        update: Overwrite existing documents with the source's content, which is otherwise an error.

    Returns:
        The argument list, or None if there is nothing to ingest.
    """
    arguments: list[str] = []
    if source in NAMED:
        arguments = NAMED[source]
    elif source and (paths := copy_files(source, workspace.folder)):
        arguments = [SUFFIXES[Path(paths[0]).suffix], *paths, *(["--update"] if update else [])]
    if not arguments and not (workspace.by_hand or workspace.forgets):
        return None
    frozen = ["--assignment", ASSIGNMENT] if workspace.base else []
    frozen += ["--freeze"] if workspace.by_hand else []
    # Said although it is the default: code that knows no such list must not pass for obeying it.
    frozen += ["--forgotten", LIST] if (workspace.folder / LIST).exists() else []
    return ["python", "-m", "components.ingest", *arguments, *frozen]


def copy_files(source: str, workspace: Path) -> list[str]:
    """Copy the source's new and changed files to `incoming/`, and return their relative paths.

    Hidden files and files with an unknown suffix are ignored, and so are those that a recorded
    night has taken in. `taken_in.json` says which: name and digest. It is recorded with the night,
    so the files of a night that failed are taken by the next one.

    Args:
        source: A file, a folder, or an address such as `s3://bucket/new` (which needs its provider
            package and connection).
        workspace: Folder of the run.

    Raises:
        WorkspaceError: The source does not exist, or its new files mix formats.
    """
    files = files_of(source, f"Source {source} does not exist; mount it or fix `source`.")
    incoming = workspace / INCOMING
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    ledger = workspace / TAKEN_IN
    taken: dict[str, str] = json.loads(ledger.read_text("utf-8")) if ledger.exists() else {}
    new = {}
    for path in files:
        digest = copy(path, incoming / path.name)
        if taken.get(path.name) == digest:
            (incoming / path.name).unlink()
        else:
            new[path.name] = digest
    formats = sorted({SUFFIXES[Path(name).suffix] for name in new})
    if len(formats) > 1:
        raise WorkspaceError(
            f"Source {source} has new files in the formats {', '.join(formats)}; expected one "
            "format."
        )
    if new:
        ledger.write_text(json.dumps(taken | new, indent=1, sort_keys=True) + "\n", "utf-8")
    return [f"{INCOMING}/{name}" for name in new]


def files_of(address: str, missing: str) -> list[Path]:
    """The files of known formats there, by name; hidden ones are ignored.

    Args:
        address: A file, a folder, or an address such as `s3://bucket/new`.
        missing: What to say if it does not exist.

    Raises:
        WorkspaceError: It does not exist.
    """
    root = _path(address)
    if not root.exists():
        raise WorkspaceError(missing)
    return [path for path in (sorted(root.iterdir(), key=str) if root.is_dir() else [root])
            if path.suffix in SUFFIXES and not path.name.startswith(".")]  # fmt: skip


def copy(path: Path, target: Path) -> str:
    """Copy a file and return the SHA-256 of its content."""
    with path.open("rb") as original, target.open("wb") as copy:
        shutil.copyfileobj(original, copy)
    with target.open("rb") as copied:
        return hashlib.file_digest(copied, "sha256").hexdigest()


def _path(source: str) -> Path:
    if "://" not in source:
        return Path(source)
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(source)  # type: ignore[return-value] # the same methods
