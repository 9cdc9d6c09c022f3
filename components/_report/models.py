"""Reads every model's test scores as they would be served: blended, with their thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from components._formats import comparison as comparisons
from components._formats.scores import Scores, read_scores
from longtail.errors import DataError
from longtail.evaluation.score_blocks import block_height, parts_of, release
from longtail.evaluation.sparse_scores import ScoreMatrix, SparseScores, stacked
from longtail.models.blending import blend
from longtail.report.evidence import Lacking, Scored

SMALL = 256 * 2**20  # bytes; a larger score matrix is not kept in memory
SVM = "SVM"


class Compared(NamedTuple):
    """The model's scores before blending, and what it is compared with."""

    own: Scores
    models: list[Scored]  # the model first
    without: dict[str, Lacking | None]  # ingredient -> the model that lacks it


class Source(NamedTuple):
    """Scores before blending, and what readers see before and after `+ SVM`."""

    scores: Scores
    title: str
    note: str = ""


@contextmanager
def read_models(
    test_scores: Path,
    baseline_test_scores: Path,
    comparison: Path,
    thresholds: dict[str, Any],
    loss: str,
) -> Iterator[Compared]:
    """Read the scores of every model.

    Args:
        test_scores: folder of the model's scores.
        baseline_test_scores: folder of the baseline's scores.
        comparison: folder with a folder of scores per loss.
        thresholds: content of thresholds.json.
        loss: name of the model's loss.

    Yields:
        The models. Blended matrices too large for memory are kept in temporary files while in use.
    """
    own = read_scores(test_scores)
    sources = {
        "model": Source(own, _title(loss)),
        "baseline": Source(_same(baseline_test_scores, test_scores, own), SVM),
    }
    for folder in comparisons.losses(comparison):
        if folder.name != loss:  # that one is the model
            scores = _same(folder / "test", test_scores, own)
            sources[folder.name] = Source(scores, _title(folder.name))
    shown = list(sources)
    nameless = comparisons.without_label_names(comparison)
    if nameless is not None:
        scores = _same(nameless / "test", test_scores, own)
        sources[nameless.name] = Source(scores, _title(loss), " without label names")
    sources["without_blend"] = Source(own, f"{_title(loss)} alone")
    sources["without_thresholds"] = Source(own, _title(loss), " at 0.5")
    with TemporaryDirectory(prefix="longtail-report-") as scratch:
        served = _Served(sources, thresholds, Path(scratch))
        without = thresholds["without"].items()
        yield Compared(
            own,
            [served.scored(name) for name in shown],
            {lost: None if name is None else served.lacking(name) for lost, name in without},
        )


def _title(loss: str) -> str:
    return loss.upper().replace("_", "-")


def _same(path: Path, test_scores: Path, own: Scores) -> Scores:
    """The scores in `path`, which must be of the same documents and labels as the model's."""
    other = read_scores(path)
    if (other.ids, other.labels) != (own.ids, own.labels):
        raise DataError(
            f"{path}: documents or labels differ from those of {test_scores}; run `dvc repro`."
        )
    return other


@dataclass(frozen=True)
class _Served:
    """Blends a model's scores with its own weight, and cuts them at its own thresholds."""

    sources: dict[str, Source]  # by their names in thresholds.json
    thresholds: dict[str, Any]
    folder: Path

    def scored(self, name: str) -> Scored:
        """The model `name` with its scores."""
        title, weight, limits = self._facts(name)
        return Scored(name, title, self._blended(name, weight), limits, weight)

    def lacking(self, name: str) -> Lacking:
        """The model `name`, whose scores are made in blocks."""
        title, weight, limits = self._facts(name)
        return Lacking(
            title, lambda: (block for _, block in self._blocks(name, weight)), limits, weight
        )

    def _facts(self, name: str) -> tuple[str, float, np.ndarray]:
        """Title, weight of the baseline, thresholds."""
        source, entry = self.sources[name], self.thresholds["models"].get(name)
        if entry is None or self.thresholds["labels"] != source.scores.labels:
            raise DataError(
                f"thresholds.json has no thresholds of {name!r} for the "
                f"{len(source.scores.labels)} labels of the scores; run `dvc repro thresholds`."
            )
        weight = float(entry["blend_weight"])
        title = source.title + (f" + {SVM}" if weight else "") + source.note
        return title, weight, np.asarray(entry["thresholds"], dtype=np.float64)

    def _blocks(self, name: str, weight: float) -> Iterator[tuple[slice, ScoreMatrix]]:
        own, other = (self.sources[side].scores.scores for side in (name, "baseline"))
        height = block_height(own.shape[1])
        pairs = zip(parts_of(own, height), parts_of(other, height), strict=True)
        for (start, part), (_, baseline) in pairs:
            yield slice(start, start + part.shape[0]), blend(part, baseline, weight)
            release(own)
            release(other)

    def _blended(self, name: str, weight: float) -> ScoreMatrix:
        scores = self.sources[name].scores.scores
        if not weight:
            return scores
        if isinstance(scores, SparseScores):
            return stacked([block for _, block in self._blocks(name, weight)])
        if 4 * scores.size <= SMALL:
            return blend(scores, self.sources["baseline"].scores.scores, weight)
        path = self.folder / f"{name}.npy"
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=scores.shape)
        for rows, block in self._blocks(name, weight):
            out[rows] = block
            out.flush()
        del out
        return np.load(path, mmap_mode="r", allow_pickle=False)
