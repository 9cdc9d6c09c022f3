"""Reads the inputs of `report`, and refuses those that do not belong together."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components._formats import suspects_file
from components._formats.assignment import read_assignment, read_folds, read_groups
from components._formats.corpus import read_corpus
from components._formats.curve_file import read_curve
from components._formats.scores import read_scores
from components._report.models import Compared
from longtail.errors import DataError
from longtail.evaluation.metrics import apply_thresholds
from longtail.report.annotation import Curve, HeldOut
from longtail.report.evidence import Evidence


def read_rows(path: Path) -> dict[str, Any]:
    """A CSV file as `columns` and `rows`, numbers parsed."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.reader(file) if line]
    if not lines:
        return {"columns": [], "rows": []}
    return {"columns": lines[0], "rows": [[_number(cell) for cell in line] for line in lines[1:]]}


def read_suspects(path: Path, limit: int) -> dict[str, Any]:
    """The suspected labels as `rows`, at most `limit`, as many of each kind, and `total`."""
    found = suspects_file.read_suspects(path)
    most = limit // max(len({suspect.kind for suspect in found}), 1)
    seen: Counter[str] = Counter()
    rows = []
    for suspect in found:
        seen[suspect.kind] += 1
        if seen[suspect.kind] <= most:
            shown = {"rank": str(seen[suspect.kind]), "score": f"{suspect.score:.4f}"}
            rows.append(asdict(suspect) | shown)
    return {"rows": rows, "total": len(found)}


def _number(cell: str) -> Any:
    try:
        value = float(cell)
    except ValueError:
        return cell
    if not np.isfinite(value):
        return None
    return int(value) if value.is_integer() and "." not in cell and "e" not in cell else value


def read_evidence(
    corpus: Path, assignment: Path, frequencies: dict[str, Any], compared: Compared
) -> Evidence:
    """Join the corpus with the scores; DataError if their documents or labels differ."""
    own = compared.own
    frame, parts = read_corpus(corpus), read_assignment(assignment)
    indexed = frame.set_index("id", drop=False)
    unexpected = sorted(set(own.ids) ^ set(parts.index[parts == "test"]))
    unknown = sorted(set(own.ids) - set(indexed.index))
    if unexpected or unknown:
        raise DataError(
            f"The test scores and the test part of {assignment} differ, for example in "
            f"{(unexpected or unknown)[0]!r}; run `dvc repro`."
        )
    if frequencies["labels"] != own.labels:
        raise DataError("frequencies.json and the test scores differ in labels; run `dvc repro`.")
    learned = ["train", "val"] if (read_folds(assignment) >= 0).any() else ["train"]
    train = frame[frame["id"].map(parts).isin(learned)].reset_index(drop=True)
    return Evidence(
        labels=own.labels,
        class_freq=np.asarray(frequencies["class_freq"]),
        val_freq=np.asarray(frequencies["val_freq"]),
        test_freq=np.asarray(frequencies["test_freq"]),
        head=frequencies["head"],
        tail=frequencies["tail"],
        targets=own.targets,
        test=pd.DataFrame(indexed.loc[own.ids]).reset_index(drop=True),
        train=train,
        models=compared.models,
        without=compared.without,
        doc_groups=read_groups(assignment).loc[own.ids].tolist(),
    )


def read_held_out(
    corpus: Path, assignment: Path, val_scores: Path, thresholds: dict[str, Any]
) -> HeldOut:
    """The documents of train and val that the linear baseline was asked about, and its answers."""
    scores = read_scores(val_scores)
    frame = read_corpus(corpus).set_index("id", drop=False)
    unknown = sorted(set(scores.ids) - set(frame.index))
    if unknown or thresholds["labels"] != scores.labels:
        raise DataError(
            f"{val_scores} is of other documents or labels than {corpus} and thresholds.json"
            f"{f', such as {unknown[0]!r}' if unknown else ''}; run `dvc repro`."
        )
    limits = np.asarray(thresholds["models"]["baseline"]["thresholds"], dtype=np.float64)
    return HeldOut(
        frame=pd.DataFrame(frame.loc[scores.ids]).reset_index(drop=True),
        targets=scores.targets,
        predicted=apply_thresholds(scores.scores, limits),
        doc_groups=read_groups(assignment).loc[scores.ids].tolist(),
    )


def read_points(path: Path, held_out: HeldOut, labels: list[str]) -> Curve:
    """The learning curve's points on those of the held-out documents that they were asked about."""
    ids, points = read_curve(path, labels)
    row = {name: k for k, name in enumerate(held_out.frame["id"])}
    unexpected = [name for name in ids if name not in row]
    if unexpected:
        raise DataError(f"{path} has a document, {unexpected[0]!r}, that is not in "
                        "train or val; run `dvc repro baseline`.")  # fmt: skip
    days = [point.newest.astype("datetime64[D]") for point in points]
    return Curve(
        n_learned=[point.n_learned for point in points],
        newest=[None if np.isnat(day) else str(day) for day in days],
        rows=np.array([row[name] for name in ids], dtype=np.int64),
        predicted=[point.predicted for point in points],
    )


def file_hashes(paths: dict[str, Path]) -> dict[str, str]:
    """The SHA-256 of each file for the lineage, 16 hexadecimal digits."""
    found = {}
    for name, path in paths.items():
        with path.open("rb") as handle:
            found[name] = "sha256 " + hashlib.file_digest(handle, "sha256").hexdigest()[:16]
    return found
