"""Vectors that were computed before, by text, in a SQLite file that several runs share."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components._frame.scratch import cache_folder, scratch

# A file with more than this loses a tenth of its texts, those not asked for the longest.
MOST_BYTES = 10 * 2**30
PATIENCE_SECONDS = 60.0  # while another run writes
AT_ONCE = 500  # keys in one query
TABLE = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, day INTEGER, vector BLOB)"
OLDEST_TENTH = """DELETE FROM vectors WHERE key IN
    (SELECT key FROM vectors ORDER BY day LIMIT (SELECT 1 + count(*) / 10 FROM vectors))"""


class TextStore:
    """What is known of texts. It may lose what it was given, but never returns anything else.

    Each vector has a digest, so a damaged one is not believed. A file that is no database is
    replaced; where it cannot be written, as on a full disk, the run goes on without it.

    Args:
        path: of the file; its folder exists.
        width: of a vector.
        dtype: that they are kept in.
    """

    def __init__(self, path: Path, width: int, dtype: npt.DTypeLike) -> None:
        self.path, self.width, self.dtype, self.usable = path, width, np.dtype(dtype), True

    @classmethod
    def cached(
        cls, kind: str, facts: dict[str, Any], width: int, dtype: npt.DTypeLike
    ) -> TextStore:
        """The store in the folder `scratch(kind, facts)`, if there can be one."""
        try:
            return cls(scratch(kind, facts, ()) / f"{kind}.sqlite", width, dtype)
        except OSError as error:
            without = cls(cache_folder() / kind, width, dtype)
            without._give_up(error)
            return without

    def known(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors `(width,)` of those texts that were put."""
        keys = {_key(text): text for text in texts}
        found: dict[str, np.ndarray] = {}

        def read(file: sqlite3.Connection) -> None:
            older, today = [], _today()
            for some in _batches(list(keys)):
                among = f"WHERE key IN ({', '.join('?' * len(some))})"
                rows = file.execute(
                    f"SELECT key, day, CAST(vector AS BLOB) FROM vectors {among}", some
                )
                for key, day, kept in rows:
                    vector = self._unpacked(key, kept)
                    if vector is not None:
                        found[keys[key]] = vector
                        older += [key] * (day != today)
            # Last, and only what changes: a file that cannot be written is still read.
            aged = "UPDATE vectors SET day = ? WHERE key = ?"
            file.executemany(aged, [(today, key) for key in older])

        self._within(read)
        return found

    def put(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep the vectors `(n_docs, width)` of texts, but for those that are not finite."""
        pairs = zip(map(_key, texts), vectors.astype(self.dtype), strict=True)
        rows = [(key, _today(), _packed(key, row)) for key, row in pairs if np.isfinite(row).all()]

        def write(file: sqlite3.Connection) -> None:
            file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
            if _used_bytes(file) > MOST_BYTES:
                file.execute(OLDEST_TENTH)

        self._within(write)

    def _within(self, act: Callable[[sqlite3.Connection], None]) -> None:
        """Act in one transaction; what fails costs time, not the run."""
        if not self.usable:
            return
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE_SECONDS)) as file, file:
                file.execute(TABLE)
                act(file)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # Python's own errors, about text that is none, have no code; SQLITE_ERROR is, for
            # example, another table's columns.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
                self._give_up(error)
            else:
                self._replace(error)

    def _replace(self, error: Exception) -> None:
        try:
            for path in (self.path, self.path.with_name(f"{self.path.name}-journal")):
                path.unlink(missing_ok=True)
            print(f"{self.path} was damaged ({error}); it is made anew.")
        except OSError:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.usable = False
        print(f"{self.path} cannot be used ({error}); what is computed is not kept.")

    def _unpacked(self, key: bytes, kept: bytes) -> np.ndarray | None:
        """The vector, unless it is not what was packed."""
        size = self.width * self.dtype.itemsize
        if not isinstance(kept, bytes) or kept[size:] != _digest(key, kept[:size]):
            return None
        vector = np.frombuffer(kept[:size], self.dtype)
        return vector if np.isfinite(vector).all() else None


def _batches(keys: list[bytes]) -> list[list[bytes]]:
    return [keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE)]


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _packed(key: bytes, vector: np.ndarray) -> bytes:
    data = vector.tobytes()
    return data + _digest(key, data)


def _digest(key: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(key + data, digest_size=8).digest()


def _today() -> int:
    return int(time.time() // 86_400)


def _used_bytes(file: sqlite3.Connection) -> int:
    asked = ("page_count", "freelist_count", "page_size")
    pages, free, size = (file.execute(f"PRAGMA {name}").fetchone()[0] for name in asked)
    return int((pages - free) * size)
