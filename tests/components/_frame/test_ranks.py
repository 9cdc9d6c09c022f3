"""Several processes of a stage: one says what was wrong, and only `train` has several."""

from __future__ import annotations

import time

import pytest
from click.testing import CliRunner

from components import frequencies
from components._frame import ranks
from components._frame.component import stage_command
from components._frame.progress import progress
from longtail.errors import DataError, ParameterError
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


def test_a_stage_that_shares_nothing_refuses_several_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
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
    monkeypatch.setattr("torch.distributed.init_process_group", lambda b, **_: joining.append(b))
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    monkeypatch.setattr("threading.Thread.start", lambda thread: None)
    if seen:
        with pytest.raises(ParameterError, match="one per GPU, but PyTorch sees 1"):
            ranks.joined("train").__enter__()
    else:
        with ranks.joined("train"):
            assert joining == ["gloo"]
