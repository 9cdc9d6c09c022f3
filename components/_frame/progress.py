"""Shows the progress of long work: a bar on a terminal, elsewhere a line every 30 seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components._frame.ranks import rank

LINE_SECONDS = 30.0
# Shorter work shows no bar, which would only flicker.
PATIENCE_SECONDS = 1.0

Report = Callable[[int, int | None], None]


@contextmanager
def progress(what: str, unit: str) -> Iterator[Report]:
    """Yield a function `(done, total)` that shows progress; `total` is None if unknown.

    Args:
        what: the work, such as "db head".
        unit: what is counted, in the plural, such as "epochs".
    """
    if rank():  # the first one reports
        yield lambda done, total: None
        return
    console = Console(stderr=True)
    with (_bar if console.is_terminal else _lines)(what, unit, console) as show:
        yield show


@contextmanager
def _bar(what: str, unit: str, console: Console) -> Iterator[Report]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    started = time.monotonic()
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None, visible=False)

        def show(done: int, total: int | None) -> None:
            late = time.monotonic() - started > PATIENCE_SECONDS
            bar.update(task, completed=done, total=total, visible=late)

        yield show


@contextmanager
def _lines(what: str, unit: str, console: Console) -> Iterator[Report]:
    """Print lines from a thread, so that they come even while one step takes minutes."""
    latest: tuple[int, int | None] = (0, None)
    started, ended = time.monotonic(), threading.Event()

    def show(done: int, total: int | None) -> None:
        nonlocal latest
        latest = (done, total)

    def print_lines() -> None:
        while not ended.wait(LINE_SECONDS):
            line = progress_line(what, unit, *latest, time.monotonic() - started)
            print(line, file=console.file, flush=True)

    printer = threading.Thread(target=print_lines, daemon=True)
    printer.start()
    try:
        yield show
    finally:
        ended.set()
        printer.join()


def progress_line(what: str, unit: str, done: int, total: int | None, seconds: float) -> str:
    """How far, how fast, and how long to go.

    >>> progress_line("features", "documents", 4096, 12619, 64.0)
    'features: 4,096 of 12,619 documents, 64.0 per second, about 2 min 13 s left'
    >>> progress_line("predict", "documents", 512, None, 64.0)
    'predict: 512 documents, 8.0 per second'
    >>> progress_line("db head", "epochs", 3, 30, 12.0)
    'db head: 3 of 30 epochs, 4.0 s each, about 1 min 48 s left'
    """
    rate = done / seconds if seconds > 0 else 0.0
    each = 1 / rate if 0 < rate < 1 else None
    speed = f"{each:.1f} s each" if each else f"{rate:,.1f} per second"
    if total is None:
        return f"{what}: {done:,} {unit}, {speed}"
    left = f", about {duration((total - done) / rate)} left" if rate else ""
    return f"{what}: {done:,} of {total:,} {unit}, {speed}{left}"


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds.

    >>> duration(42.3), duration(133.2), duration(7260)
    ('42 s', '2 min 13 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
