"""Assign each document to train, val or test: iterative stratification, groups kept together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from pydantic import Field, model_validator

from components._formats.corpus import read_corpus
from components._formats.json_file import write_json
from components._frame.component import Input, Output, main
from components._frame.files import written
from components._frame.params import Section
from longtail import label_matrix
from longtail.errors import DataError
from longtail.splitting import iterative as splitting
from longtail.splitting.quality import quality

# The reference needs a dense matrix; above this size it takes more time than it is worth.
REFERENCE_BYTES = 64 << 20
VAL, TEST = splitting.SPLITS.index("val"), splitting.SPLITS.index("test")


class Fractions(Section):
    train: float = Field(gt=0, lt=1, description="share of the documents, 0 to 1")
    val: float = Field(gt=0, lt=1, description="share of the documents, 0 to 1")
    test: float = Field(gt=0, lt=1, description="share of the documents, 0 to 1")

    @model_validator(mode="after")
    def _sum_to_one(self) -> Fractions:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + val + test must be 1, got {total:g}")
        return self


class Params(Section):
    method: Literal["iterative", "scikit_multilearn"] = Field(
        description="iterative: ours; scikit_multilearn: the published procedure"
    )
    fractions: Fractions
    order: int = Field(ge=1, le=2, description="1: by labels; 2: by label pairs first")
    seed: int = Field(ge=0, description="breaks ties by a hash of (seed, id)")


def run(*, corpus: Input, assignment: Output, split_report: Output, params: Params) -> str:
    frame = read_corpus(corpus)
    labels = label_matrix.vocabulary(frame["labels"])
    targets = label_matrix.encode(frame["labels"].tolist(), labels)
    groups = frame["group"].tolist() if "group" in frame else None
    shares = list(params.fractions.model_dump().values())
    fixed, shares = val_from_train(frozen_parts(frame), shares)
    parts = _assign(frame["id"].tolist(), targets, groups, fixed, shares, params)
    report = {
        "method": params.method,
        "frozen": int((fixed >= 0).sum()),
        "labels": labels,
        "quality": quality(targets, parts, shares, groups=groups, fixed=fixed),
        "reference": _reference(frame, targets, shares, groups, params.seed),
    }
    write_assignment(frame["id"].tolist(), parts, assignment)
    write_json(report, split_report, indent=1)
    return _found(parts, report)


def _found(parts: np.ndarray, report: dict[str, Any]) -> str:
    sizes = np.bincount(parts, minlength=len(splitting.SPLITS))
    named = ", ".join(f"{n:,} {name}" for name, n in zip(splitting.SPLITS, sizes, strict=True))
    missing = sum(len(labels) for labels in report["quality"]["missing"].values())
    return f"{named} ({report['frozen']:,} frozen); {missing:,} labels missing from a part"


def frozen_parts(frame: pd.DataFrame) -> np.ndarray:
    """Part codes `(n_docs,)` of the rows whose `split` is set, -1 for the others."""
    if "split" not in frame:
        return np.full(len(frame), -1, dtype=np.int8)
    known = {part: code for code, part in enumerate(splitting.SPLITS)}
    filled = frame["split"].dropna()
    unknown = filled[~filled.isin(known)]
    if len(unknown):
        row = unknown.index[0]
        raise DataError(
            f"Document {frame['id'][row]!r}: split is {unknown[row]!r}, expected train, val, test "
            "or nothing; fix the source and ingest it again."
        )
    return frame["split"].map(known).fillna(-1).to_numpy(dtype=np.int8)


def val_from_train(fixed: np.ndarray, shares: list[float]) -> tuple[np.ndarray, list[float]]:
    """Free train if every row is frozen and none is in val, as in corpora published in two parts.

    Test keeps its rows and gets no others; train and val share the rest by their fractions.

    Args:
        fixed: part codes `(n_docs,)` of frozen rows, -1 for the others.
        shares: of train, val and test; they sum to 1.

    Returns:
        `fixed` and `shares`, changed if necessary.
    """
    if not len(fixed) or (fixed < 0).any() or (fixed == VAL).any():
        return fixed, shares
    print("Every document is frozen and none is in val: val will be taken from train.")
    test = float((fixed == TEST).mean())
    rest = (1 - test) / (shares[0] + shares[1])
    return np.where(fixed == TEST, fixed, -1).astype(np.int8), [
        shares[0] * rest,
        shares[1] * rest,
        test,
    ]


def _assign(
    ids: list[str],
    targets: sp.csr_matrix,
    groups: list[Any] | None,
    fixed: np.ndarray,
    shares: list[float],
    params: Params,
) -> np.ndarray:
    if params.method == "iterative":
        return splitting.iterative_split(
            targets,
            shares,
            ids=ids,
            groups=groups,
            fixed=fixed,
            order=params.order,
            seed=params.seed,
        )
    # The library supports neither groups nor frozen rows: it gets the free rows, and what each part
    # still needs beyond its frozen ones.
    parts, free = fixed.copy(), np.flatnonzero(fixed < 0)
    if not len(free):
        return parts
    frozen = np.bincount(fixed[fixed >= 0], minlength=len(shares))
    wanted = np.maximum(np.array(shares) * len(fixed) - frozen, 0)
    parts[free] = splitting.scikit_multilearn_split(
        targets[free], wanted / wanted.sum(), ids=[ids[row] for row in free], seed=params.seed
    )
    return parts


def _reference(
    frame: pd.DataFrame,
    targets: sp.csr_matrix,
    shares: list[float],
    groups: list[Any] | None,
    seed: int,
) -> dict[str, Any]:
    """The quality of scikit-multilearn's split of all rows, or why it was skipped."""
    try:
        parts = splitting.scikit_multilearn_split(
            targets, shares, ids=frame["id"].tolist(), seed=seed, max_bytes=REFERENCE_BYTES
        )
    except ValueError as error:
        return {"method": "scikit_multilearn", "skipped": str(error)}
    return {"method": "scikit_multilearn", **quality(targets, parts, shares, groups=groups)}


def write_assignment(ids: list[str], parts: np.ndarray, path: Path) -> None:
    """Write the columns `id` and `split`, sorted by id."""
    order = np.argsort(np.array(ids, dtype=object), kind="stable")
    columns = {
        "id": [ids[row] for row in order],
        "split": [splitting.SPLITS[parts[row]] for row in order],
    }
    with written(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")


if __name__ == "__main__":
    main(run)
