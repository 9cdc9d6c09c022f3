"""Takes forgotten documents out of everything beside the corpus, and out of the caches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components._formats.parquet_file import open_parquet
from components._frame import forgotten
from components._frame.files import written
from components._frame.scratch import cache_folder
from components._sources.rows import Rows
from longtail.errors import DataError

# Files beside the corpus with rows of single documents.
BESIDE = ("annotations.parquet", "origins.parquet", "reviews.parquet")
LOCKS = "locks"


def read_list(path: Path) -> set[str]:
    """The digests in the list at `path`; none if it is not there.

    Raises:
        DataError: it is not a list of SHA-256 digests.
    """
    try:
        found = forgotten.parsed(path.read_text(encoding="utf-8")) if path.exists() else set()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); restore it from git.") from None
    for line in found:
        if len(line) != 64 or not set(line) <= set("0123456789abcdef"):
            raise DataError(
                f"{path} has {line!r:.80}; expected digests only, one per line. Restore it from "
                "git, and let `longtail ingest --forget FILE` write it."
            )
    return found


def write_list(digests: Iterable[str], path: Path) -> None:
    """Write the list, sorted; an empty one is removed."""
    lines = sorted(digests)
    if not lines:
        path.unlink(missing_ok=True)
        return
    with written(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_ids(path: Path) -> list[str]:
    """The ids in a file: one per line, or JSON Lines with a field `id` (`.jsonl`).

    Raises:
        DataError: it cannot be read, or has no id.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); expected ids in UTF-8.") from None
    whole = [line for line in lines if line.strip()]
    ids = [_id(path, line) for line in whole] if path.suffix == ".jsonl" else whole
    if not ids:
        raise DataError(f"{path} is empty; expected one id per line.")
    return list(dict.fromkeys(ids))


def _id(path: Path, line: str) -> str:
    try:
        value = json.loads(line)["id"]
    except (ValueError, TypeError, KeyError):
        value = None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise DataError(f'{path}: expected lines such as {{"id": "7"}}, got {line[:80]!r}.')
    return str(value)


class Forgetting:
    """The documents that must not be in the corpus, nor come back.

    Attributes:
        path: the list of their digests.
        digests: those of the list, and of the ids to add to it.
        gone: ids that were found in the corpus.
    """

    def __init__(self, path: Path, ids: Sequence[str] = ()) -> None:
        self.path, self.ids = path, ids
        self.listed = read_list(path)
        self.digests = self.listed | set(map(forgotten.digest_of, ids))
        self.gone: set[str] = set()

    def matching(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that are to be forgotten."""
        if not self.digests:
            return set()
        return {identity for identity in ids if forgotten.digest_of(identity) in self.digests}

    def without(self, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The rows of the corpus that stay; `gone` names the others."""
        self.gone = self.matching(columns["id"])
        kept = [i for i, identity in enumerate(columns["id"]) if identity not in self.gone]
        return {name: [values[i] for i in kept] for name, values in columns.items()}

    def refused(self, rows: Rows) -> set[str]:
        """Those of new rows that must not be taken in again; says how many."""
        found = self.matching(rows.columns.get("id", ()))
        if found:
            print(f"{rows.source}: {len(found):,} rows left out; {self.path} says to forget them.")
        return found

    def carry_out(self, folder: Path) -> None:
        """Write the list, and take the documents out of what is beside the corpus, and the caches.

        All but the corpus, which is written last: after a kill, the same call finds them again.
        """
        if self.digests != self.listed:
            write_list(self.digests, self.path)
        if not self.digests:
            return
        for name in BESIDE:
            if n_rows := clean(folder / name, self.digests):
                print(f"{folder / name}: {n_rows:,} rows removed.")
        if (self.gone or self.ids) and (n_folders := clear_caches()):
            print(f"{cache_folder()}: {n_folders:,} cached results deleted.")


def clean(path: Path, digests: Set[str]) -> int:
    """Take the documents' rows out of a Parquet file with a column `id`; the rows taken out.

    A file without such rows keeps its bytes.
    """
    if not path.exists():
        return 0
    with open_parquet(path) as file:
        table = file.read()
    if "id" not in table.column_names:
        raise DataError(f"{path} has no column 'id'; write it again or remove it.")
    ids = table.column("id").to_pylist()
    keep = [forgotten.digest_of(str(identity)) not in digests for identity in ids]
    if not all(keep):
        with written(path) as temporary:
            pq.write_table(table.filter(pa.array(keep, pa.bool_())), temporary, compression="zstd")
    return keep.count(False)


def clear_caches() -> int:
    """Delete all cached features, heads, and checkpoints, which are made of many documents each."""
    folders = [path for path in cache_folder().glob("*/*") if path.parent.name != LOCKS]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return len(folders)
