"""Reads and writes a lake: a folder, or an `s3://` prefix, of Parquet files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from components._formats.columns import checked_columns
from components._formats.parquet_file import open_parquet, parquet_errors
from components._formats.records import checked_documents, parquet_records
from components._formats.text_file import unreadable
from components._frame.exit_codes import TemporaryError
from components._frame.files import NO_FOLDER, locked, written
from longtail.errors import DataError, ParameterError

S3 = "s3://"
SUFFIX = ".parquet"
HIDDEN = "._"  # first characters of names, as Spark and Hive see it
PREDICTED = pa.schema(
    [
        ("id", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
    ]
)
ORIGIN = b"longtail.predict"  # in the footer of what `write` writes
GROUP_ROWS = 50_000  # rows of a row group, which is in memory until it is written
# Errors of S3 that another try may not meet; the client has already tried three times.
PASSING = ("NETWORK_CONNECTION", "SLOW_DOWN", "SERVICE_UNAVAILABLE", "THROTTLING",
           "REQUEST_TIMEOUT", "INTERNAL_FAILURE", "HTTP status 5", "HTTP status 429")  # fmt: skip


@dataclass(frozen=True)
class Partition:
    """A Parquet file of a lake: its path in the lake, its bytes, and its time (ns since 1970)."""

    name: str
    size: int
    modified: int


class Lake(Protocol):
    """Where partitions are: `Folder` or `Bucket`. Names are paths relative to it."""

    address: str

    def held(self) -> AbstractContextManager[None]:
        """Wait for other runs that write here, and clear away what a killed one has left.

        A bucket knows no locks: two runs at a time do the work twice, and write the same.
        """
        ...

    def partitions(self) -> list[Partition]:
        """All partitions below, by name; hidden files are none (`.x`, `_x`, or in such a folder).

        A lake that does not exist has none.
        """
        ...

    def open(self, name: str) -> AbstractContextManager[pq.ParquetFile]:
        """Open a partition; DataError if it cannot be read as Parquet."""
        ...

    def placed(self, name: str) -> AbstractContextManager[Path]:
        """Yield a local path; what is there in the end becomes the partition, whole or not."""
        ...


class Folder:
    """A lake in a local folder. Links to folders are not followed."""

    def __init__(self, path: Path) -> None:
        self.path, self.address = path, str(path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """See `Lake`."""
        with locked(self.path):
            for scratch in self.path.rglob(f".*{SUFFIX}.????????"):  # of `written`
                if scratch.is_dir() and set(os.listdir(scratch)) <= {scratch.stem[1:]}:
                    shutil.rmtree(scratch, ignore_errors=True)
            yield

    def partitions(self) -> list[Partition]:
        """See `Lake`.

        Raises:
            DataError: a folder in it may not be read.
        """
        found = []
        for folder, below, files in os.walk(self.path, onerror=_refuse):
            below[:] = [name for name in below if name[0] not in HIDDEN]
            for path in (Path(folder, file) for file in files):
                name = path.relative_to(self.path).as_posix()
                if is_partition(name) and path.is_file():
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        status = path.stat()
                        found.append(Partition(name, status.st_size, status.st_mtime_ns))
        return sorted(found, key=lambda partition: partition.name)

    def open(self, name: str) -> AbstractContextManager[pq.ParquetFile]:
        """See `Lake`."""
        return open_parquet(self._path(name))

    @contextmanager
    def placed(self, name: str) -> Iterator[Path]:
        """See `Lake`.

        Raises:
            DataError: a link leads out of the folder, perhaps to the inputs, or a file of this
                name may not be written there.
        """
        path = self._path(name)
        if path.parent.resolve() != (self.path.resolve() / name).parent:
            raise DataError(
                f"{path.parent} is a link, or below one, expected a folder: the output would "
                "replace files elsewhere. Remove the link, or pass another --output."
            )
        try:
            with written(path) as temporary:
                yield temporary
        except OSError as error:
            if error.errno not in NO_FOLDER:
                raise
            raise DataError(
                f"{path} cannot be written ({error.strerror}); check the folder's permissions and "
                "the length of the name."
            ) from None

    def _path(self, name: str) -> Path:
        """The partition's path; DataError if no Parquet file can be opened by it."""
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"{ascii(name)}: the file's name is not UTF-8; rename it.") from None
        return self.path / name


def _refuse(error: OSError) -> None:
    """A folder that is left out in silence would look as if it had been predicted."""
    if not isinstance(error, FileNotFoundError):
        raise unreadable(str(error.filename), error)


class Bucket:
    """A lake at an `s3://` prefix, which pyarrow's client reaches as the `AWS_*` variables say."""

    def __init__(self, address: str) -> None:
        from pyarrow.fs import S3FileSystem

        self.address = address.rstrip("/")
        self.root = self.address.removeprefix(S3)
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        self.files = S3FileSystem(endpoint_override=endpoint or None)

    def held(self) -> AbstractContextManager[None]:
        """See `Lake`."""
        return nullcontext()

    def partitions(self) -> list[Partition]:
        """See `Lake`."""
        from pyarrow.fs import FileSelector

        everything = FileSelector(self.root, allow_not_found=True, recursive=True)
        with _s3_errors():
            infos = self.files.get_file_info(everything)
        names = {info.path.removeprefix(self.root + "/"): info for info in infos if info.is_file}
        return [
            Partition(name, info.size, info.mtime_ns)
            for name, info in sorted(names.items())
            if is_partition(name)
        ]

    @contextmanager
    def open(self, name: str) -> Iterator[pq.ParquetFile]:
        """See `Lake`."""
        source = f"{self.address}/{name}"
        with parquet_errors(source), _s3_errors():
            file = pq.ParquetFile(f"{self.root}/{name}", filesystem=self.files)
            checked_columns(source, file.schema_arrow.names)
            yield file

    @contextmanager
    def placed(self, name: str) -> Iterator[Path]:
        """See `Lake`. S3 shows an object only when all of it has arrived."""
        from pyarrow.fs import LocalFileSystem, copy_files

        with tempfile.TemporaryDirectory(prefix="longtail-lake-") as folder:
            local = Path(folder) / "partition"
            yield local
            # Not a stream of ours: an interrupted one publishes what it has got when it is closed.
            with _s3_errors():
                copy_files(
                    str(local),
                    f"{self.root}/{name}",
                    source_filesystem=LocalFileSystem(),
                    destination_filesystem=self.files,
                )


@contextmanager
def _s3_errors() -> Iterator[None]:
    """Turn what S3 says into an error that ends the run; what a file lacks passes through."""
    try:
        yield
    except OSError as error:
        said = str(error)
        if "AWS Error" not in said:
            raise
        if any(sign in said for sign in PASSING):
            raise TemporaryError(f"S3 did not answer ({said}); try again.") from None
        raise ParameterError(
            f"S3 refuses the request ({said}); check the bucket's name and the AWS_* variables."
        ) from None


def opened_lake(address: str) -> Lake:
    """The lake at `address`, a folder or `s3://bucket/prefix`."""
    if not address.startswith(S3):
        return Folder(Path(address))
    if not address.removeprefix(S3).partition("/")[0]:
        raise ParameterError(f"{address} names no bucket, expected s3://BUCKET/PREFIX.")
    return Bucket(address)


def is_lake(address: str) -> bool:
    """Whether the address is a folder or an `s3://` prefix, rather than a file."""
    return address.startswith(S3) or os.path.isdir(address)


def is_partition(name: str) -> bool:
    """Whether a file of this name in a lake has documents, as Spark and Hive see it.

    >>> [is_partition(name) for name in ("a/b.parquet", "a/_temporary/b.parquet", "_SUCCESS")]
    [True, False, False]
    """
    path = PurePosixPath(name)
    return path.suffix.lower() == SUFFIX and not any(part[0] in HIDDEN for part in path.parts)


def check_apart(source: Lake, target: Lake) -> None:
    """Check that neither lake is in the other, where outputs would be read, or replace inputs.

    Raises:
        ParameterError: one is.
    """
    places = [
        PurePosixPath(os.path.realpath(lake.address) if isinstance(lake, Folder) else lake.address)
        for lake in (source, target)
    ]
    if places[0].is_relative_to(places[1]) or places[1].is_relative_to(places[0]):
        raise ParameterError(
            f"--output {target.address} and the input {source.address} overlap, so outputs would "
            "be taken for inputs; pass a folder outside of the input."
        )


def read_partition(lake: Lake, name: str, column: str) -> Iterator[tuple[str | None, str]]:
    """Yield (id, text) of each row, with only these two columns in memory.

    Raises:
        DataError: the partition cannot be read, lacks the column, or a row has no text, or no id
            where others have one.
    """
    source = f"{lake.address}/{name}"
    with lake.open(name) as file:
        columns = [key for key in ("id", column) if key in file.schema_arrow.names]
        if column not in columns:
            columns = file.schema_arrow.names  # the error names them
        documents = checked_documents(parquet_records(file, columns), source, column)
        for row, (document, text) in enumerate(documents, 1):
            if document is None and "id" in columns:
                raise DataError(f"{source}: row {row}, column 'id': expected an id, got null.")
            yield document, text


def write_partition(
    lake: Lake, name: str, rows: Iterable[tuple[str, list[str], list[float]]], origin: Any
) -> int:
    """Write (id, labels, scores) of each document as a partition, whole or not at all.

    Args:
        lake: where.
        name: of the partition.
        rows: in the order of the input.
        origin: what the rows were made from, as JSON; `read_origin` reads it again.

    Returns:
        The number of rows.
    """
    n_rows = 0
    schema = PREDICTED.with_metadata({ORIGIN: json.dumps(origin, sort_keys=True).encode()})
    with lake.placed(name) as path, pq.ParquetWriter(path, schema) as out:
        group: list[tuple[str, list[str], list[float]]] = []
        for row in rows:
            group.append(row)
            n_rows += 1
            if len(group) == GROUP_ROWS:
                out.write_table(_table(group, schema))
                group = []
        out.write_table(_table(group, schema))
    return n_rows


def _table(rows: list[tuple[str, list[str], list[float]]], schema: pa.Schema) -> pa.Table:
    columns = [[row[i] for row in rows] for i in range(len(schema))]
    return pa.table(columns, schema=schema)


def read_origin(lake: Lake, name: str) -> Any:
    """What a partition was made from, as given to `write_partition`; None for anybody else's.

    Raises:
        DataError: it is not Parquet.
    """
    with lake.open(name) as file:
        found = (file.schema_arrow.metadata or {}).get(ORIGIN)
    with suppress(ValueError):  # a footer that says something else under our key
        return None if found is None else json.loads(found)
    return None
