"""Where a person demanded a GPU and there is none, nothing runs; elsewhere nothing changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from components._cli import run
from components._frame import on_gpu
from components._frame.pipeline import ON_GPU, load_stages
from longtail.errors import ParameterError
from tests.builders.paths import ROOT


def launched(*argv: str) -> subprocess.CompletedProcess[str]:
    python = [sys.executable if word == "python" else word for word in (*ON_GPU, "1", *argv)]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(python, cwd=ROOT, env=env, capture_output=True, text=True)


def test_without_a_gpu_the_command_does_not_run(tmp_path: Path) -> None:
    done = launched("touch", str(tmp_path / "ran"))
    assert done.returncode == 2 and not (tmp_path / "ran").exists()
    assert "needs a GPU (`gpus: 1` in dvc.yaml), but PyTorch" in done.stderr
    assert "nvidia-smi" in done.stderr and "Traceback" not in done.stderr


def test_with_one_the_command_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("os.execvp", lambda file, argv: ran.append([file, *argv]))
    for n in "12":
        monkeypatch.setattr("sys.argv", ["on_gpu", n, "python", "-m", "components.train"])
        on_gpu.main()
    assert ran == 2 * [["python", "python", "-m", "components.train"]]
    with pytest.raises(ParameterError, match=r"train needs 3 GPUs \(`gpus: 3`.* sees 2\. Check"):
        on_gpu.check_gpus("train", 3)


@pytest.mark.gpu
def test_a_real_gpu_is_seen() -> None:
    on_gpu.check_gpus("train", 1)


def test_longtail_run_demands_it_only_where_dvc_yaml_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any(stage.gpus for stage in load_stages(ROOT / "dvc.yaml")), "laptops have none"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    table = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    shutil.copy(ROOT / "params.yaml", ".")
    Path("dvc.yaml").write_text(yaml.safe_dump(table))
    monkeypatch.setattr(run, "get_data", lambda: pytest.fail("as far as the data"))
    with pytest.raises(pytest.fail.Exception, match="as far as the data"):
        CliRunner().invoke(run.command, catch_exceptions=False)
    table["stages"]["train"]["meta"]["gpus"] = 2
    Path("dvc.yaml").write_text(yaml.safe_dump(table))
    found = CliRunner().invoke(run.command)
    assert isinstance(found.exception, ParameterError)
    assert "train needs 2 GPUs" in str(found.exception)
