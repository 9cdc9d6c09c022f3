"""Airflow standalone on loopback with the DAGs, the pool and the log servers set (`make airflow`).

Leaving it (Ctrl-C, TERM) ends the whole process group; Airflow alone would leave its children.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AIRFLOW = [sys.executable, "-m", "airflow"]


def environment() -> dict[str, str]:
    """Settings of this installation; what the caller has set stays."""
    port = os.environ.get("AIRFLOW__API__PORT", "8080")
    ours = {
        "AIRFLOW_HOME": str(ROOT / ".airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "MLFLOW_TRACKING_URI": f"sqlite:///{ROOT}/mlflow.db",
        "PYTHONPATH": str(ROOT),
    }
    return {**ours, **os.environ, "PYTHONPATH": str(ROOT)}


def prepare(env: dict[str, str]) -> None:
    """Database, and the pool whose one slot training waits for."""
    for words in (["db", "migrate"], ["pools", "set", "gpu", "1", "One training at a time"]):
        subprocess.run([*AIRFLOW, *words], env=env, check=True, stdout=subprocess.DEVNULL)


def wait_until_healthy(env: dict[str, str], server: subprocess.Popen[bytes]) -> None:
    """Return when the API answers. Raises RuntimeError where it does not within five minutes."""
    address = f"http://127.0.0.1:{env['AIRFLOW__API__PORT']}/api/v2/monitor/health"
    for _ in range(300):
        if server.poll() is not None:
            raise RuntimeError("Airflow ended while starting; its output above says why.")
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                parts = json.load(answer)
            if all(parts[name]["status"] == "healthy" for name in ("metadatabase", "scheduler")):
                return
        except OSError:
            pass
        time.sleep(1)
    raise RuntimeError(f"{address} was not healthy after five minutes.")


def stop(server: subprocess.Popen[bytes]) -> None:
    """TERM to the whole group, KILL for what is left after twenty seconds."""
    for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            return
        time.sleep(1)
        for _ in range(patience):
            try:
                os.killpg(server.pid, 0)
            except ProcessLookupError:
                return
            server.poll()
            time.sleep(1)


def main() -> None:
    env = environment()
    prepare(env)
    server = subprocess.Popen([*AIRFLOW, "standalone"], env=env, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        wait_until_healthy(env, server)
        secrets = Path(env["AIRFLOW_HOME"]) / "simple_auth_manager_passwords.json.generated"
        for user, password in json.loads(secrets.read_text()).items():
            print(f"\nhttp://127.0.0.1:{env['AIRFLOW__API__PORT']}  user {user}  password {password}\n",
                  flush=True)  # fmt: skip
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        stop(server)


if __name__ == "__main__":
    main()
