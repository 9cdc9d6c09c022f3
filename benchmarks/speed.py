"""What a night costs, by stage: the first run, and the night after it that brings 100 documents.

    python -m benchmarks.speed run FOLDER [--code NAME]
    python -m benchmarks.speed table

The default corpus without 100 documents drawn at random is the first run's; the next night brings
these. Every command runs as a process of its own, with a cache in FOLDER; what has run there is not
run again. FOLDER/speed.jsonl gets a line per command; NAME says which code was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from components._formats.corpus import read_corpus, write_corpus
from components._frame.pipeline import load_stages

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "speed.jsonl"
N_NEW = 100
NIGHTS = {"first": "first.parquet", "second": "new.parquet"}
Row = dict[str, Any]


def run(folder: Path, code: str) -> None:
    """Run what has not run yet, and record it."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "speed.jsonl"
    done = {(row["night"], row["stage"]) for row in _lines(log)}
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    if not (folder / NIGHTS["second"]).exists():
        _portions(folder)
    for night, file in NIGHTS.items():
        commands = {"ingest": ["components.ingest", "parquet", file]}
        commands |= {stage.name: list(stage.argv[2:]) for stage in load_stages(ROOT / "dvc.yaml")}
        for stage, argv in commands.items():
            if (night, stage) not in done:
                row = {"code": code, "night": night, "stage": stage, **_measured(argv, folder)}
                with log.open("a", encoding="utf-8") as file_of_rows:
                    file_of_rows.write(json.dumps(row) + "\n")
                print(row, flush=True)


def _portions(folder: Path) -> None:
    """Write the documents of both nights."""
    _measured(["components.ingest", "auto", "--out", "all"], folder)
    frame = read_corpus(folder / "all" / "corpus.parquet")
    new = np.zeros(len(frame), dtype=bool)
    new[np.random.default_rng(0).choice(len(frame), N_NEW, replace=False)] = True
    write_corpus(frame[~new], folder / NIGHTS["first"])
    write_corpus(frame[new], folder / NIGHTS["second"])


def _measured(argv: list[str], folder: Path) -> Row:
    """Run a command: seconds of wall time, CPU seconds with all its processes, its last line."""
    environment = os.environ | {"LONGTAIL_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    said = folder / "said.log"
    start = time.perf_counter()
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *argv], cwd=folder, env=environment, stdout=file, stderr=file
        )
        _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    text = said.read_text(encoding="utf-8")
    if process.returncode:
        sys.exit(f"{argv[0]} ended with {process.returncode}:\n{text[-3000:]}")
    return {
        "wall": round(wall, 1),
        "cpu": round(used.ru_utime + used.ru_stime, 1),
        "said": text.strip().splitlines()[-1],
    }


def _lines(path: Path) -> list[Row]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table() -> str:
    """CPU seconds of each command with all its processes, in parentheses seconds of wall time."""
    rows = _lines(RESULTS)
    cells = {
        (row["code"], row["night"], row["stage"]): f"{row['cpu']:g} ({row['wall']:g})"
        for row in rows
    }
    columns = list(dict.fromkeys(key[:2] for key in cells))
    stages = ["ingest", *(stage.name for stage in load_stages(ROOT / "dvc.yaml"))]
    lines = ["| | " + " | ".join(f"{night} run, {code}" for code, night in columns) + " |"]
    lines.append("|---|" + "---|" * len(columns))
    for stage in stages:
        found = [cells.get((*column, stage), "not run") for column in columns]
        lines.append(f"| `{stage}` | " + " | ".join(found) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument("--code", default="this")
    commands.add_parser("table")
    given = parser.parse_args()
    if given.command == "run":
        run(given.folder.resolve(), given.code)
    else:
        print(table(), end="")
