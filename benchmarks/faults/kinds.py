"""The faults: each happens at once, or begins and ends after some seconds."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from benchmarks.faults.world import DAG, DISKS, ENDED, World, set_clock

Rng = np.random.Generator
Undo = Callable[[], None]
KINDS: dict[str, Callable[[World, Rng], tuple[str, Undo | None]]] = {}


def kind(
    function: Callable[[World, Rng], tuple[str, Undo | None]],
) -> Callable[[World, Rng], tuple[str, Undo | None]]:
    """Register a fault. It returns what it did, and how it ends if it lasts."""
    KINDS[function.__name__.replace("_", " ")] = function
    return function


def _kill(processes: list[psutil.Process], rng: Rng) -> str:
    if not processes:
        return "nothing to kill"
    chosen = processes[rng.integers(len(processes))]
    with suppress(psutil.Error):
        # Not where this machine keeps its programs: the lines are published.
        name = re.sub(r"\S*/bin/", "", " ".join(chosen.cmdline()))[:120]
        chosen.send_signal(signal.SIGKILL)
        return f"killed {name}"
    return "nothing to kill"


def _lines(world: World) -> list[tuple[psutil.Process, str]]:
    found = []
    for process in world.processes():
        with suppress(psutil.Error):
            found.append((process, " ".join(process.cmdline())))
    return found


@kind
def step_killed(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """SIGKILL for a stage, a command of the registry, git, or DVC."""
    words = ("components.", "dvc", "git")
    steps = [p for p, line in _lines(world) if any(word in line for word in words)]
    return _kill(steps, rng), None


@kind
def any_process_killed(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """SIGKILL for any process of Airflow or of a step."""
    return _kill(world.processes(), rng), None


@kind
def scheduler_killed(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """SIGKILL for the scheduler and the task supervisors in its group."""
    for process, line in _lines(world):
        if line.endswith("scheduler --skip-serve-logs"):
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(process.pid), signal.SIGKILL)
            return "killed the scheduler's group", None
    return "nothing to kill", None


def _tracker(world: World, mode: str) -> tuple[str, Undo | None]:
    world.tracker.mode = mode

    def well() -> None:
        world.tracker.mode = "well"

    return f"tracker {mode}", well


@kind
def tracker_down(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """The tracking server drops every connection."""
    return _tracker(world, "down")


@kind
def tracker_unwell(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """The tracking server answers 500."""
    return _tracker(world, "500")


@kind
def disk_full(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """The file system of the workspaces, of DVC's store, or of the cache has no byte left."""
    name = sorted(DISKS)[rng.integers(len(DISKS))]
    ballast = world.folder / DISKS[name][0] / ".ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 2**20)
    return f"{name} is full", lambda: ballast.unlink(missing_ok=True)


@kind
def remote_cut(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """DVC's remote is gone."""
    remote, aside = world.folder / "remote", world.folder / "remote.cut"
    if aside.exists():
        return "nothing, it is cut already", None
    remote.rename(aside)
    remote.write_text("cut")  # a file, so that nobody makes the folder anew

    def back() -> None:
        remote.unlink(missing_ok=True)
        aside.rename(remote)

    return "remote cut", back


@kind
def clock_set_back(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """The clock of Airflow and of all steps goes back by a minute to two days."""
    seconds = int(60 * 2880 ** rng.random())
    set_clock(world.folder, -seconds)
    return f"clock back by {seconds} s", lambda: set_clock(world.folder, 0)


@kind
def run_cleared(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """A person clears the newest night from a random task that has ended."""
    nights = [r["dag_run_id"] for r in world.runs() if r["dag_id"] == DAG]
    done = [t["task_id"] for t in world.tasks(DAG, nights[-1]) if t["state"] in ENDED]
    if not done:
        return "nothing to clear", None
    task = sorted(done)[rng.integers(len(done))]
    world.clear(nights[-1], task)
    return f"cleared from {task}", None


@kind
def second_trigger(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """Another run is started beside the first."""
    return f"triggered {world.night()}", None


@kind
def rolled_back(world: World, rng: Rng) -> tuple[str, Undo | None]:
    """A person starts the rollback."""
    return f"triggered {world.trigger('rollback', reason='fault campaign')}", None


def leftovers(folder: Path) -> None:
    """End what a campaign that was itself killed has left."""
    for place, _ in DISKS.values():
        (folder / place / ".ballast").unlink(missing_ok=True)
    aside = folder / "remote.cut"
    if aside.exists():
        with suppress(OSError):
            (folder / "remote").unlink()
        aside.rename(folder / "remote")


def pause(seconds: float) -> None:
    time.sleep(max(0.0, seconds))
