"""Addresses of the registry that are none, and a project that was moved with its local one."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from components import predict, promote, register
from components._registry import client as registry
from components._registry.address import check_address
from components._registry.moved import follow
from components._registry.outage import explained
from longtail.errors import ParameterError
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import build


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:99999", "wrong host or port (Port out of range"),
        ("http://127.0.0.1:port", "wrong host or port (Port could not be cast"),
        ("http://u:geheim/x@127.0.0.1:1", "a / ? # or @ in the password is written %2F"),
        ("http://u:geheim#@127.0.0.1:1", "a / ? # or @ in the password is written %2F"),
        ("http://[::1", "wrong host or port"),
        ("http://", "has no host"),
        ("http:///x", "has no host"),
        ("http://h:0", "port 0"),
        ("http://exa mple:80", "or a blank"),
        ("ftp://127.0.0.1/x", "scheme 'ftp'"),
        ("oracle://x", "scheme 'oracle'"),
        ("nonsense", "without a scheme"),
        ("/tmp/mlruns", "without a scheme"),
        ("file:///tmp/mlruns", "scheme 'file'"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////proc/x/mlflow.db", "is not a database, and none can be made there"),
        ("sqlite:////dev/null/mlflow.db", "is not a database, and none can be made there"),
        ("sqlite:///params.yaml", "file is not a database"),
        ("sqlite:///.", "unable to open"),
        ("postgresql+nothing://u:geheim@h/d", "is no address of a database"),
        ("postgresql+psycopg2://u:geheim@h:port/d", "is no address of a database"),
        ("postgresql+psycopg2://u:geheim@h", "lacks host or database"),
        ("mysql://u:geheim@h/d", "needs the Python package 'MySQLdb'"),
        ("mssql://u:geheim@h/d", "needs the Python package 'pyodbc'"),
    ],
)
def test_an_address_that_is_none_is_one_sentence_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, said: str
):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("register: {}\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ParameterError) as caught:
        registry.connect()
    assert said in str(caught.value) and "geheim" not in str(caught.value)
    assert "MLFLOW_TRACKING_URI" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1", "https://u:p@h:8443/path", "http://[::1]:5000", "databricks",
     "sqlite:///new/mlflow.db", "postgresql+psycopg2://u:p%2Fx@h:5432/d"],
)  # fmt: skip
def test_good_addresses_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str):
    if "psycopg2" in address:
        pytest.importorskip("psycopg2")
    monkeypatch.chdir(tmp_path)
    check_address(address)


def history(folder: Path, address: str) -> subprocess.CompletedProcess[str]:
    own = {"MLFLOW_TRACKING_URI": address, "PYTHONPATH": str(ROOT), "LONGTAIL_CACHE": str(folder)}
    argv = [sys.executable, "-m", "components.promote", "history", "--model", "m"]
    return subprocess.run(
        argv, cwd=folder, env=os.environ | own, capture_output=True, text=True, timeout=60
    )


def test_a_command_ends_with_the_sentence_and_an_empty_address_is_the_default(tmp_path: Path):
    done = history(tmp_path, "http://u:geheim/x@127.0.0.1:1")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "geheim" not in done.stderr
    (tmp_path / "params.yaml").touch()
    done = history(tmp_path, " ")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mlflow.db").exists() and not (tmp_path / "mlruns").exists()


def test_a_database_that_is_away_is_told_within_seconds(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("psycopg2")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://u:geheim@127.0.0.1:1/d")
    started = time.monotonic()
    with pytest.raises(registry.TemporaryError, match=r"127.0.0.1:1 cannot be reached") as caught:
        registry.connect()
    assert "geheim" not in str(caught.value) and time.monotonic() - started < 30


def test_a_wrong_password_of_the_database_is_no_outage():
    text = 'OperationalError: FATAL:  password authentication failed for user "u"'
    assert isinstance(explained(text), ParameterError)


@pytest.mark.slow
def test_a_project_that_was_moved_finds_its_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    old, new = tmp_path / "old", tmp_path / "new"
    build(old, wrong=1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(old)
    register.run()
    registry.connect().set_registered_model_alias("longtail", "champion", "1")
    monkeypatch.chdir(tmp_path)
    old.rename(new)
    monkeypatch.chdir(new)
    assert len(list(predict.predict([("1", "ant")], "models:/longtail@champion", 10))) == 1
    assert "the project was moved" in capsys.readouterr().err
    promote.run_decide()
    register.run()
    registered = json.loads(Path("reports/registered.json").read_text())
    assert registered["reused"] is True and not old.exists()
    assert "the project was moved" not in capsys.readouterr().err


def test_a_moved_store_of_an_older_mlflow_is_followed(tmp_path: Path):
    """MLflow 2 has no table of logged models, and 1.30 no storage location of versions."""
    store, here = tmp_path / "mlflow.db", tmp_path / "mlruns"
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("CREATE TABLE experiments (artifact_location TEXT)")
        database.execute("CREATE TABLE runs (artifact_uri TEXT)")
        database.execute("CREATE TABLE model_versions (source TEXT)")
        database.execute("INSERT INTO experiments VALUES ('/gone/mlruns/1')")
        database.execute("INSERT INTO runs VALUES ('/gone/mlruns/1/abc/artifacts')")
        database.execute("INSERT INTO model_versions VALUES ('/gone/mlruns/1/abc/artifacts/m')")
    here.mkdir()
    follow(store)
    with closing(sqlite3.connect(store)) as database:
        found = [
            database.execute(f"SELECT {column} FROM {table}").fetchone()[0]
            for table, column in (
                ("experiments", "artifact_location"), ("runs", "artifact_uri"),
                ("model_versions", "source"),
            )
        ]  # fmt: skip
    assert found == [f"{here}/1", f"{here}/1/abc/artifacts", f"{here}/1/abc/artifacts/m"]
