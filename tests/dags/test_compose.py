"""The compose file: every variable has a value, addresses are loopback, no secret is written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.builders.paths import ROOT
from tests.builders.postgres import program, serve

TEXT = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")


def generated() -> dict[str, str]:
    argv = [sys.executable, str(ROOT / "scripts" / "make_env.py")]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_variables_are_those_that_make_writes() -> None:
    needed = set(re.findall(r"\$\{([A-Z_]+)\}", TEXT))
    assert len(needed) == 12
    assert needed == set(generated())


def test_secrets_are_new_each_time_and_long() -> None:
    first, second = generated(), generated()
    secret = [name for name in first if name.endswith(("PASSWORD", "KEY", "SECRET"))]
    assert len(secret) == 7
    for name in secret:
        assert first[name] != second[name] and len(first[name]) >= 20


def test_services_listen_on_loopback_and_the_targets_exist() -> None:
    services = yaml.safe_load(TEXT)["services"]
    assert all("ports" not in service for service in services.values())
    assert "0.0.0.0" not in TEXT
    targets = re.findall(r"^FROM \S+ AS (\w+)", (ROOT / "docker" / "Dockerfile").read_text(), re.M)
    used = set(re.findall(r"localhost/longtail-(\w+):", TEXT))
    assert used == {"airflow", "mlflow"} and used < set(targets)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_airflow_runs_as_a_user_that_the_image_does_not_know(tmp_path: Path) -> None:
    """What the containers write lies where any user may write; the name comes from a variable."""
    services = yaml.safe_load(TEXT)["services"]
    given = services["airflow-scheduler"]["environment"]
    passwords = Path(given["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    assert f"> {passwords} " in " ".join(services["airflow-api-server"]["command"])
    outside = {"AIRFLOW_HOME": given["AIRFLOW_HOME"], "HOME": given["HOME"], "PASSWORDS": passwords}
    inside = {name: str(path).replace("/tmp", str(tmp_path), 1) for name, path in outside.items()}
    tmp_path.chmod(0o777)
    for parent in list(tmp_path.parents)[:-2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    program = (
        "import os, pathlib; pathlib.Path(os.environ['PASSWORDS']).write_text('{}');"
        "os.makedirs(os.environ['AIRFLOW_HOME']);"
        "from airflow.utils.platform import getuser; print(getuser())"
    )
    as_user = ["setpriv", "--reuid=43210", "--regid=0", "--clear-groups"]
    env = {"PATH": os.environ["PATH"], **inside, "USER": given["USER"]}
    argv = [*as_user, sys.executable, "-c", program]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split()[-1:] == ["longtail"], done.stderr[-1500:]


def compose() -> list[str] | None:
    """Docker Compose as a plugin or a command of its own, None if it is not installed."""
    for argv in (["docker", "compose"], ["docker-compose"]):
        version = [*argv, "version"]
        if shutil.which(argv[0]) and not subprocess.run(version, capture_output=True).returncode:
            return argv
    return None


@pytest.mark.skipif(not compose(), reason="Docker Compose is not installed")
def test_compose_itself_accepts_the_file(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("\n".join(f"{k}={v}" for k, v in generated().items()))
    argv = [*(compose() or []), "--env-file", str(tmp_path / "env"), "--file",
            str(ROOT / "docker" / "compose.yaml"), "config", "--format", "json"]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    services = json.loads(done.stdout)["services"]
    assert set(services) == set(yaml.safe_load(TEXT)["services"])
    airflow = [name for name in services if name.startswith("airflow-")]
    assert len(airflow) == 5
    for name in airflow:
        settings = services[name]["environment"]
        assert settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith("postgresql")
        assert settings["LONGTAIL_RUNNER"] == "docker"


def _under(value: Any, *keys: str) -> Iterator[Any]:
    """What lies under these keys, at any depth."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        if key in keys:
            yield child
        elif isinstance(child, dict | list):
            yield from _under(child, *keys)


def test_no_password_is_an_argument() -> None:
    """Every user of a machine can read the arguments of its processes."""
    files = [ROOT / "docker" / "compose.yaml", *(ROOT / "docker" / "kubernetes").glob("*.yaml")]
    documents = [d for path in files for d in yaml.safe_load_all(path.read_text("utf-8"))]
    arguments = list(_under(documents, "command", "args", "entrypoint"))
    assert len(arguments) == 16
    # A shell reads `$$NAME` itself (compose) or `$NAME` (Kubernetes); `printf` starts no process.
    substituted = re.compile(r"(?<!\$)\$[{(]\w*(PASSWORD|SECRET|KEY)\b")
    assert not [a for a in arguments if substituted.search(str(a))]


def test_the_file_of_secrets_is_never_readable_by_others(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nstat --dereference --format=%a /proc/self/fd/1\n")
    python.chmod(0o755)
    argv = ["make", "--file", str(ROOT / "mk" / "containers.mk"), ".env", f"PYTHON={python}"]
    # For the shell of the recipe: whatever the user's umask is.
    done = subprocess.run(argv, cwd=tmp_path, umask=0o000, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".env").read_text() == "600\n"
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_the_databases_are_made_without_a_password_in_sight(tmp_path: Path) -> None:
    """The script that PostgreSQL runs at its first start, with a real server."""
    psql = program("psql")
    seen = tmp_path / "seen"
    (tmp_path / "psql").write_text(f'#!/bin/sh\necho "$@" >> {seen}\nexec {psql} "$@"\n')
    (tmp_path / "psql").chmod(0o755)
    passwords = {"airflow": "it's \\ 1 :'x'", "mlflow": 'a "b" $HOME'}
    with serve() as address:
        parts = urlsplit(address)
        env = os.environ | {"PGHOST": "127.0.0.1", "PGPORT": str(parts.port),
                            "PATH": f"{tmp_path}:{os.environ['PATH']}",
                            "PGPASSWORD": str(parts.password)}  # fmt: skip
        for name in passwords:
            drop = [psql, "--username=postgres", f"--command=DROP DATABASE {name}"]
            subprocess.run(drop, env=env, check=True, stdout=subprocess.DEVNULL)
        given = {f"{name.upper()}_DB_PASSWORD": value for name, value in passwords.items()}
        script = ["sh", str(ROOT / "docker" / "databases.sh")]
        done = subprocess.run(script, env=env | given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for name, value in passwords.items():
            argv = [psql, f"--username={name}", f"--dbname={name}", "--command=SELECT 1"]
            subprocess.run(argv, env=env | {"PGPASSWORD": value}, check=True, capture_output=True)
            assert value not in done.stdout + done.stderr + seen.read_text()
