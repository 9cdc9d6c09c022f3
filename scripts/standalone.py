"""Airflow's four processes on loopback, with the DAGs and the pool in place (`make airflow`).

The same processes as `airflow standalone`, but without its log servers, which listen on every
address, and with an end: Ctrl-C or TERM stops the whole process group, where standalone leaves its
children behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AIRFLOW = [sys.executable, "-m", "airflow"]
PARTS = (
    ["api-server"],
    ["scheduler", "--skip-serve-logs"],
    ["dag-processor"],
    ["triggerer", "--skip-serve-logs"],
)


def environment() -> dict[str, str]:
    """Settings of this installation; what the caller has set stays."""
    port = os.environ.get("AIRFLOW__API__PORT", "8080")
    ours = {
        "AIRFLOW_HOME": str(ROOT / ".airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "MLFLOW_TRACKING_URI": f"sqlite:///{ROOT}/mlflow.db",
        "PYTHONPATH": str(ROOT),
    }
    return {**ours, **os.environ, "PYTHONPATH": str(ROOT)}


def prepare(env: dict[str, str]) -> None:
    """Database, and the pool whose one slot training waits for."""
    for words in (["db", "migrate"], ["pools", "set", "gpu", "1", "One training at a time"]):
        subprocess.run([*AIRFLOW, *words], env=env, check=True, stdout=subprocess.DEVNULL)


def wait_until_healthy(env: dict[str, str], parts: list[subprocess.Popen[bytes]]) -> None:
    """Return when the API answers. Raises RuntimeError where it does not within five minutes."""
    address = f"http://127.0.0.1:{env['AIRFLOW__API__PORT']}/api/v2/monitor/health"
    for _ in range(300):
        if any(part.poll() is not None for part in parts):
            raise RuntimeError("A part of Airflow ended while starting; its output says why.")
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                found = json.load(answer)
            names = ("metadatabase", "scheduler", "dag_processor", "triggerer")
            if all(found[name]["status"] == "healthy" for name in names):
                return
        except OSError:
            pass
        time.sleep(1)
    raise RuntimeError(f"{address} was not healthy after five minutes.")


def stop(parts: list[subprocess.Popen[bytes]]) -> None:
    """TERM to every part's process group, KILL to what is left after twenty seconds."""
    for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        for part in parts:
            with suppress(ProcessLookupError):
                os.killpg(part.pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(alive(part) for part in parts):
            time.sleep(0.5)


def alive(part: subprocess.Popen[bytes]) -> bool:
    """Whether any process of the part's group is left."""
    part.poll()
    try:
        os.killpg(part.pid, 0)
    except ProcessLookupError:
        return False
    return True


def start(words: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*AIRFLOW, *words], env=env, start_new_session=True)


def watch(parts: list[subprocess.Popen[bytes]], env: dict[str, str]) -> None:
    """Start every part again that has ended, as a service manager would."""
    while True:
        time.sleep(2)
        for i, words in enumerate(PARTS):
            if parts[i].poll() is not None:
                print(f"airflow {words[0]} has ended; it is started again.", flush=True)
                parts[i] = start(words, env)


def main() -> None:
    env = environment()
    prepare(env)
    parts = [start(words, env) for words in PARTS]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        wait_until_healthy(env, parts)
        secrets = Path(env["AIRFLOW_HOME"]) / "simple_auth_manager_passwords.json.generated"
        address = f"http://127.0.0.1:{env['AIRFLOW__API__PORT']}"
        for user, password in json.loads(secrets.read_text()).items():
            print(f"\n{address}  user {user}  password {password}\n", flush=True)
        watch(parts, env)
    except KeyboardInterrupt:
        pass
    finally:
        stop(parts)


if __name__ == "__main__":
    main()
