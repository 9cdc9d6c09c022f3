"""An array in a temporary file, which may be larger than memory."""

from __future__ import annotations

import fcntl
import os
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

PREFIX = "longtail-array-"


def temporary_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.memmap:
    """Zeros in a file of the folder for temporary files (`$TMPDIR`) that ends with the array.

    What killed processes left there is deleted first.

    Raises:
        OSError: there is no room for all of it; the message says where and how much.
    """
    _delete_left_behind()
    descriptor, name = _held_file()
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        if size and hasattr(os, "posix_fallocate"):  # macOS has none
            # All of it now: a disk that is full later would kill the process without a word.
            os.posix_fallocate(descriptor, 0, size)
        array = np.memmap(name, dtype, "r+", shape=shape)
    except OSError as error:
        _end(descriptor, name)
        why = f"{error.strerror}: {size / 1e9:.1f} GB are needed in $TMPDIR"
        raise OSError(error.errno, why, tempfile.gettempdir()) from None
    weakref.finalize(array, _end, descriptor, name)
    return array


def _held_file() -> tuple[int, str]:
    """A new file with a lock, which its process loses however it ends."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=PREFIX)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.fstat(descriptor).st_nlink:
            return descriptor, name
        os.close(descriptor)  # another process found it before it was locked


def _end(descriptor: int, name: str) -> None:
    Path(name).unlink(missing_ok=True)
    os.close(descriptor)


def _delete_left_behind() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not path.is_file():
            continue
        with suppress(OSError), path.open("rb") as file:  # somebody else's, or in use
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
