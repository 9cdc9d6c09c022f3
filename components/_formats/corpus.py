"""Reads and writes the corpus, a Parquet file; errors name what breaks the data contract."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components._formats.columns import listed
from components._frame.files import written
from longtail.errors import DataError

FOLD = "crossfit_fold"  # as `split`: frozen once it was given
COLUMNS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "text": pa.string(),
    "labels": pa.list_(pa.string()),
    "group": pa.string(),
    "annotator": pa.string(),
    "annotated_at": pa.timestamp("us"),
    "split": pa.string(),
    FOLD: pa.int8(),
    "source": pa.string(),
}
REQUIRED = ("id", "text", "labels")
SPLITS = ("train", "val", "test")


def read_corpus(path: Path, *, null_labels: bool = False) -> pd.DataFrame:
    """Read the corpus, with `labels` as lists of str, and optional columns only if they exist.

    Args:
        path: the Parquet file.
        null_labels: whether a null inside a list of labels is allowed (`validate` removes it).

    Raises:
        DataError: the file is unreadable, or a column is missing, of a wrong type or has nulls.
    """
    table = _read_table(path)
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise DataError(
            f"{path}: column(s) {', '.join(missing)} missing; expected {', '.join(REQUIRED)}, "
            f"got {listed(table.column_names)}. Rebuild it with `longtail ingest`."
        )
    for name in table.column_names:
        table = _typed(path, table, name)
    frame = _frame(path, table)
    frame["labels"] = [list(labels) for labels in table.column("labels").to_pylist()]
    if not null_labels and pc.list_flatten(table.column("labels")).null_count:
        row = next(i for i, labels in enumerate(frame["labels"], 1) if None in labels)
        raise DataError(
            f"{path}: row {row}, column 'labels' has a null in its list, expected strings; "
            "run `dvc repro validate`, which drops blank labels, and use its output."
        )
    return frame


def _read_table(path: Path) -> pa.Table:
    try:
        names = pq.read_schema(path).names
        twice = sorted(name for name, n in Counter(names).items() if n > 1)
        if twice:
            raise DataError(f"{path}: column {twice[0]!r:.80} appears twice; drop or rename one.")
        return pq.read_table(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; create it with `longtail ingest`.") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())  # Arrow's message may have several lines
        raise DataError(
            f"{path} is not a readable Parquet file ({reason}); restore it with `dvc checkout` "
            "or rebuild it with `longtail ingest`."
        ) from None


UNREADABLE = (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError)


def _frame(path: Path, table: pa.Table) -> pd.DataFrame:
    """The table in pandas; other tools write values that Python has no form for."""
    try:
        table.validate(full=True)
        return table.to_pandas()
    except UNREADABLE:
        for name in table.column_names:
            column = table.column(name)
            try:
                column.validate(full=True)
                column.to_pandas()
            except UNREADABLE as error:
                reason = " ".join(str(error).split())
                raise DataError(
                    f"{path}: column {name!r:.80} ({column.type}) has a value that cannot be read "
                    f"({reason:.200}), such as a string that is not UTF-8 or a time out of range; "
                    "convert it and ingest the file again."
                ) from None
        raise


def _typed(path: Path, table: pa.Table, name: str) -> pa.Table:
    """Cast a column of the contract to its type; a required one must have no nulls."""
    if name not in COLUMNS:
        return table
    index = table.column_names.index(name)
    column, expected = table.column(index), COLUMNS[name]
    try:
        column = column.cast(expected)
    except pa.ArrowException:
        raise DataError(
            f"{path}: column {name!r} has type {column.type}, expected {expected}; "
            "convert it and ingest the file again."
        ) from None
    if name in REQUIRED and column.null_count:
        row = column.is_null().to_pylist().index(True) + 1
        raise DataError(f"{path}: row {row}, column {name!r} is null, expected {expected}.")
    return table.set_column(index, pa.field(name, expected), column)


def _extra(path: Path, name: str, values: pd.Series) -> pa.Array:
    """A column outside the contract, of any type that Arrow knows, but only one."""
    try:
        return pa.Array.from_pandas(values)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise DataError(
            f"{path}: the values of column {name!r:.80} have mixed types "
            f"({' '.join(str(error).split())}); convert or drop it."
        ) from None


def write_corpus(frame: pd.DataFrame, path: Path) -> None:
    """Write `frame` with the types of the contract; the same rows always give the same bytes."""
    fields = [pa.field(name, COLUMNS[name]) for name in COLUMNS if name in frame.columns]
    table = pa.Table.from_pandas(frame[[f.name for f in fields]], pa.schema(fields), False)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    for name in frame.columns:
        if name in COLUMNS:
            continue
        column = _extra(path, name, frame[name])
        # pandas 3 passes text as large_string, older versions as string: the bytes would differ.
        large = pa.types.is_large_string(column.type)
        columns[name] = column.cast(pa.string()) if large else column
    table = pa.table(columns)  # at once: thousands of columns take minutes one by one
    with written(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
