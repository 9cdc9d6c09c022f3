"""Prints one screen: the champion, what waits, what is held, queues, disk, the last nights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components._frame.exit_codes import TemporaryError
from dags import _tools, _workspace
from dags._settings import Settings, load_settings
from longtail.errors import DataError, ParameterError
from scripts import standalone

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

NIGHTS = 5
RUNS = """select run_id, state, coalesce(logical_date, run_after) as night, start_date, end_date
    from dag_run where dag_id = 'nightly_retraining' order by run_after desc"""
FAILED = "select task_id from task_instance where state = 'failed' and run_id = :run_id"


def registry_rows(settings: Settings) -> Iterator[tuple[str, str]]:
    """The champion, what waits for approval, and what is held."""
    # After the environment is set, which MLflow reads.
    from components._registry import approval, hold
    from components._registry import client as registry

    client, name = registry.connect(), registry.model_name()
    with registry.reachable():
        champion = registry.by_alias(client, name, registry.CHAMPION)
        yield "champion", "none yet" if champion is None else _described(settings, champion)
        known = registry.versions(client, name)
        waiting = [str(version.version) for version in approval.waiting(client, name, known)]
        yield "waits", f"version {', '.join(waiting)} for approval" if waiting else "nothing"
        held = registry.held(client, name)
        yield "held", hold.sentence(held) if held else "nothing"


def _described(settings: Settings, champion: ModelVersion) -> str:
    """The version, its age, and its honest score if the watch has measured one."""
    made = datetime.fromtimestamp(champion.creation_timestamp / 1000, UTC)
    days = (datetime.now(UTC) - made).days
    score = honest_score(settings, str(champion.version))
    return f"version {champion.version}, registered {days} days ago ({made:%Y-%m-%d}); {score}"


def honest_score(settings: Settings, version: str) -> str:
    """What the newest watch says of the champion."""
    reports = [*settings.workspaces.glob("*/reports/drift.json"),
               settings.repo / "reports" / "drift.json"]  # fmt: skip
    there = [path for path in reports if path.exists()]
    for path in sorted(there, key=lambda path: path.stat().st_mtime, reverse=True):
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        measured = (found.get("watch") or {}).get("measured")
        if str(found.get("champion")) == version and measured:
            promoted = found["watch"].get("promoted")
            before = "" if promoted is None else f", {100 * promoted:.1f} at promotion"
            return (f"micro-F1 {100 * measured['micro_f1']:.1f} on {measured['n_docs']:,} later "
                    f"documents{before}")  # fmt: skip
    return "not measured on later documents yet"


def queue_rows(settings: Settings) -> Iterator[tuple[str, str]]:
    """What annotators were given and have not closed; nothing without a queue."""
    if not settings.queues.is_dir():
        return
    # Not at the top: most projects have none.
    from components._formats.queue_file import DONE, QUEUE

    files = sorted(settings.queues.glob(f"*/{QUEUE}"))
    still_open = [path for path in files if not (path.parent / DONE).exists()]
    n_docs = sum(path.read_bytes().count(b"\n") for path in still_open)
    newest = f", the newest of {still_open[-1].parent.name}" if still_open else ""
    found = f"{n_docs:,} documents in {len(still_open):,} open queues{newest}"
    yield "to annotate", f"{found}; see {settings.queues}"


def nights(settings: Settings) -> Table:
    """The last nights: Airflow's runs if its database is there, else what was recorded."""
    found = Table(title="Last nights", title_justify="left")
    for column in ("night", "state", "minutes", "failed"):
        found.add_column(column)
    for row in airflow_runs() or recorded(settings):
        found.add_row(*map(escape, row))
    return found


def airflow_runs() -> list[tuple[str, str, str, str]]:
    """Date, state, minutes and failed tasks of the last runs; none without Airflow's database."""
    file = Path(os.environ["AIRFLOW_HOME"]).expanduser() / "airflow.db"
    url = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")
    if url is None and not file.exists():
        return []
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_engine(url or f"sqlite:///{file}").connect() as store:
            runs = store.execute(text(RUNS)).fetchmany(NIGHTS)
            failed = {run.run_id: list(store.scalars(text(FAILED), {"run_id": run.run_id}))
                      for run in runs}  # fmt: skip
    except SQLAlchemyError:
        return []  # not migrated, or out of reach: the records are shown
    return [
        (str(run.night)[:16], str(run.state), _minutes(run.start_date, run.end_date),
         ", ".join(failed[run.run_id]))
        for run in runs
    ]  # fmt: skip


def _minutes(start: object, end: object) -> str:
    """The time between two dates, which SQLite gives as strings."""
    if start is None or end is None:
        return ""
    first, last = (datetime.fromisoformat(str(moment)) for moment in (start, end))
    return f"{(last - first).total_seconds() / 60:.0f}"


def recorded(settings: Settings) -> list[tuple[str, str, str, str]]:
    """The last records."""
    keys = _workspace.records(settings.repo)[-NIGHTS:]
    return [(f"{key[:13]}:{key[13:15]}", "recorded", "", "") for key in reversed(keys)]


def disk(settings: Settings) -> str:
    """Megabytes of what grows, and what is free."""
    places = {
        "DVC's cache": _tools.cache_of(settings.repo),
        "workspaces": settings.workspaces,
        "MLflow's files": Path(settings.artifact_root) if settings.artifact_root else None,
        "scratch": settings.state / "cache",
    }
    used = [f"{name} {_megabytes(path):,} MB" for name, path in places.items()
            if path is not None and path.exists()]  # fmt: skip
    free = shutil.disk_usage(settings.repo).free // 10**9
    return "; ".join([*used, f"{free:,} GB free"])


def _megabytes(path: Path) -> int:
    done = subprocess.run(["du", "-sk", str(path)], capture_output=True, text=True)
    return int((done.stdout.split() or ["0"])[0]) // 1000


def main() -> None:
    """Print the screen; a part that is out of reach says so."""
    os.environ.update(standalone.environment())
    settings = load_settings()
    os.environ.update(settings.store)
    os.chdir(settings.repo)  # where the model's name is
    screen = Table.grid(padding=(0, 2))
    try:
        for name, text in registry_rows(settings):
            screen.add_row(f"[bold]{name}[/]", escape(text))
    except (TemporaryError, ParameterError, DataError) as error:
        screen.add_row("[bold]registry[/]", escape(str(error)))
    for name, text in queue_rows(settings):
        screen.add_row(f"[bold]{name}[/]", escape(text))
    screen.add_row("[bold]disk[/]", disk(settings))
    console = Console()
    console.print(screen)
    console.print(nights(settings))


if __name__ == "__main__":
    main()
