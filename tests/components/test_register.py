"""Registers once per data, code and parameters; what a version holds; a kill at every step."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
import yaml
from sqlalchemy import event
from sqlalchemy.pool import Pool
from transformers import LongformerConfig, LongformerModel

from components import register
from components._formats.model import load_model
from components._frame.exit_codes import TEMPORARY, TemporaryError
from components._frame.launch import guarded
from components._registry import client as registry
from components._registry import evidence, run_log
from components._registry import provenance as _provenance
from longtail.errors import DataError, ParameterError
from longtail.models import onnx_export
from longtail.models.classifier import save
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import PARAMS, build


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that is not registered yet, with an empty store."""
    home = tmp_path_factory.mktemp("template")
    build(home / "workspace", wrong=2, blend_weight=0.3)
    mlflow.MlflowClient(f"sqlite:///{home}/workspace/mlflow.db").search_registered_models()
    return home / "workspace"


@pytest.fixture
def workspace(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[mlflow.MlflowClient]:
    shutil.copytree(template, tmp_path / "workspace")
    monkeypatch.chdir(tmp_path / "workspace")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/workspace/mlflow.db")
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    yield registry.connect()
    while mlflow.active_run():
        mlflow.end_run()


def params() -> registry.RegisterParams:
    return registry.RegisterParams(**PARAMS["register"])


def one_version(client: mlflow.MlflowClient, key: str) -> None:
    """Check for exactly one run and one version with the key, and the alias on it."""
    versions = client.search_model_versions("name = 'longtail'")
    assert [version.tags["key"] for version in versions] == [key]
    experiment = client.get_experiment_by_name("longtail")
    runs = client.search_runs([experiment.experiment_id])
    assert [(run.info.run_id, run.info.status) for run in runs] == [
        (versions[0].run_id, "FINISHED")
    ]
    alias = registry.by_alias(client, "longtail", registry.CHALLENGER)
    assert registry.number(alias) == registry.number(versions[0])


def test_a_version_holds_its_origin_evidence_and_results(workspace: mlflow.MlflowClient):
    register.run()
    found = json.loads(Path("reports/registered.json").read_text())
    assert (found["name"], found["version"], found["reused"]) == ("longtail", "1", False)
    one_version(workspace, found["key"])
    version = workspace.get_model_version("longtail", "1")
    assert set(registry.REQUIRED_TAGS) <= set(version.tags)
    assert (version.tags["image_digest"], version.tags["logical_date"]) == ("process", "manual")
    run = workspace.get_run(found["run_id"])
    assert run.data.params["promote.error_budget.share"] == "0.1"
    assert run.data.metrics["model/micro_f1"] == 0.5
    for profile, column, points in (
        ("probe", "micro_f1", [(1, 0.2), (2, 0.3)]),
        ("probe", "train_loss", [(1, 0.5)]),  # an empty cell is not a point
        ("finetune", "micro_f1", [(1, 0.4)]),
    ):
        logged = workspace.get_metric_history(found["run_id"], f"db/{profile}/{column}")
        assert [(point.step, point.value) for point in logged] == points
    assert run.inputs.dataset_inputs[0].dataset.name == "corpus"
    seen = evidence.read_seen_ids(found["run_id"], version.tags["train_ids_digest"])
    assert seen == {evidence.hashed(f"d{i}") for i in range(260)}


def test_the_sample_has_the_scores_that_the_pipeline_computed(workspace: mlflow.MlflowClient):
    register.run()
    run_id = json.loads(Path("reports/registered.json").read_text())["run_id"]
    sample = evidence.read_sample(run_id)
    scores, _ = evidence.test_scores()
    texts = evidence.texts_of(scores.ids)
    assert len(sample.texts) == len(set(sample.texts)) == 8
    for text, row in zip(sample.texts, sample.scores, strict=True):
        assert row == pytest.approx(scores.scores[texts.index(text)].tolist(), abs=1e-7)


def test_the_same_inputs_never_make_a_second_version(workspace: mlflow.MlflowClient):
    first, second = register.register(params()), register.register(params())
    assert second == first | {"reused": True}
    one_version(workspace, first["key"])


def register_meanwhile(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """As on two machines whose locks do not meet: one registers while the other logs its run.

    Returns:
        Filled with what the one got.
    """
    monkeypatch.setattr(registry, "exclusive", lambda name: nullcontext())
    log_run, inner = run_log.log_run, []

    def overlapping(*given: Any) -> str:
        if not inner:
            inner.append({})
            inner[0] = register.register(params())
        return log_run(*given)

    monkeypatch.setattr(run_log, "log_run", overlapping)
    return inner


def test_two_at_once_make_one_version_even_without_the_lock(
    workspace: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    inner = register_meanwhile(monkeypatch)
    outer = register.register(params())
    assert not outer["reused"] and outer["version"] == inner[0]["version"] == "1"
    one_version(workspace, outer["key"])


@pytest.mark.parametrize(("alias", "left"), [(None, "1"), ("champion", "2")])
def test_a_kill_before_the_second_version_is_deleted_is_mended_by_the_next_try(
    workspace: mlflow.MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    alias: str | None,
    left: str,
):
    register_meanwhile(monkeypatch)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(mlflow.MlflowClient, "delete_model_version", killed)
        register.register(params())
    both = workspace.search_model_versions("name = 'longtail'")
    assert [version.version for version in both] == [2, 1], "as the kill left them"
    if alias is not None:
        workspace.set_registered_model_alias("longtail", alias, "2")
    assert register.register(params())["version"] == left
    (version,) = workspace.search_model_versions("name = 'longtail'")
    experiment = workspace.get_experiment_by_name("longtail")
    (run,) = workspace.search_runs([experiment.experiment_id])
    assert (str(version.version), version.run_id) == (left, run.info.run_id)


def test_a_container_reads_its_origin_from_the_environment(
    workspace: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    origin = {
        "LONGTAIL_IMAGE_DIGEST": "sha256:1",
        "LONGTAIL_LOGICAL_DATE": "2026-01-02",
        "LONGTAIL_GIT_COMMIT": "c0ffee",
        "LONGTAIL_DATA_REVISION": "beef",
    }
    for name, value in origin.items():
        monkeypatch.setenv(name, value)
    Path("data.dvc").write_text("outs:\n- md5: abc.dir\n  path: data\n")
    tags = _provenance.origin_tags(evidence.ASSIGNMENT)
    names = ("image_digest", "logical_date", "git_commit", "data_revision", "data_md5")
    assert [tags[name] for name in names] == [*origin.values(), "abc.dir"]


LOCK: dict[str, dict] = {
    stage: {
        "cmd": f"python -m components.{stage}",
        "deps": [{"path": f"components/{stage}.py", "md5": "1"}],
        "params": {"params.yaml": {stage: {"seed": 0}}},
        "outs": [{"path": f"artifacts/{stage}", "md5": "2"}],
    }
    for stage in ("validate", "split", "frequencies", "baseline", "train", "thresholds")
}


def key_of(table: dict, profile: str = "probe") -> str:
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": table}))
    return _provenance.model_key([], profile)


def changed(stage: str, **fields: object) -> dict:
    return LOCK | {stage: LOCK[stage] | fields}


def test_the_key_reads_sources_and_parameters_from_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    key = key_of(LOCK)
    source = [{"path": "components/train.py", "md5": "changed"}]
    assert key_of(changed("train", deps=source)) != key
    assert key_of(changed("train", params={"params.yaml": {"train": {"seed": 1}}})) != key
    assert key_of(changed("train", cmd="python -m components.train --x")) != key
    assert key_of(LOCK, "finetune") != key
    # Outputs and the report do not make another model.
    assert key_of(changed("train", outs=[{"path": "artifacts/train", "md5": "3"}])) == key
    assert key_of(LOCK | {"report": LOCK["train"] | {"cmd": "report"}}) == key
    handed_on = [*LOCK["train"]["deps"], {"path": "artifacts/split", "md5": "9"}]
    assert key_of(changed("train", deps=handed_on)) == key


def test_without_a_lock_the_key_follows_the_files(workspace: mlflow.MlflowClient, tmp_path: Path):
    def key() -> str:
        return _provenance.model_key([evidence.MODEL, evidence.THRESHOLDS], "probe")

    first = key()
    assert key() == first
    evidence.THRESHOLDS.write_text(evidence.THRESHOLDS.read_text() + " ")
    assert key() != first


def test_the_packed_code_is_the_import_closure_of_the_served_model(tmp_path: Path):
    _provenance.pack_code(tmp_path)
    packed = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.py")}
    assert {
        "longtail/__init__.py",
        "longtail/models/classifier.py",
        "longtail/models/batching.py",
    } <= packed
    assert not packed & {"components/register.py", "components/_registry/client.py"}
    assert not any(name.startswith("longtail/report") for name in packed)


STEPS = ["log_text", "log_params", "log_input", "pyfunc.log_model"]


class Killed(BaseException):
    """Not an Exception: nothing may catch it."""


def killed(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.parametrize("step", ["log_text", "create_model_version", "move_alias", "write_json"])
def test_a_kill_at_a_step_is_finished_by_the_next_try(workspace: mlflow.MlflowClient, step: str):
    with pytest.MonkeyPatch.context() as patch:
        if step == "create_model_version":
            patch.setattr(mlflow.MlflowClient, step, killed)
        elif step == "move_alias":
            patch.setattr(registry, step, killed)
        elif step == "write_json":
            patch.setattr(register, step, killed)
        else:
            patch.setattr(mlflow, step, killed)
        with pytest.raises(Killed):
            register.run()
    register.run()
    one_version(workspace, json.loads(Path("reports/registered.json").read_text())["key"])


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_sigkill_while_the_run_is_open_is_finished_by_the_next_try(
    workspace: mlflow.MlflowClient, step: str
):
    """A run that a killed process left open (RUNNING, half its contents) is done again."""
    script = (
        "import os, signal, mlflow, mlflow.pyfunc, components.register as register\n"
        f"mlflow.{step} = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "register.run()\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert done.returncode == -9
    register.run()
    one_version(workspace, json.loads(Path("reports/registered.json").read_text())["key"])


def test_a_version_deleted_by_hand_is_made_again(workspace: mlflow.MlflowClient):
    first = register.register(params())
    workspace.delete_model_version("longtail", first["version"])
    second = register.register(params())
    assert (second["version"], second["reused"]) == ("2", False)
    assert second["run_id"] == first["run_id"]


@pytest.mark.parametrize("runtime", ["onnx", "onnx_int8"])
def test_an_exported_version_is_a_new_one_and_answers_like_its_sample(
    workspace: mlflow.MlflowClient, runtime: str
):
    plain = register.register(params())
    found = register.register(params().model_copy(update={"runtime": runtime}))
    assert (found["version"], found["reused"]) == ("2", False)
    assert found["key"] != plain["key"]
    assert workspace.get_model_version("longtail", "2").tags[registry.RUNTIME] == runtime
    folder = Path(mlflow.artifacts.download_artifacts("models:/longtail/2"))
    names = {path.name for path in folder.rglob("*")}
    assert "model.onnx" in names and "model.safetensors" not in names
    requirements = (folder / "requirements.txt").read_text()
    assert "onnxruntime==" in requirements and "torch" not in requirements
    sample = evidence.read_sample(found["run_id"])
    pipeline = evidence.read_sample(plain["run_id"])
    difference = workspace.get_run(found["run_id"]).data.metrics["runtime_difference"]
    assert sample.texts == pipeline.texts
    served = mlflow.pyfunc.load_model("models:/longtail/2").unwrap_python_model()
    scores = served.scores(sample.texts)
    np.testing.assert_allclose(scores, np.array(sample.scores), atol=sample.tolerance)
    if runtime == "onnx":
        assert (sample.scores, sample.tolerance) == (pipeline.scores, 1e-4)
        assert difference <= 1e-4
    else:
        assert np.abs(scores - np.array(pipeline.scores)).max() == pytest.approx(difference)
        assert difference > 1e-4


def test_an_export_that_disagrees_is_refused(
    workspace: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    export = onnx_export.export

    def wrong(model, folder, *, int8):
        with torch.no_grad():
            model.head.layers[-1].bias += 0.01
        export(model, folder, int8=int8)

    monkeypatch.setattr(onnx_export, "export", wrong)
    with pytest.raises(DataError, match=r"scores differ by up to 0\.00"):
        register.register(params().model_copy(update={"runtime": "onnx"}))
    assert not workspace.search_model_versions("name = 'longtail'")


def test_an_encoder_that_cannot_be_exported_is_told(workspace: mlflow.MlflowClient):
    """Longformer's windows are counted while it is traced: the graph fails at other lengths."""
    folder = Path("artifacts/train/model")
    model = load_model(folder)
    size = model.encoder.config
    model.encoder = LongformerModel(
        LongformerConfig(
            vocab_size=size.vocab_size,
            hidden_size=size.hidden_size,
            num_attention_heads=2,
            num_hidden_layers=1,
            intermediate_size=32,
            attention_window=8,
            max_position_embeddings=80,
            pad_token_id=0,
        )
    ).eval()
    model.config.encoder = model.encoder.config.to_dict()
    shutil.rmtree(folder)
    save(model, folder)
    with pytest.raises(
        ParameterError, match=r"register.runtime: onnx cannot serve .* to pytorch; nothing is tra"
    ):
        register.register(params().model_copy(update={"runtime": "onnx"}))
    assert not workspace.search_model_versions("name = 'longtail'")


def test_without_onnx_runtime_one_sentence_says_what_to_do(
    workspace: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "longtail.models.onnx_export")
    with pytest.raises(
        ParameterError, match=r"onnx needs a package .*onnxruntime.* `registry`, or set it to pyt"
    ):
        register.register(params().model_copy(update={"runtime": "onnx"}))
    assert not workspace.search_model_versions("name = 'longtail'")


def test_a_full_disk_during_the_export_is_no_fault_of_the_encoder(
    workspace: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    def full(model, folder, *, int8):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(onnx_export, "export", full)
    with pytest.raises(TemporaryError, match="no space left"):
        register.register(params().model_copy(update={"runtime": "onnx"}))


def test_a_full_disk_under_the_store_is_temporary(
    workspace: mlflow.MlflowClient, capsys: pytest.CaptureFixture
):
    """SQLite itself reports it: its file cannot grow any more."""

    def no_growth(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(Pool, "checkout", no_growth)
    with open("params.yaml", "a") as handle:
        handle.write("notes: " + json.dumps(["x" * 5000] * 1000))  # more than its pages hold
    try:
        with pytest.raises(SystemExit) as exited:
            guarded("register", register.run)
    finally:
        event.remove(Pool, "checkout", no_growth)
    assert exited.value.code == TEMPORARY
    assert "no space left" in capsys.readouterr().err.splitlines()[-1]


def test_missing_artifacts_and_an_unreachable_server_are_named(
    workspace: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        with pytest.raises(TemporaryError, match=r"127\.0\.0\.1:9 cannot be reached"):
            register.run()
    evidence.THRESHOLDS.unlink()
    with pytest.raises(DataError, match=r"thresholds\.json does not exist; run `dvc repro`"):
        register.run()
    assert not Path("reports/registered.json").exists()
