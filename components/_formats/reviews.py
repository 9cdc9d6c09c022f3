"""Reads and writes `data/reviews.parquet`: what people said about suspected labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components._formats.parquet_file import open_parquet
from components._frame.files import written
from longtail.annotation.review import Review
from longtail.errors import DataError

FILE = "reviews.parquet"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.string()),
        ("rule", pa.string()),
        ("score", pa.float64()),
        ("given", pa.bool_()),
        ("right", pa.bool_()),
        ("annotator", pa.string()),
        ("reviewer", pa.string()),
        ("reviewed_at", pa.timestamp("us")),
        ("asked", pa.string()),
        ("text", pa.string()),
    ]
)


def read_reviews(path: Path) -> list[Review]:
    """The reviews in the file at `path`; none if it is not there.

    Raises:
        DataError: it is not a file of reviews.
    """
    if not path.exists():
        return []
    with open_parquet(path) as file:
        table = file.read()
    try:
        return [Review(**row) for row in table.select(SCHEMA.names).cast(SCHEMA).to_pylist()]
    except (pa.ArrowException, KeyError) as error:
        raise DataError(
            f"{path} is not a file of reviews ({error}); expected the columns "
            f"{', '.join(SCHEMA.names)}. Restore it with `dvc checkout`."
        ) from None


def write_reviews(reviews: Iterable[Review], path: Path) -> None:
    """Write them sorted, so that the same reviews give the same bytes."""
    rows = sorted(map(asdict, reviews), key=lambda row: [str(row[name]) for name in SCHEMA.names])
    with written(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), temporary, compression="zstd")
