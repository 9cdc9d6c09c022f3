"""Takes the night's new files from a folder or bucket into the workspace, before anything reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from dags._workspace import WorkspaceError

INCOMING = "incoming"
# Suffix of a file -> the sub-command of `components.ingest` that reads it.
FORMATS = {".parquet": "parquet", ".jsonl": "jsonl", ".csv": "csv", ".tsv": "csv"}


def take_in(source: str, workspace: Path) -> str | None:
    """Copy the source's files to `incoming/`; their format, None where there is no file.

    `source` is a file, a folder, or an address such as `s3://bucket/new` (its provider package and
    connection have to be there). Hidden and unknown files are left where they are. Raises
    WorkspaceError for a source that is missing or holds two formats.
    """
    root = _path(source)
    if not root.exists():
        raise WorkspaceError(f"The source {source} does not exist; mount it or correct `source`.")
    files = [path for path in (sorted(root.iterdir(), key=str) if root.is_dir() else [root])
             if path.suffix in FORMATS and not path.name.startswith(".")]  # fmt: skip
    formats = sorted({FORMATS[path.suffix] for path in files})
    if len(formats) > 1:
        raise WorkspaceError(
            f"The source {source} holds files of the formats {', '.join(formats)}; expected one."
        )
    incoming = workspace / INCOMING
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    for path in files:
        with path.open("rb") as taken, (incoming / path.name).open("wb") as copy:
            shutil.copyfileobj(taken, copy)
    return formats[0] if formats else None


def _path(source: str) -> Path:
    if "://" not in source:
        return Path(source)
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(source)  # type: ignore[return-value] # the same methods
