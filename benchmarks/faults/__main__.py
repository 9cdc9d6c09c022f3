"""Nights through Airflow's real scheduler with faults drawn at random, and what must hold after.

    python -m benchmarks.faults FOLDER --seeds 0 100     # needs root: small file systems of its own
    python -m benchmarks.faults FOLDER --seeds 17 18     # play one seed again (in a new FOLDER)
    python -m benchmarks.faults table                    # the table of docs/benchmarks/faults.md

A seed is a night on a small corpus into which 30 to 45 faults are thrown, each at a random
moment, and then an undisturbed night. Runs of Airflow, MLflow's server, git, DVC, and the stages
are real; only the corpus is small. What was thrown and what broke goes to
benchmarks/results/faults.jsonl, a line per seed; seeds that are there already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults import invariants, kinds
from benchmarks.faults.world import DAG, World, unmount, world

RESULTS = Path(__file__).parents[1] / "results" / "faults.jsonl"
FEWEST, MOST = 30, 45  # faults in a night; seeds 0 to 6 were played with 12 to 27
SPAN = 300.0  # seconds in which they begin
LASTING = (5.0, 60.0)  # seconds that a lasting one takes


def drawn(seed: int, n: int | None = None) -> list[tuple[str, float, float]]:
    """The faults of a seed, each with the second at which it begins and how long it would last."""
    rng = np.random.default_rng(seed)
    names = rng.choice(sorted(kinds.KINDS), size=n or rng.integers(FEWEST, MOST + 1))
    begins = np.sort(rng.uniform(0, SPAN, len(names)))
    lasts = rng.uniform(*LASTING, len(names))
    return list(zip(map(str, names), begins.tolist(), lasts.tolist(), strict=True))


def disturbed(
    found: World, seed: int, faults: list[tuple[str, float, float]]
) -> list[dict[str, Any]]:
    """One night with these faults; returns what was thrown."""
    rng = np.random.default_rng([seed])
    found.deliver()
    found.night()
    started, ends, thrown = time.monotonic(), [], []
    for name, begin, last in faults:
        while ends and ends[0][0] <= begin:
            at, undo = ends.pop(0)
            kinds.pause(started + at - time.monotonic())
            undo()
        kinds.pause(started + begin - time.monotonic())
        what, undo = kinds.KINDS[name](found, rng)
        if undo is not None:
            ends = sorted([*ends, (begin + last, undo)], key=lambda pair: pair[0])
        thrown.append({"kind": name, "second": round(float(begin)), "what": what})
        print(f"  {begin:5.0f} s  {name}: {what}", flush=True)
    for at, undo in ends:
        kinds.pause(started + at - time.monotonic())
        undo()
    return thrown


def play(found: World, state: invariants.State, seed: int, n: int | None = None) -> dict[str, Any]:
    """A night with the faults of this seed, or `n` of them, and one without; what broke."""
    print(f"seed {seed}", flush=True)
    before, said = {r["dag_run_id"] for r in found.runs()}, len(found.notices.heard)
    found.prune()
    thrown = disturbed(found, seed, drawn(seed, n))
    problems: list[str] = []
    try:
        found.wait()
        runs = [r for r in found.runs() if r["dag_run_id"] not in before]
        problems += invariants.broken(found, state, runs, said)
        said = len(found.notices.heard)
        found.release()
        quiet = found.night()
        found.wait()
        last = next(r for r in found.runs() if r["dag_run_id"] == quiet)
        if last["state"] != "success":
            failed = [t["task_id"] for t in found.tasks(DAG, quiet) if t["state"] == "failed"]
            heard = [text[:300] for _, text, _ in found.notices.heard[said:]]
            problems.append(f"the undisturbed night failed in {failed}: {heard}")
        after = invariants.broken(found, state, [last], said)
        problems += [f"undisturbed: {p}" for p in after if p not in problems]
        problems += invariants.undelivered(found, state)
    except TimeoutError as error:
        problems.append(f"the night hangs {error}")
    states = Counter(r["state"] for r in found.runs() if r["dag_run_id"] not in before)
    for problem in problems:
        print(f"  BROKEN: {problem}", flush=True)
    return {"seed": seed, "faults": thrown, "runs": dict(states), "broken": problems}


def recorded() -> list[dict[str, Any]]:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def campaign(folder: Path, seeds: range) -> None:
    left = [seed for seed in seeds if seed not in {row["seed"] for row in recorded()}]
    if folder.exists():
        kinds.leftovers(folder)
    with world(folder) as found:
        state = invariants.State()
        found.night()
        found.wait()
        invariants.broken(found, state, [], 0)
        for seed in left:
            row = play(found, state, seed)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    unmount(folder)


def table() -> str:
    rows = recorded()
    thrown = Counter(fault["kind"] for row in rows for fault in row["faults"]
                     if not fault["what"].startswith("nothing"))  # fmt: skip
    lines = ["| fault | thrown |", "|---|---:|"]
    lines += [f"| {name} | {n} |" for name, n in sorted(thrown.items())]
    broken = sum(bool(row["broken"]) for row in rows)
    lines += [f"| **all** | **{thrown.total()}** |", ""]
    return "\n".join([*lines, f"{len(rows)} disturbed nights, {broken} with a broken invariant."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the world is built, or `table`")
    parser.add_argument("--seeds", nargs=2, type=int, default=(0, 100), metavar=("FROM", "TO"))
    arguments = parser.parse_args()
    if arguments.folder == Path("table"):
        return print(table())
    return campaign(arguments.folder.resolve(), range(*arguments.seeds))


if __name__ == "__main__":
    main()
