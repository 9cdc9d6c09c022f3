"""The folder `artifacts/train/comparison`: scores of other models than the one that is served.

It has a folder for each loss, the chosen one too, and one for the chosen one without the labels'
names; in each are the folders of scores `val` and `test`.
"""

from __future__ import annotations

from pathlib import Path

COMPARED = "bce"  # always trained too, so that the report shows what the chosen loss gains
WITHOUT_LABEL_NAMES = "without_label_names"


def losses(folder: Path) -> list[Path]:
    """The folders of the losses, by name."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in folders if path.name != WITHOUT_LABEL_NAMES]


def without_label_names(folder: Path) -> Path | None:
    """The folder of the model that was not told the labels' names; None if it was not trained."""
    found = folder / WITHOUT_LABEL_NAMES
    return found if found.is_dir() else None
