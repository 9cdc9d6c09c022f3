"""Several processes of a stage: one says what was wrong, and only `train` has several."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from components import frequencies
from components._frame import ranks
from components._frame.component import stage_command
from components._frame.progress import progress
from longtail.errors import DataError, ParameterError
from tests.builders.faulty_server import free_port
from tests.builders.paths import ROOT


@pytest.mark.parametrize(
    ("rank", "error", "waits"),
    [
        ("0", DataError("row 7"), False),
        ("0", RuntimeError("Connection closed by peer"), True),
        ("1", DataError("row 7"), True),
    ],
)
def test_the_error_that_the_others_come_from_is_told_first(
    rank: str, error: Exception, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(type(error)), ranks.one_voice():
        raise error
    assert bool(waited) == waits


def test_only_the_first_rank_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "10":
        monkeypatch.setenv("RANK", rank)
        with ranks.one_voice(), progress("work", "items") as show:
            show(1, 2)
            print(f"rank {rank}")
    assert capsys.readouterr().out == "rank 0\n"


@pytest.mark.parametrize(
    "given",
    [
        {"RANK": "0", "WORLD_SIZE": "2"},
        {"PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "127.0.0.1"},
    ],
    ids=["ranks", "machines"],
)
def test_a_stage_that_shares_nothing_refuses_several_processes(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    paths = ("corpus", "assignment", "frequencies", "cooccurrences", "label-counts")
    flags = [word for name in paths for word in (f"--{name}", "params.yaml")]
    found = CliRunner().invoke(stage_command(frequencies.run), flags)
    assert isinstance(found.exception, ParameterError)
    assert "frequencies was started in 2 processes, but only train shares" in str(found.exception)


@pytest.mark.parametrize("seen", [0, 1])
def test_a_rank_without_a_gpu_is_refused(seen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any GPU all train on the CPU; with too few, none shares one unseen."""
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    joining: list[str] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: seen > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: seen)
    monkeypatch.setattr(ranks, "_init", joining.append)
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    monkeypatch.setattr("threading.Thread.start", lambda thread: None)
    if seen:
        with pytest.raises(ParameterError, match="one per GPU, but PyTorch sees 1"):
            ranks.joined("train").__enter__()
    else:
        with ranks.joined("train"):
            assert joining == ["gloo"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"PET_NNODES": ""}, "PET_NNODES is '', expected the number of machines"),
        ({"PET_NNODES": "0"}, "PET_NNODES is '0'"),
        ({"PET_NNODES": "1:2"}, "PET_NNODES is '1:2'"),
        ({"PET_NNODES": "2"}, "PET_NODE_RANK and PET_MASTER_ADDR is not set"),
        ({"PET_NNODES": "2", "PET_NODE_RANK": "0"}, "but PET_MASTER_ADDR is not set"),
    ],
    ids=str,
)
def test_machines_that_cannot_meet_are_refused(
    given: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ParameterError, match=message):
        ranks.n_nodes()


def test_one_machine_needs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks.n_nodes() == 1
    monkeypatch.setenv("PET_NNODES", "1")
    assert ranks.n_nodes() == 1


def joining(start_seconds: float, **env: str) -> subprocess.Popen[str]:
    """A rank of two that joins the other and leaves."""
    code = (
        "from datetime import timedelta; from components._frame import ranks\n"
        f"ranks.START = timedelta(seconds={start_seconds})\n"
        "from components._frame.launch import guarded\n"
        "def act():\n"
        "    with ranks.joined('train'): print('joined')\n"
        "guarded('train', act)"
    )
    port = str(free_port())
    given = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    machines = {"PET_NNODES": "2", "PET_NODE_RANK": "0", "PET_MASTER_ADDR": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | given | machines | {"CUDA_VISIBLE_DEVICES": ""} | env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_rank_that_never_starts_is_not_waited_for_as_long_as_a_busy_one(rank: str) -> None:
    """The other failed before it could join, as for lack of memory or of a GPU."""
    process = joining(3, RANK=rank)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "train: A process of this training has ended, or never started" in errors
    assert "Traceback" not in errors and output == ""
