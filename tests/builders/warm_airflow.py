"""Airflow's command line in a process that has imported it already, and forks for each command.

Importing Airflow takes longer than most of a toy night. Each child has the environment and folder
that it is given, and imports the project by itself, as `python -m airflow` would.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.builders.paths import ROOT

# What a night imports beside its DAG and the libraries of one runner.
MODULES = (
    "airflow.__main__",
    "airflow.api_fastapi.common.dagbag",
    "airflow.api_fastapi.execution_api.app",
    "airflow.api_fastapi.execution_api.routes",
    "airflow.cli.commands.dag_command",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
)


def airflow(argv: list[str], env: dict[str, str], cwd: Path) -> str:
    """Run `airflow ARGV`, and return what it wrote to standard output and error."""
    # Airflow reads these when it is imported.
    warm = _warm(tuple(sorted(pair for pair in env.items() if pair[0].startswith("AIRFLOW"))))
    assert warm.stdin and warm.stdout
    with tempfile.NamedTemporaryFile() as output:
        request = {"argv": argv, "env": env, "cwd": str(cwd), "output": output.name}
        try:
            warm.stdin.write(json.dumps(request) + "\n")
            warm.stdin.flush()
            assert warm.stdout.readline(), "the process that has imported Airflow is dead"
        except BaseException:  # a test's time limit: the answer would be taken for the next one's
            warm.kill()
            _warm.cache_clear()
            raise
        return output.read().decode(errors="replace")


@cache
def _warm(settings: tuple[tuple[str, str], ...]) -> subprocess.Popen[str]:
    others = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.builders.warm_airflow"],
        env=others | dict(settings) | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(process.kill)
    return process


def main() -> None:
    """Answer each request with a line, when the command has ended."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what an import prints is no answer
    for name in MODULES:
        import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _command(json.loads(line))
        os.waitpid(child, 0)
        os.write(answers, b"done\n")


def _command(request: dict[str, Any]) -> None:
    from airflow.__main__ import main as command

    output = os.open(request["output"], os.O_WRONLY | os.O_APPEND)
    for old, new in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(old, new)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["airflow", *request["argv"]]
    try:
        command()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
