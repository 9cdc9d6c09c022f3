"""Assign each document to train, val or test; groups and copies of a text stay together."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from pydantic import Field, field_validator, model_validator

from components._formats.assignment import write_assignment
from components._formats.corpus import FOLD, read_corpus
from components._formats.json_file import write_json
from components._frame.component import Input, Output, main
from components._frame.params import Section, Seed
from components._frame.scratch import share_compiled
from longtail import label_matrix
from longtail.errors import DataError
from longtail.splitting import iterative as splitting
from longtail.splitting.atoms import Copies, atoms
from longtail.splitting.folds import MOST, cross_folds
from longtail.splitting.quality import quality
from longtail.splitting.refresh import refresh
from longtail.splitting.rounds import NONE
from longtail.validation.duplicates import duplicate_groups, near_duplicate_pairs, text_keys

# The reference needs a dense matrix and goes through all label pairs of each document in Python;
# above these sizes it takes more time than it is worth.
REFERENCE_BYTES, REFERENCE_PAIRS = 64 << 20, 1_000_000
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
    seed: Seed = Field(description="breaks ties by a hash of (seed, id)")
    near_copies: bool = Field(description="whether near-copies of a text stay together, too")
    near_similarity: float = Field(
        ge=0.5, le=1, description="Jaccard index of word triples of near-copies, 0.5 to 1"
    )
    refresh: float = Field(
        ge=0, le=1, description="share of test that retires when documents arrive, 0 to 1"
    )
    folds: int = Field(
        ge=0, le=MOST, description="of train and val, for cross-fitting; 0: choose on val alone"
    )

    @field_validator("folds")
    @classmethod
    def _several(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("one fold leaves nothing to learn from; use 0, or 2 to 20")
        return folds


def run(*, corpus: Input, assignment: Output, split_report: Output, params: Params) -> str:
    share_compiled()
    frame = read_corpus(corpus)
    labels = label_matrix.vocabulary(frame["labels"])
    targets = label_matrix.encode(frame["labels"].tolist(), labels)
    ids = frame["id"].tolist()
    similarity = params.near_similarity if params.near_copies else None
    copies = find_copies(ids, frame["text"].tolist(), similarity)
    groups = frame["group"].tolist() if "group" in frame else None
    together = atoms(ids, groups, copies)
    shares = list(params.fractions.model_dump().values())
    refreshed = refresh(
        targets,
        shares,
        frozen_parts(frame),
        groups=together,
        dates=dates(frame),
        share=params.refresh,
        seed=params.seed,
    )
    fixed, shares = val_from_train(refreshed.fixed, shares, together)
    parts = _assign(ids, targets, together, fixed, shares, params)
    _check_no_part_is_empty(parts, frozen_parts(frame), together)
    folds = cross_folds(
        targets,
        parts != TEST,
        params.folds,
        ids=ids,
        groups=together,
        fixed=_given_folds(frame),
        seed=params.seed,
    )
    report = {
        "method": params.method,
        "frozen": int((fixed >= 0).sum() - refreshed.drawn.sum()),
        "retired": int(refreshed.retired.sum()),
        "drawn": int(refreshed.drawn.sum()),
        "folds": np.bincount(folds[folds >= 0]).tolist(),
        "labels": labels,
        "quality": quality(targets, parts, shares, groups=together, copies=copies, fixed=fixed),
        "reference": _reference(ids, targets, shares, together, copies, fixed, params.seed),
    }
    splits = [splitting.SPLITS[part] for part in parts]
    retired = refreshed.retired.tolist()
    write_assignment(assignment, ids, splits, together, retired, folds.tolist())
    write_json(report, split_report, indent=1)
    return _found(parts, report, params.folds)


def _given_folds(frame: pd.DataFrame) -> np.ndarray:
    """The fold `(n_docs,)` that each document was given before, −1 for the others."""
    if FOLD not in frame:
        return np.full(len(frame), NONE, dtype=np.int8)
    return frame[FOLD].fillna(NONE).to_numpy(dtype=np.int8)


def _found(parts: np.ndarray, report: dict[str, Any], n_folds: int) -> str:
    sizes = np.bincount(parts, minlength=len(splitting.SPLITS))
    named = ", ".join(f"{n:,} {name}" for name, n in zip(splitting.SPLITS, sizes, strict=True))
    missing = sum(len(labels) for labels in report["quality"]["missing"].values())
    retired = f", {report['retired']:,} retired from test" if report["retired"] else ""
    across = "".join(
        f"; {kind} copies in another part: "
        + ", ".join(f"{n:,} of {name}" for name, n in number.items() if n)
        for kind, number in report["quality"]["copies_across"].items()
        if any(number.values())
    )
    few = "; too few documents for folds: everything is chosen on val alone"
    return (
        f"{named} ({report['frozen']:,} frozen{retired}); {missing:,} labels missing from a part"
        f"{across}{few if n_folds and not report['folds'] else ''}"
    )


def _check_no_part_is_empty(parts: np.ndarray, frozen: np.ndarray, together: list[str]) -> None:
    """Say which part is empty, why, and what to do; `frozen` as the column `split` has them."""
    sizes = np.bincount(parts, minlength=len(splitting.SPLITS))
    empty = " and ".join(name for name, n in zip(splitting.SPLITS, sizes, strict=True) if not n)
    if not empty:
        return
    n_docs, n_free = len(parts), int((frozen < 0).sum())
    n_groups = len({name for name, part in zip(together, frozen, strict=True) if part < 0})
    groups = (
        f"form only {n_groups:,} group{'s' * (n_groups != 1)}, since those with one value of "
        "`group`, and copies of a text, stay together"
    )
    if not n_free:
        why = f"the column `split` freezes all {n_docs:,} documents, and none of them as {empty}"
        do = "Set `split` to null for some documents, or add documents without it"
    elif n_free < n_docs:
        why = f"{n_docs - n_free:,} of {n_docs:,} documents are frozen, and the others {groups}"
        do = "Add documents, set `split` to null for some, or make the groups smaller"
    elif n_groups < n_docs:
        why = f"the {n_docs:,} documents {groups}"
        do = "Add documents, or make the groups smaller"
    else:
        why = f"there are too few of them ({n_docs:,})"
        do = "Add documents"
    raise DataError(f"{empty} would have no documents: {why}. {do}; each part needs one or more.")


def find_copies(ids: list[str], texts: list[str], similarity: float | None) -> Copies:
    """The exact copies, and near-copies unless `similarity` is None, compared as by `validate`."""
    order = sorted(range(len(ids)), key=ids.__getitem__)  # which pairs are compared depends on it
    keys = text_keys([texts[row] for row in order])
    exact = np.empty(len(ids), dtype=np.int64)
    exact[order] = duplicate_groups(keys)
    if similarity is None:
        return Copies(exact, None)
    return Copies(exact, np.array(order, dtype=np.int64)[near_duplicate_pairs(keys, similarity)])


def dates(frame: pd.DataFrame) -> np.ndarray:
    """When each document was annotated, `(n_docs,)` float, NaN where that is unknown."""
    if "annotated_at" not in frame:
        return np.full(len(frame), np.nan)
    moments = frame["annotated_at"].to_numpy(dtype="datetime64[us]")
    return np.where(np.isnat(moments), np.nan, moments.astype(np.int64))


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
            f"Document {frame['id'][row]!r:.80}: split is {unknown[row]!r:.80}, expected train, "
            "val, test or nothing; fix the source and ingest it again."
        )
    return frame["split"].map(known).fillna(-1).to_numpy(dtype=np.int8)


def val_from_train(
    fixed: np.ndarray, shares: list[float], together: list[str]
) -> tuple[np.ndarray, list[float]]:
    """Free train if every row is frozen and none is in val, as in corpora published in two parts.

    Test keeps its rows and gets no others; train and val share the rest by their fractions. Rows of
    train that belong together with a row of test stay in train.

    Args:
        fixed: part codes `(n_docs,)` of frozen rows, -1 for the others.
        shares: of train, val and test; they sum to 1.
        together: atom of each document.

    Returns:
        `fixed` and `shares`, changed if necessary.
    """
    if not len(fixed) or (fixed < 0).any() or (fixed == VAL).any():
        return fixed, shares
    print("Every document is frozen and none is in val: val will be taken from train.")
    in_test = set(np.array(together, dtype=object)[fixed == TEST])
    stays = np.array([name in in_test for name in together], dtype=bool)
    test = float((fixed == TEST).mean())
    rest = (1 - test) / (shares[0] + shares[1])
    return np.where(stays, fixed, -1).astype(np.int8), [
        shares[0] * rest,
        shares[1] * rest,
        test,
    ]


def _assign(
    ids: list[str],
    targets: sp.csr_matrix,
    together: list[str],
    fixed: np.ndarray,
    shares: list[float],
    params: Params,
) -> np.ndarray:
    if params.method == "iterative":
        return splitting.iterative_split(
            targets,
            shares,
            ids=ids,
            groups=together,
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
    ids: list[str],
    targets: sp.csr_matrix,
    shares: list[float],
    together: list[str],
    copies: Copies,
    fixed: np.ndarray,
    seed: int,
) -> dict[str, Any]:
    """The quality of scikit-multilearn's split of all rows, or why it was skipped."""
    if n_frozen := int((fixed >= 0).sum()):
        why = f"{n_frozen:,} of {len(ids):,} documents keep their part, and it would split all anew"
        return {"method": "scikit_multilearn", "skipped": why}
    try:
        parts = splitting.scikit_multilearn_split(
            targets,
            shares,
            ids=ids,
            seed=seed,
            max_bytes=REFERENCE_BYTES,
            max_pairs=REFERENCE_PAIRS,
        )
    except ValueError as error:
        return {"method": "scikit_multilearn", "skipped": str(error)}
    found = quality(targets, parts, shares, groups=together, copies=copies)
    return {"method": "scikit_multilearn", **found}


if __name__ == "__main__":
    main(run)
