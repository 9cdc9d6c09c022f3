"""The compose file: every variable has a value, addresses are loopback, no secret is written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.builders.paths import ROOT

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
