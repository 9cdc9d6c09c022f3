"""Copies the night's new files from a folder or bucket into the workspace."""

from __future__ import annotations

import shutil
from pathlib import Path

from components._frame.suffixes import SUFFIXES
from dags._workspace import WorkspaceError

INCOMING = "incoming"
# Sources that `ingest` downloads by name. Their documents change, so existing ones are updated.
NAMED = {"debian": ["debian", "--update"]}
ASSIGNMENT = "artifacts/split/assignment.parquet"


def ingest_command(
    source: str, workspace: Path, *, update: bool, recorded: bool
) -> list[str] | None:
    """Copy the source's files into the workspace and return the command that ingests them.

    Args:
        source: A name in `NAMED`, or what `copy_files` takes.
        workspace: Folder of the run.
        update: Overwrite existing documents with the source's content, which is otherwise an error.
        recorded: Whether an earlier night was recorded. Its split must then exist, since its test
            documents stay test documents.

    Returns:
        The argument list, or None if the source has no files.
    """
    if source in NAMED:
        arguments = NAMED[source]
    else:
        paths = copy_files(source, workspace)
        if not paths:
            return None
        arguments = [SUFFIXES[Path(paths[0]).suffix], *paths, *(["--update"] if update else [])]
    frozen = ["--assignment", ASSIGNMENT] if recorded else []
    return ["python", "-m", "components.ingest", *arguments, *frozen]


def copy_files(source: str, workspace: Path) -> list[str]:
    """Copy the source's files to `incoming/` and return their paths relative to the workspace.

    Hidden files and files with an unknown suffix are ignored.

    Args:
        source: A file, a folder, or an address such as `s3://bucket/new` (which needs its provider
            package and connection).
        workspace: Folder of the run.

    Raises:
        WorkspaceError: The source does not exist, or mixes formats.
    """
    root = _path(source)
    if not root.exists():
        raise WorkspaceError(f"Source {source} does not exist; mount it or fix `source`.")
    files = [path for path in (sorted(root.iterdir(), key=str) if root.is_dir() else [root])
             if path.suffix in SUFFIXES and not path.name.startswith(".")]  # fmt: skip
    formats = sorted({SUFFIXES[path.suffix] for path in files})
    if len(formats) > 1:
        raise WorkspaceError(
            f"Source {source} has files in the formats {', '.join(formats)}; expected one format."
        )
    incoming = workspace / INCOMING
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    for path in files:
        with path.open("rb") as original, (incoming / path.name).open("wb") as copy:
            shutil.copyfileobj(original, copy)
    return [f"{INCOMING}/{path.name}" for path in files]


def _path(source: str) -> Path:
    if "://" not in source:
        return Path(source)
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(source)  # type: ignore[return-value] # the same methods
