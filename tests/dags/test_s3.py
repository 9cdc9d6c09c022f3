"""S3 on loopback: a source, DVC's remote with its own credentials, MLflow's artifacts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from dags._tools import ToolError
from dags._workspace import prepare, record
from tests.builders.nights import Nights, environment, run
from tests.builders.s3 import BUCKET, client, keys, serve_s3

FIRST = "2026-03-01T02:00:00"


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    with serve_s3() as settings:
        yield settings


@pytest.fixture
def remote(toy: Path, s3: dict[str, str]) -> Path:
    """The toy project with a remote in S3 whose credentials are in `config.local` alone."""
    dvc = (sys.executable, "-m", "dvc", "remote")
    run(*dvc, "add", "--quiet", "--default", "s3", f"s3://{BUCKET}/dvc", cwd=toy)
    run(*dvc, "modify", "--quiet", "s3", "endpointurl", s3["AWS_ENDPOINT_URL"], cwd=toy)
    for name in ("access_key_id", "secret_access_key"):
        value = s3[f"AWS_{name.upper()}"]
        run(*dvc, "modify", "--quiet", "--local", "s3", name, value, cwd=toy)
    run("git", "commit", "--quiet", "--all", "-m", "Remote", cwd=toy)
    return toy


def without_credentials(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_data_come_from_and_go_to_a_remote_with_the_repository_s_credentials(
    remote: Path, s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_credentials(monkeypatch, tmp_path)
    run(sys.executable, "-m", "dvc", "push", "--quiet", cwd=remote)
    shutil.rmtree(remote / ".dvc" / "cache")
    checkout = prepare(remote, tmp_path / "ws", "2026-03-01T020000Z")
    assert (checkout.folder / "data" / "first.jsonl").read_text() == "1\n2\n"
    assert (checkout.folder / ".dvc" / "config.local").stat().st_mode & 0o077 == 0
    before = set(keys(s3, "dvc/"))
    (checkout.folder / "data" / "second.jsonl").write_text("3\n")
    run(sys.executable, "-m", "dvc", "add", "--quiet", "data", cwd=checkout.folder)
    run(sys.executable, "-m", "dvc", "repro", "--quiet", cwd=checkout.folder)
    record(checkout)
    assert len(set(keys(s3, "dvc/")) - before) >= 4
    assert "planted" not in run("git", "log", "--all", "--patch", cwd=remote)


def test_dvc_s_own_reason_is_quoted(
    remote: Path, s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_credentials(monkeypatch, tmp_path)
    checkout = prepare(remote, tmp_path / "ws", "2026-03-01T020000Z")
    run(sys.executable, "-m", "dvc", "repro", "--quiet", cwd=checkout.folder)
    assert client(s3).delete_bucket(Bucket=BUCKET)
    with pytest.raises(ToolError, match="The specified bucket does not exist") as caught:
        record(checkout)
    assert "Having any troubles" not in str(caught.value)
    shutil.rmtree(remote / ".dvc" / "cache")
    with pytest.raises(ToolError, match=r"`-m dvc pull .* failed .*nor on remote"):
        prepare(remote, tmp_path / "again", "2026-03-02T020000Z")


@pytest.mark.slow
def test_a_night_takes_new_files_from_a_bucket(nights: Nights, s3: dict[str, str]) -> None:
    client(s3).put_object(Bucket=BUCKET, Key="new/more.jsonl", Body=b"3\n4\n5\n")
    nights.extra = tuple(s3.items())
    states, output = nights(FIRST, source=f"s3://{BUCKET}/new")
    assert states["ingest"] == "success", output[-3000:]
    assert (nights.home / "state" / "champion").read_text() == "5"


LOG = """
import mlflow
mlflow.set_experiment("e")
with mlflow.start_run() as run:
    mlflow.log_text("one", "a.txt")
print(run.info.run_id)
"""


def test_artifacts_go_to_a_bucket(s3: dict[str, str], tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(uri).create_experiment("e", f"s3://{BUCKET}/mlflow")
    env = environment(MLFLOW_TRACKING_URI=uri, **s3)
    done = subprocess.run([sys.executable, "-c", LOG], env=env, capture_output=True, text=True)
    run_id = done.stdout.split()[-1]
    [key] = keys(s3, "mlflow/")
    assert key.endswith(f"{run_id}/artifacts/a.txt")
