"""What a night costs, by stage: the first run, and nights after it that bring some documents.

    python -m benchmarks.speed run FOLDER [--code NAME] [--new 100 …] [--synthetic DOCS LABELS]
    python -m benchmarks.speed {table,curve}

The default corpus (or a synthetic one) without documents drawn at random is the first run's; the
next nights bring these. Every command runs as a process of its own, with a cache in FOLDER; what
has run there is not run again. FOLDER/speed.jsonl gets a line per command; NAME says which code was
measured, or begins with "synthetic". Of results/speed.jsonl `table` prints the nights of the
default corpus, and `curve` those of synthetic ones.
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
FIRST, SYNTHETIC = "first", "synthetic"
Row = dict[str, Any]


def run(folder: Path, code: str, new: list[int], source: list[str]) -> None:
    """Run what has not run yet, and record it."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "speed.jsonl"
    done = {(row["night"], row["stage"]) for row in _lines(log)}
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    sizes = {f"{size:,} new": size for size in new}
    if not (folder / _file(FIRST)).exists():
        _portions(folder, sizes, source)
    missing = [night for night in sizes if not (folder / _file(night)).exists()]
    if missing:
        sys.exit(f"{folder} was made for other nights, without {missing[0]}; take an empty folder.")
    for night in (FIRST, *sizes):
        commands = {"ingest": ["components.ingest", "parquet", _file(night)]}
        commands |= {stage.name: list(stage.argv[2:]) for stage in load_stages(ROOT / "dvc.yaml")}
        for stage, argv in commands.items():
            if (night, stage) not in done:
                row = {"code": code, "night": night, "stage": stage, **_measured(argv, folder)}
                with log.open("a", encoding="utf-8") as file_of_rows:
                    file_of_rows.write(json.dumps(row) + "\n")
                print(row, flush=True)


def _file(night: str) -> str:
    return f"{night.replace(' ', '-')}.parquet"


def _portions(folder: Path, sizes: dict[str, int], source: list[str]) -> None:
    """Write the documents of each night, the first one's last."""
    _measured(["components.ingest", "--out", "all", *source], folder)
    frame = read_corpus(folder / "all" / "corpus.parquet")
    order = np.random.default_rng(0).permutation(len(frame))
    for night, size in sizes.items():
        rows, order = order[:size], order[size:]
        write_corpus(frame.iloc[np.sort(rows)], folder / _file(night))
    write_corpus(frame.iloc[np.sort(order)], folder / _file(FIRST))


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
    cells = {
        (row["code"], row["night"], row["stage"]): f"{row['cpu']:g} ({row['wall']:g})"
        for row in _lines(RESULTS)
        if not row["code"].startswith(SYNTHETIC)
    }
    columns = list(dict.fromkeys(key[:2] for key in cells))
    lines = ["| | " + " | ".join(f"{night}, {code}" for code, night in columns) + " |"]
    lines.append("|---|" + "---|" * len(columns))
    for stage in _commands():
        found = [cells.get((*column, stage), "not run") for column in columns]
        lines.append(f"| `{stage}` | " + " | ".join(found) + " |")
    return "\n".join(lines) + "\n"


def curve() -> str:
    """CPU seconds of each night of synthetic corpora, of all with the wall time, and by command."""
    nights: dict[tuple[str, str], dict[str, Row]] = {}
    for row in _lines(RESULTS):
        if row["code"].startswith(SYNTHETIC):
            nights.setdefault((row["code"], row["night"]), {})[row["stage"]] = row
    names = _commands()
    lines = ["| corpus | night | all | " + " | ".join(f"`{name}`" for name in names) + " |"]
    lines.append("|---|---|" + "---|" * (len(names) + 1))
    for (code, night), by_stage in nights.items():
        cpu, wall = (sum(by_stage[name][kind] for name in names) for kind in ("cpu", "wall"))
        cells = [f"{by_stage[name]['cpu']:.0f}" for name in names]
        size = code.removeprefix(f"{SYNTHETIC}, ")
        lines.append(f"| {size} | {night} | {cpu:.0f} ({wall:.0f}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _commands() -> list[str]:
    return ["ingest", *(stage.name for stage in load_stages(ROOT / "dvc.yaml"))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument("--code", default="this")
    running.add_argument("--new", type=int, nargs="+", default=[100], help="documents per night")
    running.add_argument("--synthetic", type=int, nargs=2, metavar=("DOCS", "LABELS"))
    for printed in (table, curve):
        commands.add_parser(printed.__name__).set_defaults(printed=printed)
    given = parser.parse_args()
    if given.command == "run":
        size = given.synthetic
        made = ["synthetic", "--docs", str(size[0]), "--labels", str(size[1])] if size else ["auto"]
        run(given.folder.resolve(), given.code, given.new, made)
    else:
        print(given.printed(), end="")
