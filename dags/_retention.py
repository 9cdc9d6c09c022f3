"""What the nightly run no longer needs: old workspaces, and the data of old nights."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components._frame import forgotten
from components._frame.removal import Removal, size_of
from dags._lock import holding
from dags._settings import Settings
from dags._tools import commit_of, dvc, git, write_dvc_settings
from dags._workspace import BRANCH, old_workspaces, records

# What `dvc gc` keeps.
KEEP = ("--workspace", "--all-branches", "--all-tags", "--all-experiments")
LOCK = "cache.lock"


@contextmanager
def using_cache(home: Path, *, alone: bool = False) -> Iterator[None]:
    """Hold DVC's shared cache: many tasks of nights at a time, or alone to remove from it."""
    with holding(home / LOCK, alone=alone):
        yield


@dataclass(frozen=True)
class Old:
    """What can be removed: the keys of nights, and workspaces."""

    nights: list[str]
    workspaces: list[Path]


def old(settings: Settings, needed: Sequence[str]) -> Old:
    """Find what is older than the settings keep, or may have documents that are to be forgotten.

    The newest record is kept in any case: the next night starts from it.

    Args:
        settings: Say where things are, and how many to keep.
        needed: Records that are kept however old they are.
    """
    known = records(settings.repo)
    having = nights_to_forget(settings.repo)
    past = [key for key in known[:-1] if key in having or key in known[: -settings.keep_nights]]
    nights = [key for key in past if commit_of(settings.repo, f"{BRANCH}/{key}") not in needed]
    return Old(nights, old_workspaces(settings.workspaces, settings.keep_days))


def nights_to_forget(repo: Path) -> set[str]:
    """The nights that may have documents which the newest list of forgotten ones names."""
    digests = forgotten.parsed(git(repo, "show", f"HEAD:{forgotten.LIST}", check=False))
    found = forgotten.revisions_with(digests, repo) if digests else []
    return {ref.removeprefix(f"{BRANCH}/") for ref in found}


def removals(settings: Settings, found: Old) -> list[Removal]:
    """What `remove` would remove, in rows for people.

    Raises:
        ToolError: git or DVC failed.
    """
    unused = unused_objects(settings.repo, found.nights)
    why = f"the last {settings.keep_nights} nights and those of versions in use are kept"
    reason = dict.fromkeys(nights_to_forget(settings.repo), "it may have forgotten documents")
    days = f"untouched for {settings.keep_days} days"
    return [
        *(Removal("night", key, 0.0, reason.get(key, why)) for key in found.nights),
        *(Removal("workspace", path.name, size_of(path), days) for path in found.workspaces),
        Removal("data", f"{len(unused)} files of DVC's cache", sum(map(size_of, unused)),
                "no kept night, branch, tag, or experiment has them"),
    ]  # fmt: skip


def remove(settings: Settings, found: Old) -> None:
    """Remove it: the tags of the nights, what only they need from DVC's cache, the workspaces.

    Raises:
        ToolError: git or DVC failed.
    """
    _forget(settings.repo, found.nights)
    with _clone(settings.repo) as folder:
        _forget(folder, records(folder))  # those that are left are tags of the repository
        dvc(folder, "gc", *KEEP, "--force", "--quiet", "--projects", str(settings.repo))
    for path in found.workspaces:
        shutil.rmtree(path, ignore_errors=True)


def unused_objects(repo: Path, nights: Sequence[str]) -> list[Path]:
    """The files in DVC's cache that nobody would need without the given nights."""
    with _clone(repo) as folder:
        _forget(folder, nights)
        listed = dvc(folder, "gc", *KEEP, "--force", "--dry")
    return [Path(found) for found in re.findall(r"Removing (/.*)", listed)]


def _forget(repo: Path, nights: Sequence[str]) -> None:
    if nights:
        git(repo, "tag", "--delete", *(f"{BRANCH}/{key}" for key in nights))


@contextmanager
def _clone(repo: Path) -> Iterator[Path]:
    """A clone with all branches that uses the runs' cache, whatever the repository's own is."""
    folder = Path(tempfile.mkdtemp(prefix="longtail-gc-"))
    try:
        git(folder, "clone", "--quiet", "--shared", "--no-checkout", str(repo), ".")
        git(folder, "checkout", "--quiet", "--detach", "HEAD")
        git(folder, "fetch", "--quiet", "origin", "+refs/heads/*:refs/heads/*")
        write_dvc_settings(repo, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
