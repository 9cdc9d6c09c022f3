"""Opens text files, pipes and standard input; errors say what a file is that is no text."""

from __future__ import annotations

import codecs
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from longtail.errors import DataError, ParameterError

# How a file begins that is no text, whatever its name: what it is, and what to do.
FOREIGN: dict[bytes, tuple[str, str]] = {
    rb"\x1f\x8b": ("compressed with gzip", "unpack it with gunzip first"),
    rb"BZh\d1AY": ("compressed with bzip2", "unpack it with bunzip2 first"),
    rb"\xfd7zXZ": ("compressed with xz", "unpack it with unxz first"),
    rb"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it with unzstd first"),
    rb"PK\x03\x04": (
        "a spreadsheet (.xlsx) or a ZIP archive",
        "save the sheet as CSV, or unpack it first",
    ),
    rb"\xd0\xcf\x11\xe0": ("a spreadsheet (.xls)", "save the sheet as CSV"),
    rb"PAR1\x15": ("a Parquet file", "read it as `parquet`"),
    rb"%PDF-": ("a PDF", "export its text"),
}
# How a text begins in an encoding that the file must be given by name.
MARKS: dict[bytes, str] = {
    rb"\xff\xfe\0\0|\0\0\xfe\xff": "utf-32",
    rb"\xff\xfe|\xfe\xff": "utf-16",
    rb"[^\0]\0\0\0[^\0]\0\0\0": "utf-32-le",
    rb"\0\0\0[^\0]\0\0\0[^\0]": "utf-32-be",
    rb"([^\0]\0){4}": "utf-16-le",
    rb"(\0[^\0]){4}": "utf-16-be",
}


def checked_file(path: Path) -> Path:
    """Return `path` if it is a pipe, or a file with content, else raise DataError."""
    try:
        if not path.exists():
            raise DataError(f"{path} does not exist; check the path.")
        if path.is_dir():
            raise DataError(f"{path} is a folder, expected a file; pass the files in it.")
        if not (path.is_file() or path.is_fifo()):
            raise DataError(f"{path} is a device, expected a file or a pipe.")
        if path.is_file() and path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes), expected rows; export it again.")
    except OSError as error:  # a name that no file can have, or no permission for its folder
        raise unreadable(str(path), error) from None
    return path


def unreadable(path: str, error: OSError) -> DataError:
    """The error for a file that the system does not open or read."""
    return DataError(
        f"{path:.80} cannot be read ({error.strerror or error}); check its name, its "
        "permissions, and that it stays where it is."
    )


@contextmanager
def open_text(path: Path | None, encoding: str, newline: str | None = None) -> Iterator[IO[str]]:
    """Open the file or pipe `path`, or standard input for None, as text.

    Raises:
        DataError: the file is missing, empty, no text, or not in `encoding`.
        ParameterError: `encoding` does not exist.
    """
    name = codec(encoding)
    if path is None and sys.stdin is None:
        raise DataError("stdin is closed; pass a file.")
    # Standard input comes as the environment decodes it, with escapes for what it cannot read.
    source = checked_file(path) if path is not None else sys.stdin.fileno()
    shown = str(path or "stdin")
    try:
        with open(source, "rb", closefd=path is not None) as raw:
            _check_kind(shown, raw.peek(8)[:8], name, encoding)
            with io.TextIOWrapper(raw, name, newline=newline) as lines:
                yield lines
    except UnicodeError as error:
        if path is None or not path.is_file():
            raise DataError(
                f"{shown} is not {encoding} ({error}); name its encoding with --encoding."
            ) from None
        raise _wrong_encoding(path, encoding) from None
    except OSError as error:
        raise unreadable(shown, error) from None


def _check_kind(shown: str, head: bytes, name: str, encoding: str) -> None:
    for pattern, (what, do) in FOREIGN.items():
        if re.match(pattern, head, re.DOTALL):
            raise DataError(f"{shown} is {what}, expected text; {do}.")
    for pattern, found in MARKS.items():
        if re.match(pattern, head, re.DOTALL):
            if not name.startswith(found[:6]):
                raise DataError(
                    f"{shown} is {found.upper()}, not {encoding}; pass --encoding {found}."
                )
            return


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
