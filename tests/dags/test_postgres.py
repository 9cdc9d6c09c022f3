"""A night whose Airflow keeps its metadata in a real PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from scripts import standalone
from tests.builders import postgres
from tests.builders.nights import Nights


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres.serve() as address:
        yield f"{address}/airflow"


@pytest.mark.beyond_gate
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_night(database: str, toy: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    own = (("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", database),)
    nights = Nights(tmp_path / "airflow", toy, home, extra=own)
    standalone.prepare(nights.env)
    conf = json.dumps({"force": True, "encoder": "ü" * 3000})
    argv = [sys.executable, "-m", "airflow", "dags", "test", nights.dag, "2026-03-01T02:00:00"]
    done = subprocess.run([*argv, "--conf", conf], env=nights.env, cwd=home, capture_output=True,
                          text=True)  # fmt: skip
    plain = database.replace("+psycopg2", "")
    with closing(psycopg2.connect(plain)) as store, store.cursor() as cursor:
        cursor.execute("select task_id, state from task_instance")
        states = dict(cursor.fetchall())
    wrong = {name for name, state in states.items() if state != "success"}
    assert wrong == {"approve", "ingest"}, done.stdout[-3000:] + done.stderr[-3000:]
    assert (home / "state" / "champion").read_text() == "2"
    assert not (tmp_path / "airflow" / "airflow.db").exists()
