"""Runs Airflow's four processes on loopback, with the project's DAGs (`make airflow`).

The same processes as `airflow standalone`, but without its log servers, which listen on every
address, and with a clean end: Ctrl-C or TERM stops every process group, where standalone leaves
its children behind.
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
SERVICES = (
    ["api-server"],
    ["scheduler", "--skip-serve-logs"],
    ["dag-processor"],
    ["triggerer", "--skip-serve-logs"],
)


def environment() -> dict[str, str]:
    """Settings of this installation; the caller's own take precedence."""
    port = os.environ.get("AIRFLOW__API__PORT", "8080")
    defaults = {
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
    return {**defaults, **os.environ, "PYTHONPATH": str(ROOT)}


def prepare(env: dict[str, str]) -> None:
    """Create or migrate Airflow's database."""
    subprocess.run([*AIRFLOW, "db", "migrate"], env=env, check=True, stdout=subprocess.DEVNULL)


def wait_until_healthy(env: dict[str, str], processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait until the API reports all services as healthy.

    Raises:
        RuntimeError: A process exited, or five minutes have passed.
    """
    address = f"http://127.0.0.1:{env['AIRFLOW__API__PORT']}/api/v2/monitor/health"
    for _ in range(300):
        if any(process.poll() is not None for process in processes):
            raise RuntimeError("An Airflow process exited during startup; its output says why.")
        try:
            with urllib.request.urlopen(address, timeout=2) as response:
                health = json.load(response)
            names = ("metadatabase", "scheduler", "dag_processor", "triggerer")
            if all(health[name]["status"] == "healthy" for name in names):
                return
        except OSError:
            pass
        time.sleep(1)
    raise RuntimeError(f"{address} was not healthy after five minutes.")


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Send TERM to every process group, and KILL to those still alive after twenty seconds."""
    for number, grace in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(alive(process) for process in processes):
            time.sleep(0.5)


def alive(process: subprocess.Popen[bytes]) -> bool:
    """Whether any process of its group is left."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def start(arguments: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*AIRFLOW, *arguments], env=env, start_new_session=True)


def watch(processes: list[subprocess.Popen[bytes]], env: dict[str, str]) -> None:
    """Restart every process that exits, as a service manager would.

    The one that has exited stays in the list, at its end: its children may live on, and `stop` ends
    them with the others.
    """
    while True:
        time.sleep(2)
        for i, arguments in enumerate(SERVICES):
            if processes[i].poll() is not None:
                print(f"airflow {arguments[0]} exited; restarting it.", flush=True)
                processes.append(processes[i])
                processes[i] = start(arguments, env)


def main() -> None:
    env = environment()
    prepare(env)
    processes = [start(arguments, env) for arguments in SERVICES]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        wait_until_healthy(env, processes)
        secrets = Path(env["AIRFLOW_HOME"]) / "simple_auth_manager_passwords.json.generated"
        address = f"http://127.0.0.1:{env['AIRFLOW__API__PORT']}"
        for user, password in json.loads(secrets.read_text()).items():
            print(f"\n{address}  user {user}  password {password}\n", flush=True)
        watch(processes, env)
    except KeyboardInterrupt:
        pass
    finally:
        stop(processes)


if __name__ == "__main__":
    main()
