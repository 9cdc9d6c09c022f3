"""Strange inputs in the running project: how many were tried, and which were not answered well.

Run in the project's root after `make run` (a champion and a model are needed):

    python -m benchmarks.strange_inputs                 # all of them, an hour of one core
    python -m benchmarks.strange_inputs --only predict  # the groups whose name begins so
    python -m benchmarks.strange_inputs --only serving  # requests to the champion's server

Answered well is: an exit code of the project's (0, 2, 3, 4, 75), no stack trace, a sentence for
every refusal, no more than 20,000 characters, and within 60 seconds. Every other one is printed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.strange_inputs import data_side, requests
from benchmarks.strange_inputs.cases import Case, groups
from components._cli.check import SECTIONS
from components._frame.launch import guarded
from longtail.models.bundled import BUNDLED
from longtail.models.encoder import without_weights

SECONDS, MOST_OUTPUT = 60, 20_000
CODES = (0, 2, 3, 4, 75)
# What a workspace has of the finished run: links to what is only read, copies of the rest.
LINKED = ("artifacts", "data", "components", "longtail", "dags", "dvc.yaml", "dvc.lock", "data.dvc")
COPIED = ("params.yaml", "reports", "mlflow.db")


def workspace(run: Path, folder: Path) -> None:
    for name in LINKED:
        (folder / name).symlink_to(run / name)
    for name in COPIED:
        copy = shutil.copytree if (run / name).is_dir() else shutil.copy
        copy(run / name, folder / name)


def child(case: Case, folder: Path) -> None:
    """Run the command in this process, which has been forked for it."""
    os.chdir(folder)
    os.setsid()
    out = os.open("../output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    source = os.open("../stdin", os.O_RDONLY)
    for target, number in ((source, 0), (out, 1), (out, 2)):
        os.dup2(target, number)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(i, mode, encoding="utf-8") for i, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    sys.argv = [case.argv[0], *case.argv[1:]]
    code: object = 0
    module, _, function = case.argv[0].partition(":")
    try:
        if function:
            guarded(function, getattr(importlib.import_module(module), function))
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def tried(case: Case, run: Path) -> tuple[str, str]:
    """What is wrong with the answer, empty if nothing, and the end of the output."""
    top = Path(tempfile.mkdtemp(prefix="strange-"))
    try:
        folder = top / "workspace"
        folder.mkdir()
        workspace(run, folder)
        for name, content in case.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(content)
        (top / "stdin").write_bytes(case.stdin)
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            child(case, folder)
        code = None
        while code is None and time.monotonic() - started < SECONDS:
            done, status = os.waitpid(pid, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if done else None
            time.sleep(0.01)
        if code is None:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        output = (top / "output").read_text("utf-8", errors="replace")
        return judged(code, output), output[-600:]
    finally:
        shutil.rmtree(top, ignore_errors=True)


def _serve(run: Path, counts: Counter[str], bad: Counter[str]) -> None:
    """Ask the champion's server, and print what was slow, large, or wrong."""
    with tempfile.TemporaryDirectory(prefix="strange-") as name:
        workspace(run, Path(name))
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{name}/mlflow.db"
        with requests.served(Path(name)) as (address, pid):
            print(f"The server has {requests.megabytes(pid):.0f} MB.")
            for found in requests.answers(address, pid):
                counts["serving"] += 1
                bad["serving"] += bool(found.wrong)
                if found.wrong or found.seconds > 1:
                    print(
                        f"serving: {found.name}: {found.status}, {found.seconds:.1f} s, "
                        f"{found.growth:+.0f} MB: {found.reason or found.wrong}", flush=True
                    )  # fmt: skip


def judged(code: int | None, output: str) -> str:
    if code is None:
        return f"not answered within {SECONDS} s"
    if "Traceback (most recent call last)" in output:
        return f"a stack trace (exit code {code})"
    if code not in CODES:
        return f"exit code {code}"
    if code and not output.strip():
        return f"exit code {code} without a word"
    # What was asked for may be long; what is wrong with it may not.
    return f"{len(output):,} characters" if code and len(output) > MOST_OUTPUT else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path(), help="folder of the finished run")
    parser.add_argument("--only", default="", help="groups whose name begins so")
    arguments = parser.parse_args()
    run = arguments.run.resolve()
    # What they import is there for every case.
    stages = ("components.split", "components.baseline", "components.validate", "components.ingest")
    for name in (*stages, "components.promote", *SECTIONS.values()):
        importlib.import_module(name)
    without_weights(BUNDLED)
    document = yaml.safe_load((run / "params.yaml").read_text("utf-8"))
    found = [*data_side.cases(), *groups(document)]
    cases = [case for case in found if case.group.startswith(arguments.only)]
    counts, bad, slowest = Counter[str](), Counter[str](), 0.0
    for case in cases:
        started = time.monotonic()
        wrong, output = tried(case, run)
        slowest = max(slowest, time.monotonic() - started)
        counts[case.group] += 1
        if wrong:
            bad[case.group] += 1
            print(f"{case.group}: {case.name}: {wrong}\n    {output.strip()[-400:]!r}", flush=True)
    if "serving".startswith(arguments.only):
        _serve(run, counts, bad)
    table = Table("group", "tried", "not answered well")
    for group, n in counts.items():
        table.add_row(group, str(n), str(bad[group]))
    table.add_row("all", str(counts.total()), str(bad.total()), style="bold")
    Console().print(table)
    print(f"The slowest took {slowest:.0f} s.")


if __name__ == "__main__":
    main()
