"""Several judgments per document: the latest becomes the corpus row, all go to a file beside."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from components._formats.annotations import read_annotations
from components._frame.files import written
from components._sources.reviews import separated
from components._sources.rows import FileFormat, Rows
from components._sources.source import Source, file_source
from longtail.errors import DataError

FILE = "annotations.parquet"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("annotator", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("annotated_at", pa.timestamp("us")),
    ]
)


def judged_source(
    help: str, read: Callable[[Path, FileFormat], Rows], *options: click.Option
) -> Source:
    """A source of files with one row per judgment; several files are read as one."""
    files = file_source(help, read, *options)
    return dataclasses.replace(files, read=lambda **given: [folded(files.read(**given))])


def folded(files: Sequence[Rows]) -> Rows:
    """One row per document, that of its latest judgment; of those without a time, the last.

    Args:
        files: with one row per judgment.

    Returns:
        The rows in order of first appearance, with the latest judgment of each annotator. A row
        without an annotator is no judgment.

    Raises:
        DataError: judgments of one id have different texts.
    """
    files = [separated(rows) for rows in files]
    names = list(dict.fromkeys(name for rows in files for name in rows.columns))
    rows: list[dict[str, Any]] = []
    where: list[str] = []
    for file in files:
        empty: list[Any] = [None] * len(file)
        given = {name: file.columns.get(name, empty) for name in names}
        rows += [{name: given[name][i] for name in names} for i in range(len(file))]
        where += [file.where(i) for i in range(len(file))]
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        other = first.setdefault(row["id"], i)
        if row["text"] != rows[other]["text"]:
            raise DataError(
                f"{where[i]}: document {row['id']!r:.80} has another text than in {where[other]}; "
                "give different documents different ids."
            )
    # Dicts keep the place of the first and the value of the last.
    latest = {row["id"]: row for row in rows} | {row["id"]: row for row in sorted(rows, key=_time)}
    judged = {
        (row["id"], row["annotator"]): row
        for row in sorted(rows, key=_time)
        if row.get("annotator") is not None
    }
    source = ", ".join(file.source for file in files)
    print(f"{source}: {_summary(list(latest), list(judged))}.")
    return Rows(
        source,
        _columns(latest.values(), names),
        judgments=_columns(judged.values(), SCHEMA.names),
        reviews=[review for file in files for review in file.reviews],
    )


def _time(row: dict[str, Any]) -> dt.datetime:
    return row.get("annotated_at") or dt.datetime.min


def _columns(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    kept = list(rows)
    return {name: [row.get(name) for row in kept] for name in names}


def _summary(ids: Sequence[str], judged: Sequence[tuple[str, str]]) -> str:
    n_several = len(judged) - len({identity for identity, _ in judged})
    names = len({annotator for _, annotator in judged})
    text = f"{len(ids):,} documents annotated, {len(judged):,} judgments of {names:,} annotators"
    more = "; the corpus takes the latest judgment of a document, annotations.parquet all"
    return text + more * (n_several > 0)


def add(path: Path, batches: Sequence[Rows], unwanted: Callable[[list[str]], Set[str]]) -> None:
    """Add the judgments of `batches` to the file at `path`; says how many are new.

    The latest judgment of an annotator about a document replaces the earlier ones. A file to which
    nothing is new keeps its bytes.

    Args:
        path: the file; made if it is not there.
        batches: those without judgments are skipped.
        unwanted: the ids, of those given, whose judgments are not kept.

    Raises:
        DataError: the file at `path` is none of judgments.
    """
    tables = [pa.table(rows.judgments, SCHEMA) for rows in batches if rows.judgments]
    if not any(len(table) for table in tables):
        return
    new = pa.concat_tables(tables).to_pylist()
    refused = unwanted([row["id"] for row in new])
    new = [row for row in new if row["id"] not in refused]
    read_annotations(path)
    old = pq.read_table(path) if path.exists() else SCHEMA.empty_table()
    for at, name in enumerate(old.column_names):
        if name in SCHEMA.names:  # other tools write other kinds of strings and times
            kind = SCHEMA.field(name).type
            old = old.set_column(at, name, old.column(at).cast(kind, safe=False))
    rows = {_key(row): row for row in sorted(old.to_pylist(), key=_time)}
    _check_people(path, [*rows.values(), *new])
    changed = [row for row in new if _news(rows.get(_key(row)), row)]
    if not changed:
        return
    replaced = {_key(row) for row in changed}
    kept = [row for row in old.to_pylist() if _key(row) not in replaced]
    schema = pa.unify_schemas([old.schema.remove_metadata(), SCHEMA])
    both = pa.Table.from_pylist(sorted(kept + changed, key=_key), schema)
    with written(path) as temporary:
        pq.write_table(both, temporary, compression="zstd")
    print(f"{path}: {len(changed):,} judgments are new or changed, {len(both):,} in all.")


def outdated(columns: dict[str, list[Any]], rows: Rows) -> set[str]:
    """The ids of which the corpus has a later judgment than `rows`; says how many there are.

    Args:
        columns: of the corpus.
        rows: of a source; only one of judgments has outdated rows.
    """
    if rows.judgments is None or not {"annotated_at"} <= columns.keys() & rows.columns.keys():
        return set()
    known = dict(zip(columns["id"], columns["annotated_at"], strict=True))
    given = zip(rows.columns["id"], rows.columns["annotated_at"], strict=True)
    found = {name for name, at in given if at and known.get(name) and known[name] > at}
    if found:
        print(f"{rows.source}: the corpus has later judgments of {len(found):,} documents.")
    return found


def _check_people(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Refuse a person who is called by a number in one export, and by an email in another."""
    seen: dict[Any, str] = {}
    for row in rows:
        if row.get("annotated_at") is None:
            continue
        key = (row["id"], row["annotated_at"], *_labels(row))
        names = {seen.setdefault(key, row["annotator"]), row["annotator"]}
        if any(map(str.isdigit, names)) and any("@" in name for name in names):
            raise DataError(
                f"{path}: the same judgment of document {row['id']!r:.80} is given by "
                f"{' and by '.join(sorted(names))}: one person, called by a number in one export "
                "and by an email in another. Export all in one way, remove that file, and ingest "
                "the exports again."
            )


def _labels(row: dict[str, Any]) -> list[str]:
    return sorted(row["labels"], key=str)


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return row["id"], row["annotator"]


def _news(old: dict[str, Any] | None, new: dict[str, Any]) -> bool:
    if old is None:
        return True
    if new["annotated_at"] is None or _time(new) == _time(old):
        return _labels(old) != _labels(new)
    return _time(new) > _time(old)
