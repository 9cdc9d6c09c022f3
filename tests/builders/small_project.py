"""A small real project: synthetic words, a random two-layer BERT on disk, the real `dvc.yaml`."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from components._formats.corpus import write_corpus
from tests.builders.paths import ROOT

LABELS = [f"label-{i}" for i in range(8)]
# Cue words of each label, and words that mean nothing.
CUES = {label: [f"cue{i}a", f"cue{i}b"] for i, label in enumerate(LABELS)}
FILLERS = [f"word{i}" for i in range(40)]


def small_corpus(n_docs: int = 240, seed: int = 0) -> pd.DataFrame:
    """Documents whose words tell their labels; the last labels are rare."""
    rng = np.random.default_rng(seed)
    share = 0.5 / np.arange(1, len(LABELS) + 1)
    rows = []
    for i in range(n_docs):
        mine = [label for label, p in zip(LABELS, share, strict=True) if rng.random() < p]
        mine = mine or [LABELS[0]]
        words = [str(rng.choice(CUES[label])) for label in mine] * 2
        words += rng.choice(FILLERS, 12).tolist()
        rng.shuffle(words)
        rows.append({"id": f"doc-{i:04d}", "text": " ".join(words), "labels": mine})
    return pd.DataFrame(rows)


def write_encoder(folder: Path, seed: int = 0) -> None:
    """A random BERT of two layers and 32 units with a whole-word vocabulary."""
    import torch

    words = [*FILLERS, *(cue for cues in CUES.values() for cue in cues)]
    vocab = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)


def small_params(encoder: Path) -> dict[str, Any]:
    """The project's own parameters, with a tiny encoder and short training."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["train"] |= {"encoder": str(encoder), "profile": "head", "max_length": 32}
    params["train"]["losses"] = ["db"]
    params["train"]["head"] |= {"hidden": 32, "epochs": 5}
    params["train"]["finetune"] |= {"epochs": 2, "batch_tokens": 512}
    params["baseline"]["costs"] = [1.0]
    params["report"] |= {"n_draws": 100, "worst_errors": 2, "attribution_steps": 4}
    params["promote"]["min_sample"] |= {"docs": 20, "positives": 20}
    return params


def make_project(folder: Path, *, n_docs: int = 240) -> Path:
    """`folder` with data, `dvc.yaml` and `params.yaml`; the code stays where it is."""
    write_corpus(small_corpus(n_docs), folder / "data" / "corpus.parquet")
    write_encoder(folder.parent / f"{folder.name}-encoder")
    shutil.copy(ROOT / "dvc.yaml", folder / "dvc.yaml")
    params = small_params(folder.parent / f"{folder.name}-encoder")
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return folder


def environment(cache: Path) -> dict[str, str]:
    """The environment of a stage: this interpreter first, the project's code, no network."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LONGTAIL_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
    }


def files_in(folder: Path) -> dict[str, str]:
    """Path and content hash of every file below `folder`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
