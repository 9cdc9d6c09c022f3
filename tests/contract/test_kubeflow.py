"""The compiled Kubeflow pipeline against its golden file, and the golden file against dvc.yaml.

After an intended change, run `UPDATE_GOLDEN=1 pytest -m slow tests/contract/test_kubeflow.py`: it
writes the golden file anew, without what this machine's environment would pass on to the steps.
"""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import yaml

from components._frame.pipeline import load_stages
from dags._commands import COMMANDS
from tests.builders.kubeflow import KFP, compile_pipeline
from tests.builders.paths import ROOT

GOLDEN = Path(__file__).parent / "golden" / "kubeflow.yaml"


def test_the_golden_file_says_what_dvc_yaml_says() -> None:
    pipeline, platform = yaml.safe_load_all(GOLDEN.read_text(encoding="utf-8"))
    tasks = pipeline["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    containers = pipeline["deploymentSpec"]["executors"]
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    stages = load_stages(ROOT / "dvc.yaml")
    own = {"workspace", "ingest", "plan", "record", *COMMANDS}
    assert set(tasks) == {stage.name for stage in stages} | own
    for stage in stages:
        container = containers[f"exec-{stage.name}"]["container"]
        script, *words = container["args"]
        assert script == (ROOT / "dags" / "kubeflow_step.sh").read_text(encoding="utf-8")
        assert words[2] == stage.name and words[4:] == list(stage.argv)
        assert container["image"] == f"localhost/longtail-{stage.image}:latest"
        assert {variable["name"] for variable in container["env"]} == {
            "LONGTAIL_HOME",
            "LONGTAIL_IMAGE_DIGEST",
            "LONGTAIL_REPO",
            "OMP_WAIT_POLICY",
        }
        assert tasks[stage.name]["dependentTasks"] == sorted(["plan", *stage.upstream])
        limit = kubernetes[f"exec-{stage.name}"]["activeDeadlineSeconds"]
        assert float(limit) == 60 * stage.minutes
    for name, (argv, image) in COMMANDS.items():
        assert containers[f"exec-{name}"]["container"]["args"][5:] == list(argv)
        assert containers[f"exec-{name}"]["container"]["image"].endswith(f"-{image}:latest")


def test_every_step_is_tried_again_in_its_volume_and_never_answered_from_a_cache() -> None:
    pipeline, platform = yaml.safe_load_all(GOLDEN.read_text(encoding="utf-8"))
    inner = pipeline["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, task in (*inner.items(), ("notify", pipeline["root"]["dag"]["tasks"]["notify"])):
        assert task["retryPolicy"]["maxRetryCount"] == 3, name
        assert task["cachingOptions"] == {}, name
        assert kubernetes[f"exec-{name}"]["pvcMount"][0]["mountPath"] == "/longtail"
        assert "activeDeadlineSeconds" in kubernetes[f"exec-{name}"]
    [secret] = kubernetes["exec-notify"]["secretAsEnv"]
    assert secret["optional"] and secret["keyToEnv"][0]["envVar"] == "AIRFLOW_CONN_LONGTAIL_WEBHOOK"


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    return tmp_path / "kubeflow.yaml"


@pytest.mark.slow
@pytest.mark.skipif(not KFP.exists(), reason="no .venv-kfp; `make kubeflow` makes it")
def test_compiling_gives_the_golden_file(compiled: Path) -> None:
    assert compile_pipeline(compiled).returncode == 0
    if "UPDATE_GOLDEN" in os.environ:
        GOLDEN.write_bytes(compiled.read_bytes())
    assert compiled.read_text(encoding="utf-8") == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not KFP.exists(), reason="no .venv-kfp; `make kubeflow` makes it")
def test_gpus_of_a_stage_s_meta_reach_its_pod(compiled: Path, tmp_path: Path) -> None:
    table = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    table["stages"]["train"]["meta"]["gpus"] = 4
    text = yaml.safe_dump(table, sort_keys=False)
    (tmp_path / "dvc.yaml").write_text(text, encoding="utf-8")
    done = compile_pipeline(compiled, LONGTAIL_REPO=str(tmp_path))
    assert done.returncode == 0, done.stderr
    pipeline, _ = yaml.safe_load_all(compiled.read_text(encoding="utf-8"))
    container = pipeline["deploymentSpec"]["executors"]["exec-train"]["container"]
    accelerator = container["resources"]["accelerator"]
    assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "4")
    assert container["args"][5:9] == ["python", "-m", "components._frame.on_gpu", "4"]


@pytest.mark.slow
@pytest.mark.skipif(not KFP.exists(), reason="no .venv-kfp; `make kubeflow` makes it")
def test_secrets_are_references(compiled: Path) -> None:
    settings = {"MLFLOW_TRACKING_URI": "https://me:planted@mlflow.example", "AWS_REGION": "eu-1"}
    assert compile_pipeline(compiled, **settings).returncode == 0
    text = compiled.read_text(encoding="utf-8")
    assert "planted" not in text and "eu-1" in text
    _, platform = yaml.safe_load_all(text)
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    references = kubernetes["exec-train"]["secretAsEnv"]
    assert [r["keyToEnv"][0]["envVar"] for r in references] == ["MLFLOW_TRACKING_URI"]
    assert references[0]["secretName"] == "longtail"


class Api(BaseHTTPRequestHandler):
    """What kfp asks of Kubeflow Pipelines to make a recurring run."""

    asked: ClassVar[dict[str, Any]] = {}

    def answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer({"experiments": [{"experiment_id": "e1", "display_name": "longtail"}]})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        self.asked[path] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({"experiment_id": "e1", "recurring_run_id": "r1"})

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.slow
@pytest.mark.skipif(not KFP.exists(), reason="no .venv-kfp; `make kubeflow` makes it")
def test_a_recurring_run(compiled: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        words = ("--schedule", "0 0 2 * * *", "--source", "/longtail/new",
                 "--host", f"http://127.0.0.1:{server.server_address[1]}")  # fmt: skip
        done = compile_pipeline(compiled, *words)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert "Recurring run r1 in longtail: 0 0 2 * * *." in done.stdout
    asked = Api.asked["/apis/v2beta1/recurringruns"]
    assert asked["trigger"]["cron_schedule"]["cron"] == "0 0 2 * * *"
    assert asked["no_catchup"] is True and asked["max_concurrency"] == 1
    assert asked["runtime_config"]["parameters"] == {"source": "/longtail/new"}
    spec = asked["pipeline_spec"]
    assert "comp-exit-handler-1" in spec.get("pipeline_spec", spec)["components"]
