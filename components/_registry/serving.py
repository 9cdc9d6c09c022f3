"""The registered model as MLflow loads it: texts in, labels with scores out, thresholds applied.

MLflow runs this file when it loads a version (models from code), so nothing is unpickled. The
modules that it imports are packed with the version, so the project's source is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel

from components._formats.linear import read_linear
from longtail.models.blending import blend


class LongtailModel(PythonModel):
    """Classifier, optional linear baseline (blended in), and one threshold per label."""

    def load_context(self, context: Any) -> None:
        """Load the version's own files; `context.artifacts` maps their names to local paths."""
        paths: Mapping[str, str] = context.artifacts
        table = json.loads(Path(paths["thresholds"]).read_text(encoding="utf-8"))
        self.classifier = _classifier(Path(paths["model"]))
        self.labels = self.classifier.labels
        if table["labels"] != self.labels:
            raise ValueError("thresholds.json and the model have different labels; register again.")
        served = table["models"]["model"]
        self.thresholds = np.asarray(served["thresholds"], dtype=np.float64)
        self.blend_weight = float(served["blend_weight"])
        self.baseline = read_linear(Path(paths["baseline"])) if self.blend_weight else None

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Scores float32 `(n_docs, n_labels)` in [0, 1], blended if the version has a baseline."""
        scores = self.classifier.scores(texts)
        if self.baseline is None:
            return scores
        return blend(scores, self.baseline.scores(texts), self.blend_weight)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict the labels of texts.

        Args:
            context: unused, part of MLflow's interface.
            model_input: frame with a column `text`.
            params: `threshold` replaces every label's own threshold; `top_k` keeps the best k.

        Returns:
            Frame with `labels` and `scores`, one row per text, lists in descending order of score.
        """
        texts = _texts(model_input)
        limits, top_k = self._limits(params or {})
        scores = self.scores(texts)
        rows = [_chosen(row, limits, top_k) for row in scores]
        return pd.DataFrame(
            {
                "labels": [[self.labels[i] for i in row] for row in rows],
                "scores": [[float(scores[k, i]) for i in row] for k, row in enumerate(rows)],
            }
        )

    def _limits(self, params: Mapping[str, Any]) -> tuple[np.ndarray, int]:
        threshold, top_k = params.get("threshold"), params.get("top_k")
        if threshold is not None and not 0 <= threshold <= 1:
            raise _refused(f"params.threshold must be between 0 and 1, got {threshold}.")
        if top_k is not None and top_k < 1:
            raise _refused(f"params.top_k must be at least 1, got {top_k}.")
        limits = self.thresholds if threshold is None else np.full(len(self.labels), threshold)
        return limits, len(self.labels) if top_k is None else int(top_k)


def _classifier(folder: Path) -> Any:
    """The model, loaded by PyTorch or ONNX Runtime; the other one need not be installed."""
    if (folder / "model.onnx").exists():
        from longtail.models import onnx_classifier

        return onnx_classifier.load(folder)
    from longtail.models import classifier

    return classifier.load(folder)


def _chosen(scores: np.ndarray, limits: np.ndarray, top_k: int) -> np.ndarray:
    """Columns at or above their limit, best first, at most `top_k`; ties by label order."""
    columns = np.flatnonzero(scores >= limits)
    return columns[np.argsort(-scores[columns], kind="stable")][:top_k]


def _texts(model_input: Any) -> list[str]:
    if not isinstance(model_input, pd.DataFrame) or "text" not in model_input.columns:
        raise _refused("The input must have a column 'text' with one text per row.")
    texts = model_input["text"].tolist()
    for row, text in enumerate(texts, 1):
        if not isinstance(text, str):
            got = "missing" if pd.api.types.is_scalar(text) and pd.isna(text) else repr(text)
            raise _refused(f"Row {row}: 'text' is {got}, expected a string.")
    return texts


def _refused(message: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(message)


mlflow.models.set_model(LongtailModel())
