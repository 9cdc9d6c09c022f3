"""`train` in two processes on the CPU: the results of one, one reason if it fails, no orphans."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from airflow.sdk.exceptions import AirflowFailException

from components._formats.annotations import write_label_weights
from components._formats.choices import Choices, write_choices
from components._formats.corpus import FOLD, write_corpus
from components._formats.scores import read_scores, write_scores
from components._frame.component import stage_command
from components._frame.pipeline import load_stages
from components.train import run
from dags._process import ProcessOperator
from tests.builders.faulty_server import free_port
from tests.builders.paths import ROOT
from tests.builders.small_project import (
    LABELS,
    environment,
    files_in,
    small_corpus,
    small_params,
    write_encoder,
)
from tests.components.test_train import PARTS, baseline_scores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

STAGE = next(stage for stage in load_stages(ROOT / "dvc.yaml") if stage.name == "train")


def make_inputs(folder: Path, *, processes: int, epochs: int = 2) -> Path:
    """A project folder with all that `train` reads, and more texts than one rank takes at once."""
    corpus = small_corpus(650)
    write_corpus(corpus, folder / "artifacts/validate/corpus.parquet")
    split = [PARTS[0 if i % 5 < 3 else i % 5 - 2] for i in range(len(corpus))]
    table = {"id": corpus["id"].tolist(), "split": split, FOLD: pa.nulls(len(corpus), pa.int8())}
    (folder / "artifacts/split").mkdir()
    pq.write_table(pa.table(table), folder / "artifacts/split/assignment.parquet")
    train, val = (corpus[[part == name for part in split]] for name in ("train", "val"))
    counts = [sum(label in labels for labels in train["labels"]) for label in LABELS]
    (folder / "artifacts/frequencies").mkdir()
    (folder / "artifacts/frequencies/frequencies.json").write_text(
        json.dumps({"class_freq": counts, "train_num": len(train), "mu": 0.3})
    )
    write_scores(folder / "artifacts/baseline/val", baseline_scores(val, noise=3.0))
    write_choices(Choices(), folder / "artifacts/validate/choices.json")
    write_label_weights(folder / "artifacts/validate/label_weights.parquet", [])
    write_encoder(folder.parent / "encoder")
    params = small_params(folder.parent / "encoder")
    # A dropped unit is drawn by each rank; everything else is the same in any number of them.
    params["train"]["head"] |= {"epochs": 1, "dropout": 0.0}
    params["train"] |= {"profile": "finetune", "loss": "db"}
    params["train"]["finetune"] |= {
        "learning_rate": 1e-3,
        "head_learning_rate": 1e-2,
        "epochs": epochs,
        "patience": epochs,
        "accumulation": 2,
        "batch_tokens": 512,  # 18 batches: of an odd number two ranks would leave one out
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    table = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    table["stages"]["train"]["meta"]["processes"] = processes
    (folder / "dvc.yaml").write_text(yaml.safe_dump(table))
    return folder


def start(folder: Path, **env: str) -> subprocess.Popen[str]:
    cache = environment(folder.parent / f"{folder.name}-cache")
    return subprocess.Popen(
        [sys.executable, "-m", "components._frame.stage", STAGE.name],
        cwd=folder,
        env=cache | {"CUDA_VISIBLE_DEVICES": ""} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_machines(folder: Path) -> list[subprocess.Popen[str]]:
    """Start the stage twice, with the variables that Kubeflow Trainer gives each machine."""
    given = {
        "PET_NNODES": "2",
        "PET_NPROC_PER_NODE": "auto",
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    return [start(folder, **given, PET_NODE_RANK=str(number)) for number in range(2)]


def history(folder: Path) -> list[dict[str, Any]]:
    with (folder / "reports/train/history.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("machines", [1, 2])
def test_two_processes_write_what_one_does(tmp_path: Path, monkeypatch: Any, machines: int) -> None:
    two = make_inputs(tmp_path / "two", processes=2 // machines)
    first, *others = [start(two)] if machines == 1 else start_machines(two)
    output, errors = first.communicate()
    assert first.returncode == 0, errors[-3000:]
    for other in others:
        assert other.communicate()[0] == "2 machines meet at 127.0.0.1.\n"
        assert other.returncode == 0
    assert output.count("\ntrain: ") == 1 and output.count("520 to compute") == 1, output

    one = make_inputs(tmp_path / "one", processes=1)
    monkeypatch.chdir(one)
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "one-cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    stage_command(run).main(list(STAGE.argv[3:]), standalone_mode=False)
    torch.set_num_threads(threads)

    written = [files_in(folder / "artifacts/train").keys() for folder in (one, two)]
    assert written[0] == written[1] and len(written[0]) > 10
    assert not list(tmp_path.rglob(".lock"))
    summaries = [json.loads((f / "reports/train/summary.json").read_text()) for f in (one, two)]
    assert {row["profile"] for row in summaries[0]["val"].values()} == {"finetune"}
    for name in ("val", "test", *(f"comparison/{n}/{p}" for n in ("db", "bce") for p in PARTS[1:])):
        scores = [read_scores(f / "artifacts/train" / name) for f in (one, two)]
        assert scores[0].ids == scores[1].ids
        np.testing.assert_allclose(scores[0].scores, scores[1].scores, rtol=0, atol=1e-5)
    rows = [history(folder) for folder in (one, two)]
    assert [row["profile"] for row in rows[0]] == ["head"] * 2 + ["finetune"] * 4
    assert rows[0][:2] == rows[1][:2], "heads are the same to the last bit"
    losses = [[float(row["train_loss"]) for row in history] for history in rows]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_killed_rank_ends_the_others(tmp_path: Path) -> None:
    folder = make_inputs(tmp_path / "killed", processes=2, epochs=1000)
    process = start(folder)
    checkpoints = tmp_path / "killed-cache/checkpoints"
    while not list(checkpoints.glob("*/checkpoint-*")):
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    ranks = {p.environ()["RANK"]: p for p in family if "components.train" in p.cmdline()}
    assert sorted(ranks) == ["0", "1"]
    killed = time.monotonic()
    os.kill(ranks["1"].pid, signal.SIGKILL)
    _, errors = process.communicate()
    assert time.monotonic() - killed < 60
    assert process.returncode == 128 + signal.SIGKILL, "an orchestrator tries it again"
    assert "Rank 1 of 2 was ended by SIGKILL" in errors and "Traceback" not in errors
    assert not psutil.wait_procs(family, timeout=10)[1], "an orphan"
    assert not list((folder / "artifacts/train").glob("[!.]*"))


def test_a_lost_machine_ends_the_others(tmp_path: Path) -> None:
    folder = make_inputs(tmp_path / "lost", processes=1, epochs=1000)
    first, second = start_machines(folder)
    while not list((tmp_path / "lost-cache/checkpoints").glob("*/checkpoint-*")):
        assert first.poll() is None, first.communicate()[1][-3000:]
        time.sleep(0.1)
    family = psutil.Process(first.pid).children(recursive=True)
    for process in [*psutil.Process(second.pid).children(recursive=True), second]:
        process.kill()
    lost = time.monotonic()
    _, errors = first.communicate()
    assert time.monotonic() - lost < 60
    assert first.returncode == 75, errors[-3000:]
    assert "train: A process of this training has ended" in errors and "Traceback" not in errors
    assert not psutil.wait_procs(family, timeout=10)[1], "an orphan"
    assert not list((folder / "artifacts/train").glob("[!.]*"))
    second.communicate()


def test_wrong_data_ends_the_dag_s_task_with_the_stage_s_own_code(tmp_path: Path) -> None:
    folder = make_inputs(tmp_path / "wrong", processes=2)
    path = folder / "artifacts/split/assignment.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    env = environment(tmp_path / "cache") | {"CUDA_VISIBLE_DEVICES": ""}
    task = ProcessOperator(task_id="train", argv=list(STAGE.command), cwd=str(folder), env=env)
    with pytest.raises(AirflowFailException, match="Exit code 3; not retried") as caught:
        task.execute({})
    assert str(caught.value).count("train: ") == 1 and "Traceback" not in str(caught.value)
    assert not list((folder / "artifacts/train").glob("*"))
