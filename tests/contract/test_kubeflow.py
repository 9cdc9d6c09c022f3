"""The compiled Kubeflow pipeline against its golden file, and the golden file against dvc.yaml.

After an intended change: `make kubeflow && cp build/kubeflow.yaml tests/contract/golden/`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from components._frame.pipeline import load_stages
from tests.builders.nights import environment
from tests.builders.paths import ROOT

GOLDEN = Path(__file__).parent / "golden" / "kubeflow.yaml"
KFP = ROOT / ".venv-kfp" / "bin" / "python"


def test_the_golden_file_says_what_dvc_yaml_says() -> None:
    pipeline, platform = yaml.safe_load_all(GOLDEN.read_text(encoding="utf-8"))
    tasks = pipeline["root"]["dag"]["tasks"]
    containers = pipeline["deploymentSpec"]["executors"]
    stages = load_stages(ROOT / "dvc.yaml")
    assert sorted(tasks) == sorted(stage.name for stage in stages)
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for stage in stages:
        container = containers[f"exec-{stage.name}"]["container"]
        assert [*container["command"], *container["args"]] == list(stage.argv)
        assert container["image"] == f"localhost/longtail-{stage.image}:latest"
        assert tasks[stage.name].get("dependentTasks", []) == sorted(stage.upstream)
        inputs = tasks[stage.name]["inputs"]["parameters"]
        assert sorted(inputs) == ["data_hash", "revision"]
        assert mounts[f"exec-{stage.name}"]["pvcMount"][0]["mountPath"] == "/workspace"


@pytest.mark.slow
@pytest.mark.skipif(not KFP.exists(), reason="no .venv-kfp; `make kubeflow` makes it")
def test_compiling_gives_the_golden_file(tmp_path: Path) -> None:
    target = tmp_path / "kubeflow.yaml"
    argv = [str(KFP), "-m", "dags.kubeflow_pipeline", str(target)]
    subprocess.run(argv, env=environment(), cwd=ROOT, check=True, capture_output=True)
    assert target.read_text(encoding="utf-8") == GOLDEN.read_text(encoding="utf-8")
