"""Who still has forgotten documents after they left the corpus, and what removes them there."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING

from components._frame import forgotten
from components._frame.exit_codes import TemporaryError
from components._registry import approval, evidence
from components._registry import client as registry
from longtail.errors import DataError, ParameterError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PRUNE = "`make prune APPLY=1`, or the DAG `retention` on Sunday, removes"


def n_known(version: ModelVersion, digests: Set[str]) -> int | None:
    """How many of the documents the version's corpus had; None if it does not say."""
    known = evidence.read_known_ids(str(version.run_id))
    return None if known is None else len(known & {evidence.shortened(d) for d in digests})


def told(digests: Set[str], data: Path) -> Iterator[str]:
    """One line for each place that still has the documents: what it is, and until when."""
    yield from _versions(digests)
    yield from _nights(digests)
    made = [name for name in ("artifacts", "reports") if (data.parent / name).exists()]
    if made:
        yield f"{' and '.join(made)} of this folder: until the next `dvc repro`."
    if remote := _remote(data.parent):
        yield (
            f"DVC's remote {remote!r}: nothing here removes from it. When the nights above are "
            "gone, run `dvc gc --all-branches --all-tags --cloud`."
        )
    yield (
        "workspaces of earlier runs: LONGTAIL_KEEP_DAYS days (`make prune` lists them). The "
        "sources' own files, backups, and the list that you passed are yours to delete."
    )


def _versions(digests: Set[str]) -> Iterator[str]:
    uri = os.environ["MLFLOW_TRACKING_URI"]
    if uri.startswith(registry.SQLITE) and not Path(uri.removeprefix(registry.SQLITE)).exists():
        yield "versions: no registry here; set MLFLOW_TRACKING_URI, and run `longtail prune`."
        return
    try:
        client, name = registry.connect_anywhere(None)
        with registry.reachable():
            yield from version_lines(client, name, digests)
    except (TemporaryError, ParameterError, DataError) as error:
        yield f"versions: not looked at, run `longtail prune` later ({error})"


def version_lines(client: MlflowClient, name: str, digests: Set[str]) -> Iterator[str]:
    """The versions that know the documents, with what keeps each."""
    model = registry.by_model(client, name)
    if model is None:
        return
    held = registry.held(client, name)
    known = registry.versions(client, name)
    waiting = {version.version for version in approval.waiting(client, name, known)}
    for version in known:
        found = n_known(version, digests)
        if found == 0:
            continue
        number = str(version.version)
        knows = "does not say what it knows" if found is None else f"knows {found:,} of them"
        aliases = ", ".join(alias for alias, of in model.aliases.items() if str(of) == number)
        if aliases:
            until = f"stays while it is {aliases}"
        elif version.version in waiting:
            until = "stays while it waits for approval"
        elif held:
            until = "stays while promotion is held"
        elif found is None:
            until = "goes when it is old"
        else:
            until = "`longtail prune --apply` removes it with its run"
        yield f"version {number}: {knows}; {until}."


def _nights(digests: Set[str]) -> Iterator[str]:
    found = forgotten.revisions_with(digests)
    nights = sorted(ref for ref in found if ref.startswith(f"{forgotten.NIGHTS}/"))
    if nights:
        names = nights[0] if len(nights) == 1 else f"{nights[0]} to {nights[-1]}"
        yield (
            f"{len(nights):,} recorded nights ({names}) and DVC's cache: {PRUNE} them, except the "
            "newest before the next night, and those that a version with an alias was made from."
        )
    others = [ref for ref in found if not ref.startswith(forgotten.NIGHTS)]
    if others:
        yield (
            f"branches and tags {', '.join(others)}: as long as their data.dvc does. Take it from "
            "the next night (`git merge --strategy-option theirs nightly`), or run `dvc add data` "
            f"and commit data.dvc with {forgotten.LIST}; delete old tags."
        )


def _remote(project: Path) -> str:
    config = configparser.ConfigParser(interpolation=None)
    config.read([project / ".dvc" / name for name in ("config", "config.local")], encoding="utf-8")
    return config.get("core", "remote", fallback="")
