"""Which versions are removed, and that their files and rows go; a real MLflow store."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import mlflow
import pytest
import yaml
from click.testing import CliRunner
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, ViewType

from components import ingest
from components._cli import prune
from components._registry import approval, evidence, hold, retention
from components._registry import client as registry
from tests.builders.registry_workspace import PARAMS

NAME = "longtail"
KB = 200


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return registry.connect()


def add_version(client: mlflow.MlflowClient, number: int, ids: Sequence[str] = ()) -> None:
    """A run with a file, a model with a file, and the version of that model."""
    experiment = mlflow.set_experiment(NAME)
    with mlflow.start_run() as run:
        if ids:
            mlflow.log_text(evidence.hashed_lines(ids), evidence.KNOWN_FILE)
        mlflow.log_text("r" * KB * 1000, "run.txt")
        model = mlflow.initialize_logged_model(name="model")
        Path("file.txt").write_text("m" * KB * 1000)
        client.log_model_artifact(model.model_id, "file.txt")
        mlflow.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        mlflow.log_outputs(models=[LoggedModelOutput(model.model_id, 0)])
    assert experiment.experiment_id == run.info.experiment_id
    if number == 1:
        client.create_registered_model(NAME)
    client.create_model_version(
        NAME, f"models:/{model.model_id}", run.info.run_id,
        tags={"data_revision": f"night{number}"}, model_id=model.model_id,
    )  # fmt: skip


def numbers(client: mlflow.MlflowClient) -> list[int]:
    return [int(version.version) for version in registry.versions(client, NAME)]


def stored() -> float:
    files = [path for path in Path("mlruns").rglob("*") if path.suffix == ".txt"]
    return sum(path.stat().st_size for path in files) / 1e6


def test_old_versions_go_with_their_files_and_those_in_use_stay(
    client: mlflow.MlflowClient,
) -> None:
    for number in range(1, 11):
        add_version(client, number)
    for source, target in ((None, "1"), ("1", "3"), ("3", "4"), ("4", "6")):
        registry.append_history(client, NAME, {"from": source, "to": target})
    for alias, target in (("champion", "6"), ("previous_champion", "4"), ("challenger", "2")):
        client.set_registered_model_alias(NAME, alias, target)
    # Never the champion: 5 7 8 9 10; former champions without an alias: 1 3.
    old = [int(version.version) for version, _ in retention.unneeded(client, NAME, 1)]
    assert old == [1, 5, 7, 8, 9]
    runner, before = CliRunner(), stored()

    shown = runner.invoke(prune.command, ["--keep-versions", "1", "--needed", "needed.json"])
    assert shown.exit_code == 0, shown.output
    assert numbers(client) == list(range(1, 11)) and stored() == before
    assert json.loads(Path("needed.json").read_text()) == ["night2", "night4", "night6"]

    # A hold keeps everything: somebody may be looking for the last good version.
    hold.begin(client, NAME, "wrong labels")
    assert retention.unneeded(client, NAME, 1) == []
    client.delete_registered_model_tag(NAME, registry.HOLD)

    done = runner.invoke(prune.command, ["--apply", "--keep-versions", "1"])
    assert done.exit_code == 0, done.output
    assert numbers(client) == [2, 3, 4, 6, 10]
    assert stored() == pytest.approx(before / 2)
    assert retention.unneeded(client, NAME, 1) == []


def test_versions_that_know_forgotten_documents_go_first(
    client: mlflow.MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, ids in enumerate((["a", "b"], ["a", "b"], ["a"], ["a", "b"], []), start=1):
        add_version(client, number, ids)
    client.set_registered_model_alias(NAME, "champion", "4")
    assert retention.unneeded(client, NAME, 10) == []
    Path("gone.txt").write_text("b\n")
    ingest.command.main(["--forget", "gone.txt"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "version 1: knows 1 of them; `longtail prune --apply` removes it with its run." in told
    assert "version 4: knows 1 of them; stays while it is champion." in told
    assert "version 5: does not say what it knows; goes when it is old." in told
    assert "version 3" not in told
    done = CliRunner().invoke(prune.command, ["--apply"])
    assert done.exit_code == 0, done.output
    assert "it knows forgotten documents" in done.output
    assert "version 4: knows 1 of them; stays while it is champion." in done.output
    assert numbers(client) == [3, 4, 5]
    # While promotion is held, somebody may need the others.
    add_version(client, 6, ["b"])
    hold.begin(client, NAME, "wrong labels")
    done = CliRunner().invoke(prune.command, ["--apply"])
    assert "version 6: knows 1 of them; stays while promotion is held." in done.output
    assert numbers(client) == [3, 4, 5, 6]


def test_a_version_that_waits_for_approval_stays(client: mlflow.MlflowClient) -> None:
    """Also after another one became the challenger."""
    for number in range(1, 6):
        add_version(client, number)
    for number in (2, 3):
        approval.ask(client, client.get_model_version(NAME, str(number)), f"decision {number}")
    client.set_registered_model_alias(NAME, "challenger", "5")
    assert [int(v.version) for v, _ in retention.unneeded(client, NAME, 1)] == [1]
    assert retention.revisions(client, NAME) == ["night2", "night3", "night5"]
    # The newer 3 still waits, until a newer one than that is the champion.
    client.set_registered_model_alias(NAME, "champion", "2")
    registry.append_history(client, NAME, {"from": None, "to": "2"})
    assert [int(v.version) for v, _ in retention.unneeded(client, NAME, 1)] == [1]
    client.set_registered_model_alias(NAME, "champion", "4")
    registry.append_history(client, NAME, {"from": "2", "to": "4"})
    assert [int(v.version) for v, _ in retention.unneeded(client, NAME, 1)] == [1]
    assert retention.revisions(client, NAME) == ["night4", "night5"]


def test_what_a_kill_left_is_swept_the_next_time(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        add_version(client, number)
    [(version, _), *_] = retention.unneeded(client, NAME, 2)
    retention.remove(client, version)  # killed before `sweep`
    before = stored()
    monkeypatch.setattr(prune, "RESTORABLE_DAYS", 0)
    done = CliRunner().invoke(prune.command, ["--apply", "--keep-versions", "2"])
    assert done.exit_code == 0, done.output
    assert stored() == pytest.approx(before * 2 / 3)
    [experiment] = [client.get_experiment_by_name(NAME).experiment_id]
    assert client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY) == []


def test_unused_caches_and_leftovers_of_killed_processes_go(
    client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    old = [tmp_path / "cache" / "features" / "old", tmp_path / "tmp" / "longtail-served-1"]
    young = [tmp_path / "cache" / "features" / "new", tmp_path / "tmp" / "longtail-served-2"]
    young += [tmp_path / "tmp" / "of another program", tmp_path / "cache" / "locks" / "1"]
    young += [tmp_path / "tmp" / "longtail-experiments"]  # somebody's own
    for folder in [*old, *young]:
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
    for folder in [*old, *young[2:]]:
        os.utime(folder, (time.time() - 30 * 86_400,) * 2)
    shown = CliRunner().invoke(prune.command, [])
    assert shown.exit_code == 0 and all(folder.exists() for folder in old)
    done = CliRunner().invoke(prune.command, ["--apply"])
    assert done.exit_code == 0, done.output
    assert not any(folder.exists() for folder in old)
    assert all(folder.exists() for folder in young)
