"""What retention removes: one line each, and how much room it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Removal:
    """One thing to remove: its kind, name and size, and why it is not needed."""

    kind: str
    name: str
    megabytes: float
    why: str


def size_of(path: Path) -> float:
    """Megabytes of a file, or of the files in a folder that nothing else links to."""
    if not path.is_dir():
        return path.lstat().st_size / 1e6
    files = [file.lstat() for file in path.rglob("*") if file.is_file()]
    return sum(file.st_size for file in files if file.st_nlink == 1) / 1e6
