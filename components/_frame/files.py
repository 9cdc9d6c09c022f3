"""Writes files and folders whole or not at all, and locks the folder they are written to."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from longtail.errors import DataError


def check_replaceable(path: Path) -> None:
    """Check that a file may be written at `path`.

    Raises:
        DataError: a folder or a device is there, or what should be its folder is a file; no file
            can have this name.
    """
    try:
        path.exists()
    except OSError as error:
        raise DataError(f"{str(path):.80} cannot be written ({error.strerror}).") from None
    if path.is_dir():
        raise DataError(f"{path} is a folder, expected a file's name; nothing was written.")
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is a device or a pipe, expected a file; nothing was written.")
    above = next((folder for folder in path.parents if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise DataError(f"{path} cannot be written, since {above} is a file; pass another path.")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` (file or folder) that replaces it only on success.

    A file replaces only a file, and a folder only a folder.

    Raises:
        DataError: something else is there.
    """
    if not path.is_dir():
        check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        temporary = scratch / path.name
        yield temporary
        if not temporary.is_dir():
            check_replaceable(path)
        elif path.is_symlink():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            raise DataError(f"{path} is a file, expected a folder; nothing was written.")
        os.replace(temporary, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


LOCK = ".lock"
# What a wrong path does; a full disk, for one, is something else.
NO_FOLDER = (errno.EEXIST, errno.ENOTDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS,
             errno.ENAMETOOLONG)  # fmt: skip


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on `folder`, so that an orphaned run cannot mix in its outputs.

    The lock is on a file opened for writing: NFS passes only such locks on to other machines, and
    refuses or keeps to itself those on a folder. The file is gone when nobody holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOCK
        handle = _locked_file(path)
    except OSError as error:
        if error.errno not in NO_FOLDER:
            raise
        raise DataError(
            f"{str(folder):.80} cannot be written ({error.strerror}); expected a folder."
        ) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock goes, so that no one else's is removed
        os.close(handle)


def _locked_file(path: Path) -> int:
    """Open and lock the file at `path`; again if its holder has removed it in the meantime."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path.parent}: another run is writing here; waiting.", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)
