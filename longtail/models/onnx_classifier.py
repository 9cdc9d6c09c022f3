"""Runs the exported classifier with ONNX Runtime, without PyTorch or transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from joblib import cpu_count  # what a container allows
from scipy.special import expit
from tokenizers import Tokenizer

from longtail.models.batching import token_budget_batches
from longtail.models.beginning import enough

FILE, TOKENIZER = "model.onnx", "tokenizer.json"
SCORES, LOGITS = "scores", "logits"  # what the graph gives
BATCH_TOKENS = 320  # 512 and 1,024 take longer (docs/benchmarks/serving.md)


class OnnxClassifier:
    """Texts in, scores out, like `longtail.models.classifier.Classifier`.

    Args:
        session: the graph.
        tokenizer: truncates.
        beginning: the part of a text that is tokenized, see `longtail.models.beginning`.
        labels: in column order.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        tokenizer: Tokenizer,
        beginning: Callable[[str], str],
        labels: list[str],
    ) -> None:
        self.session, self.tokenizer, self.labels = session, tokenizer, labels
        self.beginning = beginning

    def scores(self, texts: Sequence[str], *, n_jobs: int | None = None) -> np.ndarray:
        """Scores σ(z) `(n_docs, n_labels)` float32 of `texts`, in their order.

        Args:
            texts: the documents.
            n_jobs: threads that compute a batch each, which changes no score; None: one per core.
        """
        cut = [self.beginning(text) for text in texts]
        ids = [encoded.ids for encoded in self.tokenizer.encode_batch(cut)]
        lengths = np.array([len(row) for row in ids])
        batches = token_budget_batches(lengths, BATCH_TOKENS)

        def scored(rows: np.ndarray) -> np.ndarray:
            mask = np.arange(lengths[rows].max()) < lengths[rows, None]
            padded = np.zeros(mask.shape, dtype=np.int64)
            padded[mask] = np.concatenate([ids[row] for row in rows])
            batch = {"input_ids": padded, "attention_mask": mask.astype(np.int64)}
            return expit(self.session.run([LOGITS], batch)[0])

        out = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        with ThreadPoolExecutor(n_jobs or cpu_count()) as pool:
            for rows, found in zip(batches, pool.map(scored, batches), strict=True):
                out[rows] = found
        return out


def load(folder: Path) -> OnnxClassifier:
    """The classifier that `longtail.models.onnx_export.export` wrote to `folder`."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    by_column = {int(column): name for column, name in config["id2label"].items()}
    tokenizer, whole = (Tokenizer.from_file(str(folder / TOKENIZER)) for _ in range(2))
    from_the_left = (tokenizer.truncation or {}).get("direction") == "left"
    whole.no_truncation()

    def words(part: str) -> list[int | None]:
        return whole.encode(part, add_special_tokens=False).word_ids

    def beginning(text: str) -> str:
        return text if from_the_left else enough(words, text, config["max_length"])

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a batch per thread is faster than threads that share one
    session = onnxruntime.InferenceSession(
        folder / FILE, options, providers=["CPUExecutionProvider"]
    )
    labels = [by_column[i] for i in range(len(by_column))]
    return OnnxClassifier(session, tokenizer, beginning, labels)
