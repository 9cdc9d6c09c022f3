"""Takes the night's new files from a folder or bucket into the workspace, before anything reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from dags._workspace import WorkspaceError

INCOMING = "incoming"
# Suffix of a file -> the sub-command of `components.ingest` that reads it.
FORMATS = {".parquet": "parquet", ".jsonl": "jsonl", ".csv": "csv", ".tsv": "csv"}
# Sources that are fetched by name: their documents change, so the new content is taken.
NAMED = {"debian": ["debian", "--update"]}
SPLIT = "artifacts/split/assignment.parquet"


def ingest_command(
    source: str, workspace: Path, *, update: bool, recorded: bool
) -> list[str] | None:
    """Take `source` in; the command that adds it to the corpus, None where there is nothing to add.

    With `update` documents that stand take the source's new content, else that is an error. After
    a `recorded` night its split must be there: the old test documents stay test documents.
    """
    if source in NAMED:
        words = NAMED[source]
    else:
        paths = take_in(source, workspace)
        if not paths:
            return None
        words = [FORMATS[Path(paths[0]).suffix], *paths, *(["--update"] if update else [])]
    frozen = ["--assignment", SPLIT] if recorded else []
    return ["python", "-m", "components.ingest", *words, *frozen]


def take_in(source: str, workspace: Path) -> list[str]:
    """Copy the source's files to `incoming/`; their paths in the workspace.

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
    return [f"{INCOMING}/{path.name}" for path in files]


def _path(source: str) -> Path:
    if "://" not in source:
        return Path(source)
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(source)  # type: ignore[return-value] # the same methods
