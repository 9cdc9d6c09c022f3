"""A folder for intermediate results, keyed by a hash of everything they are made from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

KEPT = 12


def scratch(kind: str, facts: dict[str, Any], texts: Iterable[str]) -> Path:
    """`<cache>/<kind>/<key>`, made if need be; the key is a hash of `facts` and `texts`.

    The cache is `$LONGTAIL_CACHE`, by default `~/.cache/longtail`. It lies outside the workspace:
    a nightly run in a fresh workspace finds its half-done work again, and DVC never takes it for
    an output. Only the `KEPT` youngest folders of a kind are kept.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for text in texts:
        data = text.encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    default = Path.home() / ".cache" / "longtail"
    parent = Path(os.environ.get("LONGTAIL_CACHE", default)) / kind
    folder = parent / digest.hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    _forget_old(parent)
    return folder


def _forget_old(parent: Path) -> None:
    folders = sorted(parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
