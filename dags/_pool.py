"""Brings the pool of unlabeled texts to where every step can read it: what annotators get next."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from dags._settings import Settings
from dags._source import copy, files_of
from dags._tools import WorkspaceError

COPIED = "pool"
# For some 300,000 texts without a GPU.
QUEUE_TIME = timedelta(hours=2)


def refill_command(settings: Settings) -> list[str] | None:
    """Copy the pool's files and return the command that queues some of their texts.

    The copy is in the state, which containers see at its own path: one, however many workspaces
    are kept.

    Returns:
        The argument list, or None if the pool has no files.

    Raises:
        WorkspaceError: The pool does not exist, or is the copy itself.
    """
    if not settings.pool:
        raise WorkspaceError("LONGTAIL_POOL is not set, so there is nothing to queue from.")
    missing = f"Pool {settings.pool} does not exist; mount it or fix LONGTAIL_POOL."
    files = files_of(settings.pool, missing)
    target = settings.state / COPIED
    local = [Path(str(path).removeprefix("file://")) for path in files]  # objects have no parents
    if any(path.exists() and target in path.resolve().parents for path in local):
        raise WorkspaceError(
            f"Pool {settings.pool} is in {target}, which every night replaces; move it elsewhere "
            "and set LONGTAIL_POOL."
        )
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in files:
        copy(path, target / path.name)
    if not files:
        return None
    copies = [str(target / path.name) for path in files]
    folder, size = str(settings.queues), str(settings.queue_size)
    return ["python", "-m", "components._cli.refill", *copies, "--folder", folder, "--size", size]
