"""A finished workspace in small: a random two-layer BERT with a fitted head, scores, thresholds.

`build(folder, …)` writes what the stages would have written; `wrong` labels are fitted to random
targets, so that a model with more of them is worse.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
import yaml
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from components._formats.corpus import FOLD, write_corpus
from components._formats.linear import write_linear
from components._formats.scores import Scores, write_scores
from components._registry.worker import Answer, ServedError
from longtail.label_matrix import encode
from longtail.models import classifier
from longtail.models.blending import blend
from longtail.models.linear import fit_svm
from longtail.splitting.rounds import make_plan
from longtail.thresholds import tune
from tests.builders.paths import ROOT

WORDS = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen"]
PARAMS = {
    "register": {
        "model_name": "longtail",
        "experiment": "longtail",
        "sample": 8,
        "runtime": "pytorch",
    },
    "scores": {"best_labels": 1000, "floor": 0.001},
    "promote": {
        "min_gain": 0.0,
        "max_micro_loss": 0.05,
        "max_loss": {"HEAD": 0.05, "TAIL": 0.1},
        "floors": {"micro_f1": 0.2, "macro_f1": 0.05},
        "over_baseline": {"micro_f1": -1.0},
        "min_shared_labels": 0.5,
        "min_sample": {"docs": 50, "positives": 50, "group_positives": 30},
        "confidence": 0.95,
        "error_budget": {"share": 0.1, "half_life": 1},
        "limits": {
            "seconds_per_doc": 5.0,
            "start_seconds": 120.0,
            "memory_mb": 4096.0,
            "size_mb": 100.0,
            "max_int8_loss": {"micro_f1": 0.02, "macro_f1": 0.02},
        },
        "approval": False,
    },
}


def corpus(n_docs: int = 400, labels: list[str] = WORDS, seed: int = 1) -> pd.DataFrame:
    """Documents of eight words; a document has the labels whose word it contains."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice([*WORDS, "the", "of", "to", "in"], 6)) for _ in range(n_docs)]
    found = [sorted(set(text.split()) & set(labels)) for text in texts]
    return pd.DataFrame({"id": [f"d{i}" for i in range(n_docs)], "text": texts, "labels": found})


def tiny_classifier(labels: list[str]) -> classifier.Classifier:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "of", "to", "in", *WORDS]
    ids = {token: i for i, token in enumerate(vocabulary)}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    torch.manual_seed(0)
    bert = BertConfig(
        vocab_size=len(vocabulary),
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        # Not BERT's 0.02: features that hardly vary would magnify rounding when standardised.
        initializer_range=0.3,
    )
    return classifier.build(
        BertModel(bert), tokenizer, labels, hidden=0, dropout=0.0, max_length=32
    )


def fit(model: classifier.Classifier, texts: list[str], targets: np.ndarray) -> None:
    """Fit the linear head to the frozen encoder's features."""
    y = torch.tensor(targets, dtype=torch.float32)
    with torch.no_grad():
        x = torch.empty(len(texts), 64)
        for rows, ids, mask in model.eval().batches(model.tokenize(texts), 4096):
            x[rows] = model.features(ids, mask)
    model.head.standardize_by(x)
    optimiser = torch.optim.Adam(model.head.parameters(), lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model.head(x), y).backward()
        optimiser.step()


def build(
    folder: Path,
    *,
    wrong: int = 0,
    labels: list[str] = WORDS,
    blend_weight: float = 0.0,
    data_seed: int = 1,
    shift: int = 0,
    sparse: bool = False,
) -> None:
    """Write the workspace `folder`.

    `shift` rotates which documents are train, val and test; the SVM's coefficients are `sparse`, as
    of very many labels.
    """
    frame = corpus(labels=labels, seed=data_seed)
    parts = np.roll(np.repeat(["train", "val", "test"], [200, 60, 140]), shift)
    targets = encode(frame["labels"].tolist(), labels)
    rows = {part: np.flatnonzero(parts == part) for part in ("train", "val", "test")}
    texts = {part: frame["text"].iloc[index].tolist() for part, index in rows.items()}
    noisy = targets[rows["train"]].toarray()
    rng = np.random.default_rng(0)
    for column in range(wrong):
        noisy[:, column] = rng.permutation(noisy[:, column])
    model = tiny_classifier(labels)
    fit(model, texts["train"], noisy)
    learned = np.concatenate([rows["train"], rows["val"]])
    plan = make_plan(np.full(len(learned), -1), np.arange(len(learned)) >= len(rows["train"]))
    svm, _, _ = fit_svm(texts["train"] + texts["val"], targets[learned], plan, n_jobs=1)
    if sparse:
        svm = replace(svm, coef=sp.csr_matrix(svm.coef))
    val = blend(model.scores(texts["val"]), svm.scores(texts["val"]), blend_weight)
    thresholds = tune(val, targets[rows["val"]])
    base = tune(svm.scores(texts["val"]), targets[rows["val"]])
    write_corpus(frame, folder / "artifacts/validate/corpus.parquet")
    (folder / "artifacts/split").mkdir(parents=True)
    assignment = (
        pd.DataFrame({"id": frame["id"], "split": parts, "group": frame["id"], FOLD: pd.NA})
        .astype({FOLD: "Int8"})
        .sort_values("id")
    )
    assignment.to_parquet(folder / "artifacts/split/assignment.parquet", index=False)
    classifier.save(model, folder / "artifacts/train/model")
    for part in ("val", "test"):
        ids = frame["id"].iloc[rows[part]].tolist()
        for name, scorer in (("train", model), ("baseline", svm)):
            scores = Scores(ids, labels, scorer.scores(texts[part]), targets[rows[part]])
            write_scores(folder / f"artifacts/{name}/{part}", scores)
    write_linear(folder / "artifacts/baseline/model", labels, svm)
    table = {
        "objective": "global",
        "labels": labels,
        "models": {
            "model": {"thresholds": thresholds.tolist(), "blend_weight": blend_weight},
            "baseline": {"thresholds": base.tolist(), "blend_weight": 0.0},
        },
    }
    _write(folder / "artifacts/thresholds/thresholds.json", table)
    counts = np.asarray(targets[rows["train"]].sum(axis=0)).ravel().tolist()
    groups = ["HEAD" if i % 2 == 0 else "TAIL" for i in range(len(labels))]
    frequencies = {"labels": labels, "groups": groups, "class_freq": counts, "train_num": 200}
    frequencies["statistics"] = {"train": {"documents": 200}}
    _write(folder / "artifacts/frequencies/frequencies.json", frequencies)
    _write(folder / "reports/metrics.json", {"model": {"micro_f1": 0.5}, "note": "x"})
    _write(
        folder / "reports/train/summary.json",
        {"profile": "head", "loss": "db", "objective": "micro_f1"},
    )
    history = (
        "loss,profile,epoch,train_loss,micro_f1\n"
        "db,probe,1,0.5,0.2\ndb,probe,2,,0.3\ndb,finetune,1,0.4,0.4\n"
    )
    (folder / "reports/train/history.csv").write_text(history)
    shutil.copy(ROOT / "dvc.yaml", folder / "dvc.yaml")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"train": {"wrong": wrong}}))


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


class InProcess:
    """Stands in for `Served` without a fresh process (which costs seconds)."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> InProcess:
        try:
            self.model = mlflow.pyfunc.load_model(self.uri)
        except Exception as error:
            raise ServedError(str(error)) from None
        self.labels = self.model.unwrap_python_model().labels
        return self

    def __exit__(self, *_: object) -> None: ...

    def ask(self, texts: list[str], **params: float) -> Answer:
        found = self.model.predict(pd.DataFrame({"text": texts}), params=params)
        return Answer(found["labels"].tolist(), found["scores"].tolist(), 0.0, 0.0)
