"""Merges new rows into the corpus, applies corrections, freezes the splits of old rows."""

from __future__ import annotations

from collections.abc import Set
from itertools import compress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components._formats.corpus import COLUMNS, FOLD, REQUIRED, SPLITS, read_corpus, write_corpus
from components._frame.files import written
from components._sources import origins as origin
from components._sources.csv_files import table
from components._sources.rows import FileFormat, Rows, one_type
from longtail.errors import DataError, unknown_name
from longtail.spreadsheet import original
from longtail.validation.label_history import Fates, current

Columns = dict[str, list[Any]]


def empty() -> Columns:
    """The columns of an empty corpus."""
    return {name: [] for name in REQUIRED}


def existing(path: Path) -> Columns:
    """The columns of the corpus at `path`; DataError if it breaks the data contract."""
    read_corpus(path, null_labels=True)
    return pq.ParquetFile(path).read().to_pydict()


def merge(
    old: Columns,
    new: Rows,
    update: bool,
    origins: origin.Origins,
    skip: Set[str] = frozenset(),
    fates: Fates = MappingProxyType({}),
) -> tuple[Columns, int, int]:
    """Add rows to the corpus.

    A row that already exists with the same content is skipped, so that a delivery can be repeated.

    Args:
        old: the columns of the corpus.
        new: the rows to add.
        update: whether a row with different content replaces the old one; an old `split` is kept
            if the new row has none.
        origins: the file that each document came from, changed in place.
        skip: ids of new rows that are left out.
        fates: what labels have become; an old row that still has old ones is not different.

    Returns:
        The merged columns, the number of rows added, and the number of rows changed.

    Raises:
        DataError: without `update`, a row exists with different content.
    """
    at = {identity: i for i, identity in enumerate(old["id"])}
    # The fold is what `split` gave, never what a delivery says.
    given = {name: values for name, values in new.columns.items() if name != FOLD}
    names = [*old, *(name for name in given if name not in old)]
    size = len(old["id"])
    merged = {name: list(old.get(name, [None] * size)) for name in names}
    n_added = n_changed = 0
    file = origin.name_of(new)
    for k, identity in enumerate(new.columns["id"]):
        if identity in skip:
            continue
        row = {name: values[k] for name, values in given.items()}
        i = at.get(identity)
        if i is None:
            n_added += 1
            for name in names:
                merged[name].append(row.get(name))
            _remember(origins, identity, file)
            continue
        known = {name: merged[name][i] for name in row}
        known["labels"] = current(known["labels"], fates)
        different = [name for name, value in row.items() if _differs(name, known[name], value)]
        if different and not update:
            found = f", taken in from {origins[identity]}" if identity in origins else ""
            raise DataError(
                f"{new.where(k)}, column {different[0]!r}: id {identity!r:.80} is already in the "
                f"corpus with different content{found}. If the new row corrects it, pass --update "
                "(the nightly run: trigger it with `update`, or set LONGTAIL_UPDATE=true to let "
                "the later file win every night); else take the row out, or give it a new id."
            )
        if different:
            _remember(origins, identity, file)
        n_changed += bool(different)
        for name in different:
            merged[name][i] = row[name]
    for name in names:
        if name not in COLUMNS:
            one_type(new.source, name, merged[name])
    return merged, n_added, n_changed


def _remember(origins: origin.Origins, identity: str, file: str | None) -> None:
    if file is not None:
        origins[identity] = file
    else:
        origins.pop(identity, None)


def _differs(name: str, old: Any, new: Any) -> bool:
    if name == "labels":  # a set; the order, which may differ between deliveries, means nothing
        old, new = sorted(old, key=str), sorted(new, key=str)
    if old == new or (name == "split" and new is None):
        return False
    return _known(old) != _known(new)


def _known(value: Any) -> str | None:
    """The value for a comparison: NaN, which differs from itself, is null as in the corpus."""
    missing = value is None or (isinstance(value, float) and value != value)
    return None if missing else repr(value)


def freeze(columns: Columns, old_ids: set[str], assignment: Path) -> tuple[int, int]:
    """Take the split and the fold of old rows from the recorded assignment.

    An empty `split` is filled in; a filled one only changes from test to train, where `split` says
    that the document retired. The fold is the recorded one: `split` has kept what still held.

    Returns:
        The number of rows whose split or fold was filled in, and the number of documents retired.
    """
    try:
        recorded = pq.ParquetFile(assignment).read().to_pydict()
        split_of = dict(zip(recorded["id"], recorded["split"], strict=True))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(
            f"{assignment} is not a readable split assignment ({error}); expected the columns id "
            "and split. Restore it with `dvc checkout`."
        ) from None
    if unknown := set(split_of.values()) - set(SPLITS):
        raise DataError(
            f"{assignment}, column 'split': expected {', '.join(SPLITS)}, got {unknown.pop()!r}."
        )
    retired = set(compress(recorded["id"], recorded.get("retired", ())))
    fold_of = dict(zip(recorded["id"], recorded.get(FOLD, ()), strict=False))
    splits = columns.setdefault("split", [None] * len(columns["id"]))
    folds = columns.setdefault(FOLD, [None] * len(columns["id"]))
    n_filled = n_retired = 0
    for i, identity in enumerate(columns["id"]):
        if identity not in old_ids or identity not in split_of:
            continue
        fold = fold_of.get(identity, folds[i])
        n_filled += splits[i] is None or folds[i] != fold
        folds[i] = fold
        if splits[i] is None:
            splits[i] = split_of[identity]
        elif splits[i] == "test" and identity in retired:
            splits[i] = "train"
            n_retired += 1
    return n_filled, n_retired


def correct(columns: Columns, path: Path) -> int:
    """Apply accepted label corrections.

    Args:
        columns: the corpus, changed in place.
        path: CSV with the columns id, label and action (add or remove). Other columns are ignored,
            rows without an action are skipped as undecided, and a correction that has already been
            applied changes nothing. A label to add must occur in the corpus.

    Returns:
        The number of labels added or removed.
    """
    rows = table(path, FileFormat())
    missing = [name for name in ("id", "label", "action") if name not in rows.columns]
    if missing:
        raise DataError(
            f"{path}: no column {missing[0]!r}; expected id, label, action, found "
            f"{', '.join(map(repr, rows.columns))}."
        )
    at = {identity: i for i, identity in enumerate(columns["id"])}
    known = {label for labels in columns["labels"] for label in labels}
    n_applied = 0
    for k in range(len(rows)):
        # suspects.csv guards its cells against spreadsheets; `original` removes the guard.
        identity, label = (original(rows.columns[name][k]) for name in ("id", "label"))
        action = rows.columns["action"][k].strip().lower()
        if not action:
            continue
        _check_correction(rows.where(k), identity in at, identity, label, action, known)
        labels = columns["labels"][at[identity]]
        if (action == "add") != (label in labels):
            changed = [*labels, label] if action == "add" else [x for x in labels if x != label]
            columns["labels"][at[identity]] = changed
            n_applied += 1
    return n_applied


def _check_correction(
    where: str, found: bool, identity: str, label: str, action: str, known: set[str]
) -> None:
    if action not in ("add", "remove"):
        raise DataError(f"{where}, column 'action': expected add or remove, got {action!r:.60}.")
    if not found:
        raise DataError(f"{where}, column 'id': no document {identity!r:.60} in the corpus.")
    if action == "add" and label not in known:
        raise DataError(f"{where}, column 'label': {unknown_name('label', label, known)}"[:600])


def save(columns: Columns, path: Path) -> None:
    """Write the corpus, sorted by id; optional columns without values are left out."""
    order = sorted(range(len(columns["id"])), key=columns["id"].__getitem__)
    kept = {
        name: pd.Series([values[i] for i in order], dtype=object)
        for name, values in columns.items()
        if name in REQUIRED or any(value is not None for value in values)
    }
    with written(path) as temporary:
        write_corpus(pd.DataFrame(kept), temporary)
        try:
            read_corpus(temporary, null_labels=True)
        except DataError as error:
            raise DataError(
                f"{path} is unchanged: what was to be written cannot be read again ({error}) Drop "
                "the columns that the project does not need, and ingest once more."
            ) from None
