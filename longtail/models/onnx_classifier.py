"""Runs the exported classifier with ONNX Runtime, without PyTorch or transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from longtail.models.batching import token_budget_batches

FILE, TOKENIZER = "model.onnx", "tokenizer.json"


class OnnxClassifier:
    """Texts in, scores out, like `longtail.models.classifier.Classifier`."""

    def __init__(
        self, session: onnxruntime.InferenceSession, tokenizer: Tokenizer, labels: list[str]
    ) -> None:
        self.session, self.tokenizer, self.labels = session, tokenizer, labels

    def scores(self, texts: Sequence[str], *, batch_tokens: int = 8192) -> np.ndarray:
        """Scores σ(z) `(n_docs, n_labels)` float32 of `texts`, in their order."""
        ids = [encoded.ids for encoded in self.tokenizer.encode_batch(list(texts))]
        lengths = np.array([len(row) for row in ids])
        out = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        for rows in token_budget_batches(lengths, batch_tokens):
            mask = np.arange(lengths[rows].max()) < lengths[rows, None]
            padded = np.zeros(mask.shape, dtype=np.int64)
            padded[mask] = np.concatenate([ids[row] for row in rows])
            batch = {"input_ids": padded, "attention_mask": mask.astype(np.int64)}
            out[rows] = self.session.run(None, batch)[0]
        return out


def load(folder: Path) -> OnnxClassifier:
    """The classifier that `longtail.models.onnx_export.export` wrote to `folder`."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    by_column = {int(column): name for column, name in config["id2label"].items()}
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(config["max_length"])
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    # Threads that wait without spinning leave the cores to other requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        folder / FILE, options, providers=["CPUExecutionProvider"]
    )
    return OnnxClassifier(session, tokenizer, [by_column[i] for i in range(len(by_column))])
