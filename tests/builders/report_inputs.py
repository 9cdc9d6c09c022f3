"""A small consistent set of the files that the `report` stage reads, with hostile text in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from components._formats.corpus import FOLD, write_corpus
from components._formats.curve_file import CurvePoint, write_curve
from components._formats.scores import Scores, write_scores
from longtail import label_matrix
from longtail.evaluation.metrics import apply_thresholds
from longtail.frequency import class_frequencies, cooccurrence, frequency_groups, statistics
from longtail.models import classifier
from longtail.thresholds import tune

HOSTILE = (
    "<script>alert('x')</script>",
    '=cmd()|"calc"',
    "a\"b'c & <b>bold</b>",
    "\u202eright to left \U0001f600",
    "long " * 60,
)
WORDS = tuple(f"word{i}" for i in range(200))
HEAD, TAIL = 35, 8
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tiny_model(labels: list[str], seed: int = 0) -> classifier.Classifier:
    """A two-layer encoder with random weights, and a tokenizer of whole words."""
    torch.manual_seed(seed)
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip
    encoder = BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        )  # fmt: skip
    )
    model = classifier.build(encoder, tokenizer, labels, hidden=16, dropout=0.0, max_length=24)
    return model.eval()


def corpus(
    n_docs: int = 400, n_labels: int = 20, seed: int = 0, plain: bool = False
) -> pd.DataFrame:
    """Documents whose labels follow a long tail, whose words follow the labels.

    plain: without annotator, date, source and group.
    """
    rng = np.random.default_rng(seed)
    labels = [*HOSTILE, *(f"label {i:02d}" for i in range(n_labels - len(HOSTILE)))]
    share = 0.5 / (1 + np.arange(n_labels))
    chosen = rng.random((n_docs, n_labels)) < rng.permutation(share)
    chosen[np.arange(n_docs), rng.integers(0, n_labels, n_docs)] = True
    texts = []
    for row in chosen:
        own = [WORDS[(7 * i + k) % len(WORDS)] for i in np.flatnonzero(row) for k in range(3)]
        texts.append(" ".join([*own, *rng.choice(WORDS, rng.integers(3, 30))]))
    texts[:5] = [f"{texts[i]} {HOSTILE[i]}" for i in range(5)]
    frame = pd.DataFrame(
        {
            "id": [f"doc <{i}>" if i < 5 else f"doc-{i:04d}" for i in range(n_docs)],
            "text": texts,
            "labels": [[labels[i] for i in np.flatnonzero(row)] for row in chosen],
        }
    )
    if not plain:
        frame["annotator"] = rng.choice(["ann <b>", "bob", "cee"], n_docs)
        days = pd.to_timedelta(rng.integers(0, 900, n_docs), unit="D")
        frame["annotated_at"] = (pd.Timestamp("2024-01-01") + days).astype("datetime64[us]")
        frame["source"] = rng.choice(["wire", "desk"], n_docs)
    return frame


def write_inputs(
    root: Path, frame: pd.DataFrame, *, seed: int = 0, blend_weight: float = 0.0, nan: bool = False
) -> dict[str, Path]:
    """Write every input file under `root`; returns argument name of `report.run` -> path."""
    names = [
        "corpus.parquet", "assignment.parquet", "frequencies.json", "cooccurrence.npz",
        "findings.json", "suspects.csv", "split_report.json", "baseline_val_scores",
        "baseline_test_scores", "curve.parquet", "model",
        "test_scores", "comparison", "history.csv", "summary.json", "thresholds.json",
    ]  # fmt: skip
    paths = {name.split(".")[0]: root / name for name in names}
    parts = np.resize(["train", "train", "train", "val", "test"], len(frame))
    labels = label_matrix.vocabulary(frame["labels"])
    targets = {
        part: label_matrix.encode(frame["labels"][parts == part].tolist(), labels)
        for part in ("train", "val", "test")
    }
    write_corpus(frame, paths["corpus"])
    assignment = pd.DataFrame(
        {"id": frame["id"], "split": parts, "group": frame["id"], FOLD: pd.NA}
    ).astype({FOLD: "Int8"})
    assignment.sort_values("id").to_parquet(paths["assignment"], index=False)
    write_counts(paths, labels, targets)
    write_held_out(paths, frame[parts == "val"], labels, targets["val"])
    ids = frame["id"][parts == "test"].tolist()
    tuned, test = {}, targets["test"]
    noise = {"model": 0.9, "baseline": 1.3, "bce": 1.1, "db": 0.9, "without_label_names": 1.2}
    folders = {
        "model": paths["test_scores"],
        "baseline": paths["baseline_test_scores"],
        **{name: paths["comparison"] / name / "test" for name in list(noise)[2:]},
    }
    for k, (name, folder) in enumerate(folders.items()):
        scores = noisy(test, noise[name], 0 if name == "db" else seed + k)  # DB is the model
        tuned[name] = _tuned(scores, test, 0.0 if name == "baseline" else blend_weight)
        if nan and name == "model":
            scores[3, 2] = np.nan
        write_scores(folder, Scores(ids, labels, scores, test))
    own = tuned["model"]
    tuned["without_blend"] = own | {"blend_weight": 0.0}
    tuned["without_thresholds"] = own | {"thresholds": [0.5] * len(labels)}
    without = {"encoder": "baseline", "loss": "bce"} | {
        name: f"without_{name}" for name in ("label_names", "blend", "thresholds")
    }
    table = {"objective": "global", "labels": labels, "models": tuned, "without": without}
    _json(paths["thresholds"], table)
    classifier.save(tiny_model(labels), paths["model"])
    write_facts(paths)
    return paths


def write_held_out(
    paths: dict[str, Path], frame: pd.DataFrame, labels: list[str], targets: sp.csr_matrix
) -> None:
    """The baseline's scores of val, and a learning curve: each point with less noise."""
    ids = frame["id"].tolist()
    write_scores(paths["baseline_val_scores"], Scores(ids, labels, noisy(targets, 1.3, 9), targets))
    points = []
    for k, noise in enumerate((4.0, 3.0, 2.3, 1.7, 1.3)):
        scores = noisy(targets, noise, 9 + k)
        predicted = apply_thresholds(scores, tune(scores, targets))
        newest = np.datetime64("NaT", "us")
        if "annotated_at" in frame:
            newest = np.datetime64("2025-01-01", "us") + 90 * k * np.timedelta64(1, "D")
        points.append(CurvePoint(20 * 2**k, newest, predicted))
    write_curve(paths["curve"], ids, labels, points)


def _tuned(scores: np.ndarray, targets: sp.csr_matrix, weight: float) -> dict[str, Any]:
    """An entry of thresholds.json, tuned before blending."""
    val = {"micro_f1": 0.5, "macro_f1": 0.25}
    return {"blend_weight": weight, "thresholds": tune(scores, targets).tolist(), "val": val}


def noisy(targets: sp.csr_matrix, noise: float, seed: int) -> np.ndarray:
    """Scores σ(z) float32 that rank the targets high, with noise in the logits."""
    rng = np.random.default_rng(seed)
    z = 3.0 * targets.toarray() - 2.5 + noise * rng.standard_normal(targets.shape)
    return (1 / (1 + np.exp(-z))).astype(np.float32)


def write_counts(paths: dict[str, Path], labels: list[str], targets: dict[str, Any]) -> None:
    freq = {part: class_frequencies(matrix) for part, matrix in targets.items()}
    _json(
        paths["frequencies"],
        {
            "train_num": targets["train"].shape[0],
            "labels": labels,
            "class_freq": freq["train"].tolist(),
            "val_freq": freq["val"].tolist(),
            "test_freq": freq["test"].tolist(),
            "groups": frequency_groups(freq["train"], head=HEAD, tail=TAIL).tolist(),
            "head": HEAD,
            "tail": TAIL,
            "mu": 0.5,
            "statistics": {part: statistics(matrix) for part, matrix in targets.items()},
        },
    )
    sp.save_npz(paths["cooccurrence"], cooccurrence(targets["train"]))


def write_facts(paths: dict[str, Path]) -> None:
    """What the other stages only pass on to be shown."""
    _json(
        paths["findings"],
        {
            "rules": [
                {
                    "code": "tiny_text",
                    "finds": "texts of <3 words",
                    "policy": "warn",
                    "status": "warned",
                    "count": 2,
                    "share": 0.01,
                    "examples": [],
                }
            ]
        },
    )
    paths["suspects"].write_text(
        'rank,kind,id,label,score,text\n1,wrong,"doc <1>","<script>alert(2)</script>",4.2,'
        '"\'=cmd() <img src=x onerror=alert(3)>"\n2,wrong,b,b,4.1,b\n3,wrong,c,c,4,c\n'
        "1,missing,doc-0100,'+lost,2.5,a document with too little\n",
        encoding="utf-8",
    )
    missing = {
        "train": [],
        "val": [{"label": "<i>x</i>", "groups": 1, "reason": "rare"}],
        "test": [],
    }
    copies = {"exact": {"train": 0, "val": 0, "test": 0}, "near": {"train": 2, "val": 1, "test": 3}}
    quality = {"label_share_deviation": 0.01, "rld": 0.2, "dcp": 0.1, "copies_across": copies}
    _json(
        paths["split_report"],
        {
            "method": "iterative",
            "frozen": 0,
            "quality": {**quality, "missing": missing},
            "reference": {"method": "scikit_multilearn", "skipped": "too large"},
        },
    )
    paths["history"].write_text(
        "loss,profile,epoch,train_loss,micro_f1,macro_f1\n"
        "db,probe,1,0.5,0.3,0.1\ndb,probe,2,0.4,0.4,0.2\ndb,finetune,1,0.3,0.5,0.3\n"
        "bce,probe,1,0.6,0.35,0.05\nbce,probe,2,0.5,0.45,0.1\n",
        encoding="utf-8",
    )
    _json(
        paths["summary"],
        {
            "profile": "probe",
            "loss": "db",
            "seconds": 12.5,
            "versions": {"torch": "2"},
            "device": "cpu",
        },
    )


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
