"""Opens text files and standard input; errors name the byte that is not in the encoding."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from longtail.errors import DataError, ParameterError


def checked_file(path: Path) -> Path:
    """Return `path` if it is a file with content, else raise DataError."""
    try:
        exists = path.exists()
    except OSError as error:  # a name that no file can have
        raise DataError(f"{str(path):.80} is no file ({error.strerror}); check the path.") from None
    if not exists:
        raise DataError(f"{path} does not exist; check the path.")
    if path.is_dir():
        raise DataError(f"{path} is a folder, expected a file; pass the files in it.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes), expected rows; export it again.")
    return path


@contextmanager
def open_text(path: Path | None, encoding: str, newline: str | None = None) -> Iterator[IO[str]]:
    """Open the file `path`, or standard input for None, as text.

    Raises:
        DataError: the file is missing, empty, or not in `encoding`.
        ParameterError: `encoding` does not exist.
    """
    name = codec(encoding)
    if path is None and sys.stdin is None:
        raise DataError("stdin is closed; pass a file.")
    # Standard input comes as the environment decodes it, with escapes for what it cannot read.
    source = checked_file(path) if path is not None else sys.stdin.fileno()
    with open(source, encoding=name, newline=newline, closefd=path is not None) as lines:
        try:
            yield lines
        except UnicodeError as error:
            if path is None:
                raise DataError(
                    f"stdin is not {encoding} ({error}); name its encoding with --encoding."
                ) from None
            raise _wrong_encoding(path, encoding) from None


def codec(encoding: str) -> str:
    """The codec of an encoding; that of UTF-8 also accepts a byte order mark."""
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)  # base64 and the like are codecs, but not of text
    except (LookupError, UnicodeError):
        raise ParameterError(f"--encoding: unknown encoding {encoding!r}; try utf-8.") from None
    return "utf-8-sig" if name == "utf-8" else name


def _wrong_encoding(path: Path, encoding: str) -> DataError:
    """The error for a file that is not in `encoding`, naming the first byte that is not."""
    with open(path, "rb") as file:
        before = 0
        for number, line in enumerate(file, start=1):
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return DataError(f"{path} is UTF-16, not {encoding}; pass --encoding utf-16.")
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                byte = before + error.start
                return DataError(
                    f"{path}: line {number}, byte {byte:,} of the file (0x{line[error.start]:02x}) "
                    f"is not {encoding}; pass the file's encoding, such as --encoding latin-1 or "
                    "--encoding cp1252."
                )
            except UnicodeError:  # some codecs do not say where
                break
            before += len(line)
    return DataError(f"{path} is not {encoding}; pass the file's encoding with --encoding.")
