"""Remembers beside the corpus which file each document came from, to name it in a conflict."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components._formats.parquet_file import open_parquet
from components._frame.files import written
from components._frame.suffixes import SUFFIXES
from components._sources.rows import Rows

Origins = dict[str, str]


def read(path: Path) -> Origins:
    """The name of the file that each document came from; empty if nothing is remembered."""
    if not path.exists():
        return {}
    with open_parquet(path) as file:
        table = file.read(["id", "file"]).to_pydict()
    return dict(zip(table["id"], table["file"], strict=True))


def name_of(rows: Rows) -> str | None:
    """The name to remember; None for a source that is not one file of many."""
    path = Path(rows.source)
    return path.name if path.suffix in SUFFIXES else None


def write(origins: Origins, path: Path) -> None:
    """Write what is remembered, sorted by id."""
    if not origins and not path.exists():
        return
    ids = sorted(origins)
    table = pa.table({"id": ids, "file": pa.array([origins[name] for name in ids], pa.string())})
    with written(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
