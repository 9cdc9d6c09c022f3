"""Reads the workspace's results, and keeps with every version what it takes to judge it later.

That evidence is artifacts of the run: the hashed ids of the documents that the model has seen
(train and val), so that they can be left out of a later test set; those of the whole corpus, so
that later documents are known to be new; and a sample of test documents with the scores that the
pipeline computed. `reference` adds a fourth.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from components._formats.corpus import read_corpus
from components._formats.json_file import read_json
from components._formats.scores import Scores, read_scores, scores_of
from components._frame.forgotten import digest_of
from components._registry.client import mlflow  # after the settings that it reads on import
from components._registry.smoke import TOLERANCE, Sample
from longtail.errors import DataError
from longtail.evaluation.sparse_scores import ScoreMatrix, SparseScores, taken
from longtail.models.blending import blend

CORPUS = Path("artifacts/validate/corpus.parquet")
ASSIGNMENT = Path("artifacts/split/assignment.parquet")
FREQUENCIES = Path("artifacts/frequencies/frequencies.json")
MODEL = Path("artifacts/train/model")
VAL_SCORES, TEST_SCORES = Path("artifacts/train/val"), Path("artifacts/train/test")
BASELINE = Path("artifacts/baseline/model")
BASELINE_VAL_SCORES = Path("artifacts/baseline/val")
BASELINE_TEST_SCORES = Path("artifacts/baseline/test")
THRESHOLDS = Path("artifacts/thresholds/thresholds.json")
SUMMARY = Path("reports/train/summary.json")
REGISTERED = Path("reports/registered.json")
FOLDER = "evidence"
SEEN_FILE, SAMPLE_FILE = f"{FOLDER}/seen_ids.txt", f"{FOLDER}/sample.json"
KNOWN_FILE = f"{FOLDER}/known_ids.txt"


class IncomparableError(Exception):
    """A version cannot be compared, because it is unknown what it was trained on."""


def test_scores() -> tuple[Scores, Scores]:
    """Test scores of the registered model (blended as it is served) and of the baseline."""
    model, baseline = _pair(TEST_SCORES, BASELINE_TEST_SCORES)
    return _blended(model, baseline), baseline


def val_scores() -> Scores:
    """Scores of the held-out documents by the registered model, blended as it is served."""
    return _blended(*_pair(VAL_SCORES, BASELINE_VAL_SCORES))


def _pair(own: Path, other: Path) -> tuple[Scores, Scores]:
    for path in (own, other):
        if not path.exists():
            raise DataError(f"{path} does not exist; run `dvc repro` first.")
    model = read_scores(own)
    return model, replace(model, scores=scores_of(other, model.ids, model.labels))


def _blended(model: Scores, baseline: Scores) -> Scores:
    weight = read_json(THRESHOLDS)["models"]["model"]["blend_weight"]
    return replace(model, scores=blend(model.scores, baseline.scores, weight))


def hashed(identifier: str) -> str:
    """16 hexadecimal digits of an id's SHA-256: enough to recognize it, not to read it."""
    return shortened(digest_of(identifier))


def shortened(digest: str) -> str:
    """The part of an id's SHA-256 that versions keep."""
    return digest[:16]


def seen_ids(assignment: pd.DataFrame) -> str:
    """The hashed ids of train and val, see `hashed_lines`."""
    return hashed_lines(assignment.loc[assignment["split"].isin(["train", "val"]), "id"])


def hashed_lines(ids: Iterable[str]) -> str:
    """The hashed ids, one per line, sorted."""
    return "".join(f"{line}\n" for line in sorted(map(hashed, ids)))


def digest(text: str) -> str:
    """The SHA-256 of a text artifact, as in the version's tag."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_seen_ids(run_id: str, expected_digest: str) -> set[str]:
    """The hashed ids that the model has seen; IncomparableError if the artifact was changed."""
    text = _text(run_id, SEEN_FILE)
    if digest(text) != expected_digest:
        raise IncomparableError(
            f"run {run_id}: {SEEN_FILE} does not match the version's tag train_ids_digest, so the "
            "artifact was changed. Roll back to another version, or run "
            "`longtail promote decide --rebase`."
        )
    return set(text.split())


def read_known_ids(run_id: str) -> set[str] | None:
    """The hashed ids of the version's corpus; None if it was registered before they were kept."""
    text = read_text(run_id, KNOWN_FILE)
    return None if text is None else set(text.split())


def read_text(run_id: str, file: str) -> str | None:
    """A text artifact of the run; None if the run has none of that name."""
    kept = mlflow.MlflowClient().list_artifacts(run_id, FOLDER)
    if file not in (artifact.path for artifact in kept):
        return None
    return _text(run_id, file)


def _text(run_id: str, file: str) -> str:
    """A text artifact, by its own address: behind `runs:/…`, MLflow calls every outage missing."""
    folder = mlflow.MlflowClient().get_run(run_id).info.artifact_uri
    return str(mlflow.artifacts.load_text(f"{folder}/{file}"))


def make_sample(size: int) -> Sample:
    """Choose `size` test documents by their hashed ids, with the scores of the pipeline."""
    model, baseline = _pair(TEST_SCORES, BASELINE_TEST_SCORES)
    rows = np.array(sorted(range(len(model.ids)), key=lambda row: hashed(model.ids[row]))[:size])
    texts = texts_of([model.ids[row] for row in rows])
    sides = [replace(side, scores=_known(side.scores, rows)) for side in (model, baseline)]
    mixed = _blended(*sides).scores
    assert isinstance(mixed, np.ndarray)
    tolerance = max(TOLERANCE, float(np.finfo(mixed.dtype).eps))
    scores = [list(map(_or_none, row)) for row in mixed.tolist()]
    return Sample(texts, model.labels, scores, tolerance)


def _known(scores: ScoreMatrix, rows: np.ndarray) -> np.ndarray:
    """Scores of some documents `(n_rows, n_labels)`, NaN where they were dropped."""
    some = taken(scores, rows)
    return some.dense(np.nan) if isinstance(some, SparseScores) else some


def _or_none(score: float) -> float | None:
    return None if np.isnan(score) else score


def texts_of(ids: Iterable[str]) -> list[str]:
    """The texts of the documents with these ids, in the same order."""
    corpus = read_corpus(CORPUS).set_index("id")["text"]
    try:
        return corpus.loc[list(ids)].tolist()
    except KeyError as error:
        raise DataError(f"{CORPUS} lacks test documents ({error}); run `dvc repro`.") from None


def write_sample(sample: Sample) -> None:
    """Store the sample with the active run."""
    mlflow.log_text(json.dumps(asdict(sample), ensure_ascii=False), SAMPLE_FILE)


def read_sample(run_id: str) -> Sample:
    """The sample stored with the run."""
    return Sample(**json.loads(_text(run_id, SAMPLE_FILE)))
