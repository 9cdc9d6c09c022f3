"""What holds after every night, whatever happened in it; each broken one is a sentence."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from mlflow import MlflowClient

from benchmarks.faults.world import World, champion_of
from components._registry import client as registry
from tests.builders.nights import run

MODEL = "longtail"
CORPUS, ASSIGNMENT = "data", "artifacts/split/assignment.parquet"


@dataclass
class State:
    """What earlier nights have left, which no later night may lose."""

    texts: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


def broken(world: World, state: State, runs: list[dict[str, Any]], said: int) -> list[str]:
    """The invariants that do not hold.

    Args:
        world: The campaign's world, at rest.
        state: What earlier nights have left; moved on by this call.
        runs: The runs of this night.
        said: Number of notices that were there before them.
    """
    client = MlflowClient(f"sqlite:///{world.folder}/mlflow.db")
    return [
        *_versions(client),
        *_champion(world, client, state),
        *_store(world),
        *_documents(world, state),
        *_told(client, runs, world.notices.heard[said:]),
    ]


def _versions(client: MlflowClient) -> Iterator[str]:
    found = registry.versions(client, MODEL)
    keys = Counter(v.tags.get("key") for v in found if v.status == "READY")
    for key, n in keys.items():
        if n > 1:
            numbers = sorted(int(v.version) for v in found if v.tags.get("key") == key)
            yield f"versions {numbers} were made from the same data, code, and parameters"


def _champion(world: World, client: MlflowClient, state: State) -> Iterator[str]:
    champion = champion_of(world.folder / "mlflow.db")
    entries = registry.history(client, MODEL)
    if entries[: len(state.history)] != state.history:
        yield "the history was rewritten"
    state.history = entries
    last = entries[-1]["to"] if entries else None
    if champion != last:
        yield f"the champion is {champion}, the history ends with {last}"
    if champion and (problem := _does_not_load(world)):
        yield f"the champion {champion} does not load: {problem}"


def _does_not_load(world: World) -> str:
    """Why the champion gives no answer; empty if it does."""
    env = {**os.environ, "MLFLOW_TRACKING_URI": world.tracker.address, "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-m", "components.predict"]
    done = subprocess.run(argv, input='{"text": "a word"}\n', cwd=world.project, env=env,
                          capture_output=True, text=True)  # fmt: skip
    return "" if done.returncode == 0 else (done.stderr or done.stdout)[-300:]


def _store(world: World) -> Iterator[str]:
    """Every file of DVC's store and remote is what its name says."""
    for root in ("store", "remote"):
        for path in (world.folder / root / "files" / "md5").glob("??/*"):
            name = path.parent.name + path.name
            if len(path.name) in (30, 34) and _md5(path) != name[:32]:
                yield f"{root}: {name} holds something else"


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def _documents(world: World, state: State) -> Iterator[str]:
    """The newest record has every document that earlier ones had, with its text and its part."""
    tags = run("git", "tag", "--list", "nightly/*", cwd=world.project).split()
    if not tags:
        return
    try:
        corpus = pd.read_parquet(_recorded(world, sorted(tags)[-1], "data.dvc", "corpus.parquet"))
        parts = pd.read_parquet(_recorded(world, sorted(tags)[-1], "dvc.lock", ASSIGNMENT))
    except (OSError, KeyError) as error:
        yield f"the record {sorted(tags)[-1]} cannot be read: {error}"
        return
    texts = dict(zip(corpus["id"], corpus["text"], strict=True))
    for name, old, new in (
        ("texts", state.texts, texts),
        ("parts", state.parts, dict(zip(parts["id"], parts["split"], strict=True))),
    ):
        lost = old.keys() - new.keys()
        changed = [key for key in old.keys() & new.keys() if old[key] != new[key]]
        if lost or changed:
            yield f"{name}: {len(lost)} lost, {len(changed)} changed in {sorted(tags)[-1]}"
        old.clear()
        old.update(new)


def _recorded(world: World, tag: str, file: str, name: str) -> Path:
    """Where the store has a file of the record."""
    found = yaml.safe_load(run("git", "show", f"{tag}:{file}", cwd=world.project))
    store = world.folder / "store" / "files" / "md5"

    def place(md5: str) -> Path:
        return store / md5[:2] / md5[2:]

    if file == "dvc.lock":
        outs = [out for stage in found["stages"].values() for out in stage.get("outs", [])]
        return place(next(out["md5"] for out in outs if out["path"] == name))
    listing = json.loads(place(found["outs"][0]["md5"]).read_text())
    return place(next(entry["md5"] for entry in listing if entry["relpath"] == name))


def undelivered(world: World, state: State) -> list[str]:
    """The documents that have arrived but are in no record: none after a night that ended well."""
    arrived = {
        str(json.loads(line)["id"])
        for path in (world.folder / "new").iterdir()
        for line in path.read_text().splitlines()
    }
    missing = arrived - state.texts.keys()
    return [f"{len(missing)} documents arrived but are in no record"] if missing else []


def _told(
    client: MlflowClient, runs: list[dict[str, Any]], notices: list[tuple[float, str, str | None]]
) -> Iterator[str]:
    """Every run that failed was told, every failed try at most once, and truthfully."""
    texts = [text for _, text, _ in notices]
    for one in runs:
        about = [text for text in texts if one["dag_run_id"] in text]
        if one["state"] == "failed" and not any("failed" in text for text in about):
            yield f"{one['dag_id']} {one['dag_run_id']} failed, and nobody was told"
    tries = Counter(re.findall(r"longtail: \S+ failed in \S+ \(try \d+\)", "\n".join(texts)))
    yield from (f"told {n} times: {what}" for what, n in tries.items() if n > 1)
    moves = registry.history(client, MODEL)
    for _, text, champion in notices:
        claimed = re.match(r"longtail: promoted\b", text)
        if claimed and not any(move["to"] == champion for move in moves):
            yield f"said to be promoted, but the champion is {champion}: {text[:100]}"
        named = re.search(r"The champion is version (\d+)\.", text)
        if named and named[1] not in {str(move["to"]) for move in moves}:
            yield f"said to be the champion, but never was: {text[:160]}"
