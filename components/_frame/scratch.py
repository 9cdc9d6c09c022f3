"""A folder for intermediate results, keyed by a hash of everything they are made from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

KEPT = 12


def cache_folder() -> Path:
    """`$LONGTAIL_CACHE`; where that is unset or empty, `~/.cache/longtail`."""
    return Path(os.environ.get("LONGTAIL_CACHE") or Path.home() / ".cache" / "longtail")


def share_compiled() -> None:
    """Let every checkout use what one has compiled; before numba is imported, which reads it."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder() / "numba"))


def scratch(
    kind: str, facts: dict[str, Any], texts: Iterable[str], arrays: Iterable[np.ndarray] = ()
) -> Path:
    """Return the folder `<cache>/<kind>/<key>`, creating it if necessary.

    The cache is outside the workspace, so
    that a nightly run in a fresh workspace finds unfinished work again and DVC does not mistake it
    for an output. Only the `KEPT` most recently used folders of each kind are kept.

    Args:
        kind: of the results, such as "features".
        facts: what the results depend on besides the texts; part of the key.
        texts: the texts they are made from; part of the key.
        arrays: the numbers they are made from; values, shape and dtype are part of the key.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for text in texts:
        data = text.encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}:".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    parent = cache_folder() / kind
    folder = parent / digest.hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # a cache that is only read
        os.utime(folder)
    _delete_old(parent)
    return folder


def _delete_old(parent: Path) -> None:
    used = []
    for folder in parent.iterdir():
        with suppress(FileNotFoundError):  # another run deletes, too
            used.append((folder.stat().st_mtime, folder))
    for _, folder in sorted(used, reverse=True)[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
