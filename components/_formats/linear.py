"""Reads and writes the linear baseline, a folder with `linear.npz` and `terms.json`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from components._frame.files import written
from longtail.models.linear import LinearModel


def write_linear(path: Path, labels: list[str], model: LinearModel) -> None:
    """Write the folder `path`; the same model always gives the same bytes."""
    with written(path) as folder:
        folder.mkdir()
        names = {"terms": model.terms, "labels": labels}
        (folder / "terms.json").write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
        np.savez(folder / "linear.npz", idf=model.idf, coef=model.coef, intercept=model.intercept)


def read_linear(path: Path) -> LinearModel:
    """The model in the folder `path`; no pickle is ever read."""
    names = json.loads((path / "terms.json").read_text(encoding="utf-8"))
    with np.load(path / "linear.npz", allow_pickle=False) as arrays:
        return LinearModel(names["terms"], arrays["idf"], arrays["coef"], arrays["intercept"])
