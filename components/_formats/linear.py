"""Reads and writes the linear baseline: a folder with `linear.npz`, `coef.npz`, and `terms.json`.

`coef.npz` has coefficients that are sparse, as of very many labels; else they are in `linear.npz`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from components._frame.files import written
from longtail.models.linear import LinearModel


def write_linear(path: Path, labels: list[str], model: LinearModel) -> None:
    """Write the folder `path`; the same model always gives the same bytes."""
    with written(path) as folder:
        folder.mkdir()
        names = {"terms": model.terms, "labels": labels}
        (folder / "terms.json").write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
        idf, coef, intercept = model.idf, model.coef, model.intercept
        if isinstance(coef, sp.csr_matrix):
            sp.save_npz(folder / "coef.npz", coef, compressed=False)
            np.savez(folder / "linear.npz", idf=idf, intercept=intercept)
        else:
            np.savez(folder / "linear.npz", idf=idf, coef=coef, intercept=intercept)


def read_linear(path: Path) -> LinearModel:
    """The model in the folder `path`; no pickle is ever read."""
    names = json.loads((path / "terms.json").read_text(encoding="utf-8"))
    with np.load(path / "linear.npz", allow_pickle=False) as arrays:
        coef = arrays["coef"] if "coef" in arrays else sp.load_npz(path / "coef.npz")
        return LinearModel(names["terms"], arrays["idf"], coef, arrays["intercept"])
