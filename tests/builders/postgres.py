"""A PostgreSQL server of Debian's package: on loopback, in a folder of its own, gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.builders.faulty_server import free_port

PASSWORD = "planted-pw"
# Debian keeps the server's programs out of the PATH.
DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER = "postgres"  # made by Debian's package; the server refuses to run as root


def program(name: str) -> str:
    """The path of a program of the server.

    The test fails where `make test-slow` would have installed it, and is skipped elsewhere.
    """
    found = shutil.which(name, path=os.pathsep.join([*map(str, DEBIAN), os.environ["PATH"]]))
    if found:
        return found
    if os.getuid() == 0 and shutil.which("apt-get"):
        pytest.fail("PostgreSQL is not installed; run `apt-get install postgresql`, which `make "
                    "test-slow` does.")  # fmt: skip
    pytest.skip("PostgreSQL is not installed, and only root can install it with apt-get")


@contextmanager
def serve() -> Iterator[str]:
    """Serve two empty databases, `mlflow` and `airflow`; yields their address without the name."""
    initdb, postgres, psql = map(program, ("initdb", "postgres", "psql"))
    user = USER if os.getuid() == 0 else None
    port = free_port()
    address = f"postgresql+psycopg2://{USER}:{PASSWORD}@127.0.0.1:{port}"
    # Not below pytest's folder, which is closed to other users.
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        if user:
            for path in (folder, folder / "password"):
                os.chown(path, pwd.getpwnam(user).pw_uid, -1)
        argv = [initdb, "--pgdata", f"{name}/data", "--username", USER, "--auth=scram-sha-256",
                f"--pwfile={name}/password", "--encoding=UTF8", "--locale=C",
                "--no-sync"]  # fmt: skip
        subprocess.run(argv, cwd=name, user=user, check=True, stdout=subprocess.DEVNULL)
        argv = [postgres, "-D", f"{name}/data", "-p", str(port), "-c", "fsync=off",
                "-c", "listen_addresses=127.0.0.1",
                "-c", f"unix_socket_directories={name}"]  # fmt: skip
        with open(folder / "log", "wb") as log:
            server = subprocess.Popen(argv, cwd=name, user=user, stderr=log, stdout=log)
        try:
            env = os.environ | {"PGPASSWORD": PASSWORD}
            for database in ("mlflow", "airflow"):
                argv = [psql, "--host=127.0.0.1", f"--port={port}", f"--username={USER}",
                        "--command", f"CREATE DATABASE {database}"]  # fmt: skip
                _until_it_runs(argv, env, folder / "log")
            yield address
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _until_it_runs(argv: list[str], env: dict[str, str], log: Path) -> None:
    for _ in range(100):
        done = subprocess.run(argv, env=env, capture_output=True, text=True)
        if done.returncode == 0:
            return
        time.sleep(0.3)
    raise AssertionError(done.stderr + log.read_text()[-2000:])
