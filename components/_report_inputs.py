"""Reads the inputs of `report`, and refuses those that do not belong together."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from components._formats.assignment import read_assignment
from components._formats.corpus import read_corpus
from components._formats.scores import Scores, read_scores
from longtail.errors import DataError
from longtail.evaluation.score_blocks import row_blocks
from longtail.models.blending import blend
from longtail.report.evidence import Evidence, Scored
from longtail.spreadsheet import original

SMALL = 256 * 2**20  # bytes; a larger score matrix is not kept in memory


def read_rows(path: Path) -> dict[str, Any]:
    """A CSV file as `columns` and `rows`, numbers parsed."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.reader(file) if line]
    if not lines:
        return {"columns": [], "rows": []}
    return {"columns": lines[0], "rows": [[_number(cell) for cell in line] for line in lines[1:]]}


def read_suspects(path: Path, limit: int) -> dict[str, Any]:
    """The suspected label errors as `rows`, at most `limit` // 2 of each kind, and `total`.

    The guards against spreadsheet formulas are removed, since cells are only shown here.
    """
    with path.open(newline="", encoding="utf-8") as file:
        found = [
            row | {k: original(row[k]) for k in ("id", "label", "text")}
            for row in csv.DictReader(file)
        ]
    seen: Counter[str] = Counter()
    rows = []
    for row in found:
        seen[row["kind"]] += 1
        if seen[row["kind"]] <= limit // 2:
            rows.append(row)
    return {"rows": rows, "total": len(found)}


def _number(cell: str) -> Any:
    try:
        value = float(cell)
    except ValueError:
        return cell
    if not np.isfinite(value):
        return None
    return int(value) if value.is_integer() and "." not in cell and "e" not in cell else value


@contextmanager
def read_models(
    test_scores: Path,
    baseline_test_scores: Path,
    comparison: Path,
    thresholds: dict[str, Any],
    loss: str,
) -> Iterator[tuple[Scores, list[Scored]]]:
    """Read the scores of the model (blended as it is served), the baseline, and the other losses.

    Args:
        test_scores: folder of the model's scores.
        baseline_test_scores: folder of the baseline's scores.
        comparison: folder with a folder of scores per loss.
        thresholds: content of thresholds.json.
        loss: name of the model's loss.

    Yields:
        The model's scores before blending, and every model with its thresholds. A blended matrix
        too large for memory is kept in a temporary file while in use.
    """
    own, baseline = read_scores(test_scores), read_scores(baseline_test_scores)
    found = {"baseline": (baseline_test_scores, baseline)}
    for folder in sorted(path for path in comparison.iterdir() if path.is_dir()):
        found[folder.name] = (folder / "test", read_scores(folder / "test"))
    for path, other in found.values():
        if (other.ids, other.labels) != (own.ids, own.labels):
            raise DataError(
                f"{path}: documents or labels differ from those of {test_scores}; run `dvc repro`."
            )
    weight = float(thresholds.get("blend_weight", 0.0))
    titles = {"baseline": "SVM"} | {name: name.upper() for name in found if name != "baseline"}
    with TemporaryDirectory(prefix="longtail-report-") as scratch:
        scores = _blended(own, baseline, weight, Path(scratch)) if weight else own.scores
        title = loss.upper() + (" + SVM" if weight else "")
        models = [_scored("model", title, scores, own, thresholds)]
        models += [
            _scored(name, titles[name], other.scores, own, thresholds)
            for name, (_, other) in found.items()
        ]
        yield own, models


def _blended(model: Scores, baseline: Scores, weight: float, folder: Path) -> np.ndarray:
    shape = model.scores.shape
    if 4 * shape[0] * shape[1] <= SMALL:
        return blend(model.scores, baseline.scores, weight)
    path = folder / "blended.npy"
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for start, block in row_blocks(model.scores):
        rows = slice(start, start + len(block))
        out[rows] = blend(block, np.asarray(baseline.scores[rows]), weight)
        out.flush()
    del out
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _scored(
    name: str, title: str, scores: np.ndarray, own: Scores, thresholds: dict[str, Any]
) -> Scored:
    entry = thresholds["models"].get(name)
    if entry is None or thresholds["labels"] != own.labels:
        raise DataError(
            f"thresholds.json has no thresholds of {name!r} for the {len(own.labels)} labels of "
            "the scores; run `dvc repro thresholds`."
        )
    return Scored(name, title, scores, np.asarray(entry["thresholds"], dtype=np.float64))


def read_evidence(
    corpus: Path, assignment: Path, frequencies: dict[str, Any], own: Scores, models: list[Scored]
) -> Evidence:
    """Join the corpus with the scores; DataError if their documents or labels differ."""
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
    train = frame[frame["id"].map(parts) == "train"].reset_index(drop=True)
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
        models=models,
    )


def file_hashes(paths: dict[str, Path]) -> dict[str, str]:
    """The SHA-256 of each file for the lineage, 16 hexadecimal digits."""
    found = {}
    for name, path in paths.items():
        with path.open("rb") as handle:
            found[name] = "sha256 " + hashlib.file_digest(handle, "sha256").hexdigest()[:16]
    return found
