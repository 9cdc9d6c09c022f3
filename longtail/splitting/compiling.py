"""Compiled inner loops: `numba.njit` with a cache that outlives torn files and full disks."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core import caching


class SharedFolder(caching.UserProvidedCacheLocator):
    """A folder in `NUMBA_CACHE_DIR` named by this file's content; numba's own is named by its path.

    So every checkout of the same code finds what another one compiled.
    """

    def __init__(self, function: Callable[..., Any], path: str) -> None:
        super().__init__(function, path)
        content = self.get_source_stamp().hex()[:32]
        self._cache_path = str(Path(self._cache_path).with_name(content))

    def ensure_cache_path(self) -> None:
        super().ensure_cache_path()
        os.utime(self._cache_path)  # in use: `longtail prune` removes what has not been for days


class Implementation(caching.CompileResultCacheImpl):
    """Where compiled loops are kept: the first of these that can be written."""

    _locator_classes: list[type[object]] = [  # noqa: RUF012 - numba has it so
        SharedFolder,
        caching.InTreeCacheLocator,
        caching.UserWideCacheLocator,
    ]


class Cache(caching.FunctionCache):
    """Compiled loops on disk; torn files are replaced, and a full disk keeps none."""

    _impl_class = Implementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        # numba names the file of code in its index before it writes it, and takes the same name
        # again: where that write fails, the index would name code of another source.
        base = self._impl.filename_base
        self._cache_file._data_name = lambda number: f"{base}.{uuid.uuid4().hex}.nbc"

    def load_overload(self, *key: Any) -> Any:
        try:
            return super().load_overload(*key)
        except Exception:  # unpickling torn bytes may raise any
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, *key_and_code: Any) -> None:
        with suppress(Exception):  # a full disk, or a torn index on one
            super().save_overload(*key_and_code)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`numba.njit` with a cache on disk if one is writable, otherwise compiled in each process.

    Loops let other threads run, and divide by zero as NumPy does.
    """
    loop = numba.njit(error_model="numpy", nogil=True)(function)
    with suppress(RuntimeError):  # how numba says that no cache folder is writable
        loop._cache = Cache(function)  # type: ignore[attr-defined]  # as by `cache=True`
    return loop
