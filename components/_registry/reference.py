"""What a version keeps about its test documents, so that later ones can be compared with them.

Small numbers only: the model's best score, the number of labels that it predicts and the unit of
each test document, its micro-F1, and the calibration that turns its scores into probabilities. An
`onnx_int8` version has its own answers, but the calibration of the model that it was made from.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from components._formats.corpus import read_corpus
from components._formats.json_file import read_json
from components._formats.scores import Scores
from components._registry import evidence
from components._registry.client import mlflow
from longtail.drift import Answers
from longtail.evaluation.estimated_f1 import (
    Calibration,
    calibrate,
    estimated_f1,
    expected_counts,
)
from longtail.evaluation.metrics import apply_thresholds, compute
from longtail.evaluation.sparse_scores import top_scores
from longtail.splitting.atoms import Copies, atoms
from longtail.validation.duplicates import duplicate_groups, text_keys

FILE = f"{evidence.FOLDER}/reference.json"


@dataclass(frozen=True)
class Reference:
    """The version on its own test documents.

    Attributes:
        answers: one per test document.
        micro_f1: measured, as a fraction.
        estimated_micro_f1: estimated as if the documents had no labels; shows what to expect of
            such estimates.
        calibration: of its scores.
    """

    answers: Answers
    micro_f1: float
    estimated_micro_f1: float
    calibration: Calibration


def write(test: Scores, val: Scores) -> None:
    """Store the reference with the active run.

    Args:
        test: scores of the version as it is served.
        val: scores to calibrate by.
    """
    thresholds = np.asarray(read_json(evidence.THRESHOLDS)["models"]["model"]["thresholds"])
    predicted = apply_thresholds(test.scores, thresholds)
    calibration = calibrate(val.scores, val.targets)
    rows = read_corpus(evidence.CORPUS).set_index("id").loc[test.ids]
    found = {
        "top_scores": top_scores(test.scores).astype(float).tolist(),
        "n_predicted": np.diff(predicted.indptr).tolist(),
        "units": units_of(rows).tolist(),
        "micro_f1": compute("micro_f1", predicted, test.targets),
        "estimated_micro_f1": estimated_f1(expected_counts(test.scores, predicted, calibration)),
        "calibration": asdict(calibration),
    }
    mlflow.log_text(json.dumps(found), FILE)


def read(run_id: str) -> Reference | None:
    """The reference stored with the run; None if it was registered before one was kept."""
    text = evidence.read_text(run_id, FILE)
    if text is None:
        return None
    found = json.loads(text)
    answers = Answers(*(np.array(found[name]) for name in ("top_scores", "n_predicted", "units")))
    calibration = Calibration(**found["calibration"])
    return Reference(answers, found["micro_f1"], found["estimated_micro_f1"], calibration)


def units_of(documents: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Which documents `(n_docs,)` come together: those of a group, and exact copies."""
    keys = text_keys(documents["text"].tolist())
    groups = documents["group"].tolist() if "group" in documents else None
    copies = Copies(duplicate_groups(keys), None)
    rows = [str(row) for row in range(len(documents))]  # an id may be among the new ones again
    names = atoms(rows, groups, copies)
    return np.unique(np.array(names), return_inverse=True)[1]
