"""Two processes under torchrun (gloo) learn what one process learns from the same batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from safetensors.torch import load_file

from longtail import label_matrix
from longtail.losses import make_loss
from longtail.models import classifier
from longtail.models.documents import Documents
from longtail.models.encoder import load_encoder
from longtail.models.finetune import FineTuning, fine_tune
from tests.builders.paths import ROOT
from tests.builders.small_project import LABELS, small_corpus, write_encoder

CALL = """import sys
from pathlib import Path
from tests.longtail.models.test_finetune_distributed import train
train(Path(sys.argv[1]), Path(sys.argv[2]), accumulation=int(sys.argv[3]))
"""


def train(encoder: Path, folder: Path, *, accumulation: int) -> None:
    """Five epochs of four optimizer steps; a step is two batches of unequal size, no dropout.

    20 documents of 14 tokens and 20 of 20 make 8 batches per epoch: of 9, 9, 2 and 5 × 4 documents.
    """
    corpus = small_corpus(60)
    torch.manual_seed(0)
    model = classifier.build(
        *load_encoder(str(encoder)), LABELS, hidden=8, dropout=0, max_length=24
    )
    targets = label_matrix.encode(corpus["labels"].tolist(), LABELS)
    ids = model.tokenize(corpus["text"].tolist())
    rng = np.random.default_rng(0)  # some documents have doubt about some labels
    doubt = sp.csr_matrix((0.9 * (rng.random((40, len(LABELS))) < 0.3)).astype(np.float32))
    cut = [(text + text)[: 14 if row % 2 else 20] for row, text in enumerate(ids)]
    fine_tune(
        model,
        make_loss("db", targets[:40].sum(0).A1, 40),
        Documents(cut[:40], targets[:40], doubt),
        Documents(cut[40:], targets[40:]),
        how=FineTuning(
            learning_rate=1e-3,
            head_learning_rate=1e-2,
            weight_decay=0.01,
            warmup=0.1,
            epochs=5,
            patience=9,
            batch_tokens=144,
            accumulation=accumulation,
            frozen_layers=0,
            dropout=0.0,
            bf16=False,
        ),
        checkpoints=folder / "checkpoints",
    )
    if int(os.environ.get("RANK", 0)) == 0:
        classifier.save(model, folder / "model")


def run(command: list[str], encoder: Path, folder: Path, accumulation: int) -> None:
    folder.mkdir()
    script = folder / "train.py"
    script.write_text(CALL, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *command, str(script), str(encoder), str(folder), str(accumulation)],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    write_encoder(encoder)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run(torchrun, encoder, tmp_path / "two", accumulation=1)
    run([], encoder, tmp_path / "one", accumulation=2)
    for part in ("checkpoints/checkpoint-20", "model"):  # after 20 steps; of the best epoch
        one, two = (
            load_file(tmp_path / name / part / "model.safetensors") for name in ("one", "two")
        )
        assert one.keys() == two.keys()
        start = load_file(encoder / "model.safetensors")
        moved = [name for name in start if not torch.equal(one[f"encoder.{name}"], start[name])]
        assert len(moved) > 20, "nothing was trained"
        assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5
    logs = [
        json.loads((tmp_path / name / "checkpoints/checkpoint-20/trainer_state.json").read_text())
        for name in ("one", "two")
    ]
    val = [
        [row["eval_micro_f1"] for row in log["log_history"] if "eval_micro_f1" in row]
        for log in logs
    ]
    assert val[0] == pytest.approx(val[1]) and len(val[0]) == 5
    # AdamW would hide a gradient twice as large; the loss shows it.
    losses = [[row["loss"] for row in log["log_history"] if "loss" in row] for log in logs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and len(losses[0]) == 5
