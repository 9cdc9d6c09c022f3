"""Opens Parquet files; DataError if that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components._formats.text_file import checked_file
from longtail.errors import DataError


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open `path`; DataError if it is truncated, not Parquet, not UTF-8, or has a column twice."""
    try:
        file = pq.ParquetFile(checked_file(path))
        names = file.schema_arrow.names
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"{path}: column {name!r} appears twice; rename one.")
        yield file
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: a text is not UTF-8 ({error}), as Parquet demands; export it again."
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is not a readable Parquet file ({error}); it may be truncated: copy it again."
        ) from None
