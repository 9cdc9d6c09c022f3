"""A hundred nights in which only the training is a stand-in: disk use, and time of the bookkeeping.

    python -m benchmarks.retention --folder FOLDER --nights 100

Each night goes through the code of the nightly run: a source with a new file and `ingest`,
workspace, plan, record, `register` on a real MLflow store, every fourth night a champion; every
two weeks what `make prune APPLY=1` removes. Small files with random bytes stand in for what the
stages write. DVC runs in forks of this process: its start-up, always the same, hides nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dags import _retention, _source, _tools
from dags import _workspace as ws
from dags._settings import Settings, load_settings
from scripts import prune

ROOT = Path(__file__).parents[1]
START = datetime(2026, 1, 1, 2, tzinfo=UTC)
KEEP_NIGHTS, KEEP_DAYS, KEEP_VERSIONS, PRUNE_EVERY = 14, 7, 5, 14
NIGHT_MB, MODEL_MB = 2.0, 1.0
SHOWN = 12


def dvc_here(cwd: Path, *argv: str) -> str:
    """`dags._workspace.dvc` in a fork of this process, which has imported DVC already."""
    from dvc.cli import main

    with tempfile.TemporaryFile("w+") as output:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.chdir(cwd)
            os.dup2(output.fileno(), 1)
            code = main(list(argv))
            sys.stdout.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        printed = output.read().strip()
    if status:
        raise _tools.ToolError(f"dvc {' '.join(argv)} failed: {printed[-500:]}")
    return printed


def make_project(folder: Path) -> None:
    """The project's code, under git and DVC, with a first corpus and the tests' parameters."""
    from tests.builders.nights import run
    from tests.builders.registry_workspace import build

    build(folder.with_name("template"), blend_weight=0.3)
    run("git", "clone", "--quiet", str(ROOT), str(folder), cwd=ROOT)
    run("git", "checkout", "--quiet", "-B", "main", cwd=folder)
    documents(folder / "first.jsonl", 0)
    ingest(folder, ["jsonl", "first.jsonl"])
    dvc_here(folder, "add", "--quiet", "data")
    run("git", "add", "data.dvc", cwd=folder)
    run("git", "commit", "--quiet", "-m", "Start", cwd=folder)


def documents(path: Path, night: int) -> None:
    """Twenty new documents."""
    rows = ({"id": f"{night}-{k}", "text": f"text {night} {k}", "labels": ["a"]} for k in range(20))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def ingest(folder: Path, arguments: Sequence[str]) -> None:
    from components.ingest import command

    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        command.main(list(arguments), "ingest", standalone_mode=False)


def stand_in(folder: Path) -> None:
    """What the stages would write: valid small files, and random bytes of the outputs' size."""
    template = folder.parents[2] / "template"
    for name in ("artifacts", "reports"):
        shutil.rmtree(folder / name)
        shutil.copytree(template / name, folder / name)
    for stage in ws.load_stages(folder / "dvc.yaml"):
        for out in stage.outs:
            if not (folder / out).exists():
                (folder / out).parent.mkdir(parents=True, exist_ok=True)
                (folder / out).write_bytes(os.urandom(1000))
    (folder / "artifacts/train/model/pad.bin").write_bytes(os.urandom(int(MODEL_MB * 1e6)))
    pad = int((NIGHT_MB - MODEL_MB) * 1e6)
    (folder / "artifacts/train/comparison").write_bytes(os.urandom(pad))


def night(settings: Settings, number: int, source: Path) -> dict[str, float]:
    """One night; the CPU seconds of each step of the bookkeeping."""
    from components import register
    from components._registry import champion
    from components._registry import client as registry

    key = ws.record_key(START + timedelta(days=number))
    documents(source / f"{number:03}.jsonl", number)
    seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(step: str) -> Iterator[None]:
        before = os.times()
        yield
        after = os.times()
        seconds[step] = sum(after[:4]) - sum(before[:4])

    with timed("workspace"):
        ws.clean(settings.workspaces, settings.keep_days)
        checkout = ws.prepare(settings.repo, settings.workspaces / key, key)
        argv = _source.ingest_command(str(source), checkout, update=False)
    assert argv is not None and argv[4] == f"incoming/{number:03}.jsonl"
    with timed("ingest"):
        ingest(checkout.folder, argv[3:])
    stages = ws.load_stages(settings.repo / "dvc.yaml")
    with timed("plan"):
        assert ws.stale_stages(checkout, stages, False, None)
    stand_in(checkout.folder)
    with timed("record"):
        revision = ws.record(checkout)
    os.environ |= {"LONGTAIL_LOGICAL_DATE": key, "LONGTAIL_DATA_REVISION": revision}
    with contextlib.chdir(checkout.folder):
        params = register.load_params("register", register.Params)
        with timed("register"):
            found = register.register(params)
        assert not found["reused"]
        client = registry.connect()
        if number % 4 == 1:
            version = registry.by_number(client, found["name"], found["version"])
            assert version is not None
            with contextlib.redirect_stdout(io.StringIO()):
                champion.move(client, version, action="promote", why="a stand-in")
    ws.mark_decided(checkout)
    return seconds


def age(settings: Settings, number: int) -> None:
    """Let every workspace look as old as it would be."""
    for place in settings.workspaces.iterdir():
        made = datetime.strptime(place.name, "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC)
        moment = time.time() - (START + timedelta(days=number) - made).total_seconds()
        os.utime(place, (moment, moment))


def disk(folder: Path) -> float:
    """Megabytes; a file with several links counts once."""
    done = subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) / 1000


def prune_now(settings: Settings) -> float:
    """What `make prune APPLY=1` removes, without the table; the seconds it took."""
    started = time.perf_counter()
    needed = prune.registry(settings, ["--apply", "--keep-versions", str(KEEP_VERSIONS)])
    _retention.remove(settings, _retention.old(settings, needed))
    return time.perf_counter() - started


def main() -> None:
    """Run the nights, and print a line for some of them and the two figures at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--nights", type=int, default=100)
    given = parser.parse_args()
    folder = given.folder.resolve()
    os.environ |= {"LONGTAIL_HOME": str(folder / "home"), "LONGTAIL_REPO": str(folder / "project")}
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    settings = replace(load_settings(), keep_days=KEEP_DAYS, keep_nights=KEEP_NIGHTS)
    settings.state.mkdir(parents=True)
    os.environ |= {**settings.store, "LONGTAIL_CACHE": f"{settings.state}/cache"}
    os.environ |= {"DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(ROOT)}
    ws.dvc = _tools.dvc = dvc_here
    _retention.dvc = dvc_here
    (folder / "source").mkdir()
    make_project(folder / "project")
    empty, totals, used = disk(folder), [], []
    for number in range(1, given.nights + 1):
        seconds = night(settings, number, folder / "source")
        age(settings, number)
        pruned = prune_now(settings) if number % PRUNE_EVERY == 0 else None
        totals.append(sum(seconds.values()))
        used.append(disk(folder) - empty)
        if number <= 8 or number % SHOWN == 4 or number == given.nights:
            shown = "  ".join(f"{step} {value:.1f}" for step, value in seconds.items())
            took = f"  pruned in {pruned:.0f} s" if pruned is not None else ""
            print(f"night {number}: {used[-1]:.0f} MB; CPU s: {totals[-1]:.1f} = {shown}{took}",
                  flush=True)  # fmt: skip
    early, late = sorted(totals[2:7])[2], sorted(totals[-5:])[2]
    print(f"disk: {used[-1]:.0f} MB at the end, {max(used):.0f} MB at most")
    print(f"bookkeeping: {early:.1f} s around night 5, {late:.1f} s in the last five (medians); "
          f"ratio {late / early:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
