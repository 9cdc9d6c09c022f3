"""Opens Parquet files; DataError if that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components._formats.columns import checked_columns
from components._formats.text_file import checked_file, unreadable
from longtail.errors import DataError

MAGIC = b"PAR1"


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file or a pipe; DataError if it is truncated, not Parquet, or names a column twice."""
    with parquet_errors(str(path)):
        with open(checked_file(path), "rb") as raw:
            head = raw.peek(4)[:4]
            if head != MAGIC:
                raise DataError(
                    f"{path} is not a Parquet file (it begins with {head!r}, expected {MAGIC!r}); "
                    "if it is CSV or JSON Lines, read it as `csv` or `jsonl`."
                )
            # The end of a Parquet file is read first, which a pipe does not allow.
            file = pq.ParquetFile(path if path.is_file() else pa.BufferReader(raw.read()))
        checked_columns(str(path), file.schema_arrow.names)
        yield file


@contextmanager
def parquet_errors(source: str) -> Iterator[None]:
    """Turn what pyarrow raises on reading `source` into a DataError that says what to do."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source}: a text is not UTF-8 ({error}), as Parquet demands; export it again."
        ) from None
    except OSError as error:
        if error.errno is not None:
            raise unreadable(source, error) from None
        raise _truncated(source, error) from None
    except pa.ArrowException as error:
        raise _truncated(source, error) from None


def _truncated(source: str, error: Exception) -> DataError:
    return DataError(
        f"{source} is not a readable Parquet file ({error}); it may be truncated: copy it again."
    )
