"""Read labelled documents into data/corpus.parquet: append, update, replace or correct."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from components._frame.component import guarded
from components._frame.exit_codes import TemporaryError
from components._frame.files import locked
from components._sources import merge
from components._sources.arguments import parser
from components._sources.csv_files import read_csv, read_onehot
from components._sources.debian import read_debian
from components._sources.form import Form, Rows
from components._sources.json_lines import read_jsonl
from components._sources.parquet import read_parquet
from components._sources.reuters import read_reuters
from components._sources.synthetic import read_synthetic
from longtail.corpora.normalize import normalizer
from longtail.corpora.synthetic import N_DOCS, N_LABELS
from longtail.errors import DataError, ParameterError


def _files(read: Callable[[Path, Form], Rows]) -> Callable[[Namespace], list[Rows]]:
    def read_all(arguments: Namespace) -> list[Rows]:
        fields = [field.name for field in dataclasses.fields(Form)]
        form = Form(**{name: vars(arguments)[name] for name in fields if name in arguments})
        return [read(path, form) for path in arguments.paths]

    return read_all


def _reuters(arguments: Namespace) -> list[Rows]:
    return [read_reuters(arguments.path, arguments.val, arguments.val_seed)]


def _synthetic(arguments: Namespace) -> list[Rows]:
    shape = (arguments.docs, arguments.labels, arguments.wrong, arguments.seed)
    return [read_synthetic(*shape, arguments.truth)]


def _auto(arguments: Namespace) -> list[Rows]:
    """The default corpus, or the synthetic one where it cannot be had; none if one stands."""
    if (arguments.out / "corpus.parquet").exists():
        return []
    try:
        rows = read_debian()
        print(f"auto: Debian package tags ({rows.source}).")
    except (ParameterError, TemporaryError, DataError) as error:
        print(f"auto: the synthetic corpus, since Debian's package tags cannot be had: {error}")
        rows = read_synthetic(N_DOCS, N_LABELS, wrong=0.05, seed=0, truth=None)
    return [rows]


SOURCES: dict[str | None, Callable[[Namespace], list[Rows]]] = {
    None: lambda arguments: [],  # corrections alone
    "auto": _auto,
    "debian": lambda arguments: [read_debian()],
    "reuters": _reuters,
    "synthetic": _synthetic,
    "parquet": _files(read_parquet),
    "jsonl": _files(read_jsonl),
    "csv": _files(read_csv),
    "onehot": _files(read_onehot),
}


def ingest(arguments: Namespace) -> None:
    """Read everything first; only then lock the folder, merge, and move the corpus into place."""
    normalize = normalizer(step for step in arguments.normalize.split(",") if step)
    batches = SOURCES[arguments.source](arguments)
    for rows in batches:
        rows.columns["text"] = [normalize(text) for text in rows.columns["text"]]
    path = arguments.out / "corpus.parquet"
    if not batches and not path.exists():
        raise DataError(f"{path} does not exist; ingest a corpus first, for example with `auto`.")
    try:
        with locked(arguments.out):
            print(f"{path}: {_merged(batches, path, arguments)}")
    finally:
        with suppress(OSError):  # a folder that was made for nothing
            arguments.out.rmdir()


def _merged(batches: list[Rows], path: Path, arguments: Namespace) -> str:
    """Merge, correct, freeze and save; a corpus that gains nothing is left byte for byte."""
    fresh = arguments.mode == "replace" or not path.exists()
    columns = merge.empty() if fresh else merge.standing(path)
    old_ids = set(columns["id"])
    n_added = n_changed = n_corrected = n_frozen = 0
    for rows in batches:
        columns, added, changed = merge.merge(columns, rows, update=arguments.mode == "update")
        n_added, n_changed = n_added + added, n_changed + changed
    if arguments.corrections is not None:
        n_corrected = merge.correct(columns, arguments.corrections)
    if not columns["id"]:
        raise DataError(f"No document in {', '.join(rows.source for rows in batches)}.")
    counts = f"{n_added:,} added, {n_changed:,} changed, {n_corrected:,} labels corrected"
    if not (n_added or n_changed or n_corrected):
        return f"nothing new, left as it is ({len(old_ids):,} documents)."
    assignment = arguments.assignment or path.parent.parent / "artifacts/split/assignment.parquet"
    if old_ids and (arguments.assignment or assignment.exists()):
        n_frozen = merge.freeze(columns, old_ids, assignment)
    merge.save(columns, path)
    n_docs, n_pairs = len(columns["id"]), sum(map(len, columns["labels"]))
    n_labels = len({label for labels in columns["labels"] for label in labels})
    return (
        f"{n_docs:,} documents, {n_labels:,} labels, {n_pairs / n_docs:.2f} labels each "
        f"({counts}, {n_frozen:,} splits frozen)."
    )


if __name__ == "__main__":
    root = parser(__doc__)
    given = root.parse_args()
    if given.source is None and given.corrections is None:
        root.error("name a SOURCE, or --corrections for the corpus that stands")
    guarded("ingest", lambda: ingest(given))
