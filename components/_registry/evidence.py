"""Reads the workspace's results, and keeps with every version what it takes to judge it later.

That evidence is two artifacts of the run: the hashed ids of the documents that the model has seen
(train, and val, which chose its epochs and thresholds), so that they can be left out of a later
test set; and a sample of test documents with the scores that the pipeline computed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from components._formats.corpus import read_corpus
from components._formats.json_file import read_json
from components._formats.scores import Scores, read_scores
from components._registry.client import mlflow  # after the settings that it reads on import
from components._registry.smoke import TOLERANCE, Sample
from longtail.errors import DataError
from longtail.models.blending import blend

CORPUS = Path("artifacts/validate/corpus.parquet")
ASSIGNMENT = Path("artifacts/split/assignment.parquet")
FREQUENCIES = Path("artifacts/frequencies/frequencies.json")
MODEL = Path("artifacts/train/model")
TEST_SCORES = Path("artifacts/train/test")
BASELINE = Path("artifacts/baseline/model")
BASELINE_TEST_SCORES = Path("artifacts/baseline/test")
THRESHOLDS = Path("artifacts/thresholds/thresholds.json")
SUMMARY = Path("reports/train/summary.json")
REGISTERED = Path("reports/registered.json")
SEEN_FILE, SAMPLE_FILE = "evidence/seen_ids.txt", "evidence/sample.json"


class IncomparableError(Exception):
    """A version cannot be compared, because it is unknown what it was trained on."""


def test_scores() -> tuple[Scores, Scores]:
    """Test scores of the registered model (blended as it is served) and of the baseline."""
    for path in (TEST_SCORES, BASELINE_TEST_SCORES):
        if not path.exists():
            raise DataError(f"{path} does not exist; run `dvc repro` first.")
    model, baseline = read_scores(TEST_SCORES), read_scores(BASELINE_TEST_SCORES)
    if (model.ids, model.labels) != (baseline.ids, baseline.labels):
        raise DataError(
            "The test scores of model and baseline have different ids or labels; run `dvc repro`."
        )
    weight = read_json(THRESHOLDS)["models"]["model"]["blend_weight"]
    mixed = blend(model.scores, baseline.scores, weight)
    return Scores(model.ids, model.labels, mixed, model.targets), baseline


def hashed(identifier: str) -> str:
    """16 hexadecimal digits of an id's SHA-256: enough to recognize it, not to read it."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:16]


def seen_ids(assignment: pd.DataFrame) -> str:
    """The hashed ids of train and val, one per line, sorted."""
    seen = assignment.loc[assignment["split"].isin(["train", "val"]), "id"]
    return "".join(f"{line}\n" for line in sorted(map(hashed, seen)))


def digest(text: str) -> str:
    """The SHA-256 of a text artifact, as in the version's tag."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_seen_ids(run_id: str, expected_digest: str) -> set[str]:
    """The hashed ids that the model has seen; IncomparableError if the artifact was changed."""
    text = mlflow.artifacts.load_text(f"runs:/{run_id}/{SEEN_FILE}")
    if digest(text) != expected_digest:
        raise IncomparableError(
            f"run {run_id}: {SEEN_FILE} does not match the version's tag train_ids_digest, so the "
            "artifact was changed. Roll back to another version, or run "
            "`longtail promote decide --rebase`."
        )
    return set(text.split())


def make_sample(scores: Scores, size: int) -> Sample:
    """Choose `size` test documents by their hashed ids, with the scores of the pipeline."""
    rows = sorted(range(len(scores.ids)), key=lambda row: hashed(scores.ids[row]))[:size]
    texts = texts_of([scores.ids[row] for row in rows])
    found = np.asarray(scores.scores[sorted(rows)], dtype=np.float64)
    order = {row: i for i, row in enumerate(sorted(rows))}
    tolerance = max(TOLERANCE, float(np.finfo(scores.scores.dtype).eps))
    return Sample(texts, scores.labels, [found[order[row]].tolist() for row in rows], tolerance)


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
    return Sample(**json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/{SAMPLE_FILE}")))
