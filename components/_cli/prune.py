"""Show, then remove, what nobody needs: old versions, unused caches, what killed runs left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components._formats.json_file import write_json
from components._frame.forgotten import LIST
from components._frame.launch import CONTEXT, launch
from components._frame.params import load_params
from components._frame.removal import Removal, size_of
from components._frame.scratch import cache_folder
from components._registry import client as registry
from components._registry import holders, retention
from components._sources.forget import read_list

COUNT = click.IntRange(min=1)
# Folders of ours in the temporary folder that only a killed process leaves behind; nobody else's.
LEFTOVERS = tuple(
    f"longtail-{use}-*" for use in ("apt", "gc", "logged", "prune", "report", "served")
)
RESTORABLE_DAYS = 7


def table(removals: Sequence[Removal], title: str) -> Table:
    """What is removed, with sizes and the sum."""
    found = Table(title=title, title_justify="left", show_footer=True)
    found.add_column("kind", "all")
    found.add_column("name", f"{len(removals):,}")
    found.add_column("MB", f"{sum(row.megabytes for row in removals):,.1f}", justify="right")
    found.add_column("why")
    for row in removals:
        found.add_row(row.kind, Text(row.name), f"{row.megabytes:,.1f}", Text(row.why))
    return found


@click.command("prune", context_settings=CONTEXT, help=__doc__)
@click.option("--apply", is_flag=True, help="remove it; without this flag it is only shown")
@click.option(
    "--keep-versions",
    default=10,
    show_default=True,
    type=COUNT,
    envvar="LONGTAIL_KEEP_VERSIONS",
    help="refused versions to keep, and as many former champions",
)
@click.option(
    "--keep-days",
    default=14,
    show_default=True,
    type=COUNT,
    envvar="LONGTAIL_KEEP_DAYS",
    help="days without use after which a cached result goes",
)
@click.option("--needed", type=Path, metavar="JSON", help="write the records in use here")
def command(apply: bool, keep_versions: int, keep_days: int, needed: Path | None) -> None:
    """Show or remove; champion, previous champion, and challenger are never touched."""
    params = load_params("register", registry.RegisterParams)
    client = registry.connect()
    name = params.model_name
    with registry.exclusive(name), registry.reachable():
        if needed is not None:
            write_json(retention.revisions(client, name), needed)
        digests = read_list(Path(LIST))
        old = retention.unneeded(client, name, keep_versions, digests)
        removals = [
            Removal(
                "version",
                str(version.version),
                retention.megabytes(client, client.get_run(str(version.run_id))),
                why,
            )
            for version, why in old
        ]
        files = [*unused(cache_folder(), keep_days), *leftovers()]
        removals += [Removal(kind, str(path), size_of(path), why) for kind, path, why in files]
        Console().print(table(removals, "Removed" if apply else "To remove (pass --apply)"))
        for line in holders.version_lines(client, name, digests) if digests else ():
            print(f"Of the forgotten documents, {line}")
        if not apply:
            return
        for version, _ in old:
            retention.remove(client, version)
        retention.sweep(client, params.experiment)
    for _, path, _ in files:
        shutil.rmtree(path, ignore_errors=True)
    delete_rows()


def unused(cache: Path, days: int) -> Iterator[tuple[str, Path, str]]:
    """Results in the scratch folder that no run has used for `days` days."""
    limit = time.time() - days * 86_400
    for folder in sorted(cache.glob("*/*")):
        if folder.parent.name != "locks" and folder.stat().st_mtime < limit:
            yield "cache", folder, f"not used for {days} days"


def leftovers() -> Iterator[tuple[str, Path, str]]:
    """What killed processes left in the temporary folder, a day ago or earlier."""
    temporary = Path(tempfile.gettempdir())
    for folder in sorted(path for pattern in LEFTOVERS for path in temporary.glob(pattern)):
        if folder.stat().st_mtime < time.time() - 86_400:
            yield "leftover", folder, "of a process that was killed"


def delete_rows() -> None:
    """Let MLflow forget runs deleted a week ago, if the store is a database within reach."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    if uri.startswith("http"):
        print("Where the tracking server runs, `mlflow gc` removes the rows of deleted runs.")
        return
    argv = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri]
    argv += ["--older-than", f"{RESTORABLE_DAYS}d0m"]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    launch(command)
