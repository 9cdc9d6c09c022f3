"""Moves the champion alias (promotion, rollback), and records every move in the history.

Callers hold `registry.exclusive`. A move sets `previous_champion` first and the history last. If
the process is killed in between, the last entry does not explain the alias, and the next command
records it: as the rollback that was begun, else as `found`. Nothing is ever rewritten.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components._frame.files import written
from components._registry import client as registry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

LOG = Path("reports/promotions.jsonl")


def move(
    client: MlflowClient,
    version: ModelVersion,
    *,
    action: str,
    why: str,
    decision_id: str = "",
    approved_by: str = "",
    when: str = "",
) -> None:
    """Make `version` the champion and the current champion the previous one; record the move."""
    name = version.name
    old = registry.by_alias(client, name, registry.CHAMPION)
    if old is not None:
        registry.move_alias(client, name, registry.PREVIOUS, registry.number(old))
    registry.move_alias(client, name, registry.CHAMPION, registry.number(version))
    challenger = registry.by_alias(client, name, registry.CHALLENGER)
    if registry.number(challenger) == registry.number(version):
        registry.move_alias(client, name, registry.CHALLENGER, None)
    record(client, name, action, old, version, why, decision_id, approved_by, when)


def reconcile(client: MlflowClient, name: str) -> None:
    """Record a champion that the history does not explain (moved by hand or by a killed run)."""
    now = registry.by_alias(client, name, registry.CHAMPION)
    entries = registry.history(client, name)
    last = entries[-1]["to"] if entries else None
    if registry.number(now) == last:
        return
    old = registry.by_number(client, name, last) if last else None
    begun = unfinished(client, name)
    if begun and begun["to"] == registry.number(now):
        record_rollback(client, name, begun)
        return
    why = "The alias had been moved by another client, or by a run that was killed."
    record(client, name, "found", old, now, why)


def record_rollback(client: MlflowClient, name: str, begun: Mapping[str, Any]) -> None:
    """Record a rollback whose aliases are moved already, from its hold."""
    old, new = (
        registry.by_number(client, name, begun[side]) if begun[side] else None
        for side in ("from", "to")
    )
    why, who, when = begun["reason"], begun["approved_by"], begun["when"]
    record(client, name, "rollback", old, new, why, approved_by=who, when=when)


def unfinished(client: MlflowClient, name: str) -> dict[str, Any] | None:
    """The hold of a rollback that the history does not have yet; None if there is none."""
    hold = registry.held(client, name)
    if hold is None or "to" not in hold or recorded(client, name, "rollback", hold["when"]):
        return None
    return hold


def recorded(client: MlflowClient, name: str, action: str, when: str) -> bool:
    """Whether the history has this action of this moment."""
    entries = registry.history(client, name)
    return any((entry["action"], entry["when"]) == (action, when) for entry in entries)


def mark(client: MlflowClient, old: ModelVersion, new: ModelVersion, why: str) -> None:
    """Mark `old` as rolled back, and remove such a mark from `new`."""
    client.set_model_version_tag(old.name, old.version, registry.ROLLED_BACK, why)
    if registry.ROLLED_BACK in new.tags:
        client.delete_model_version_tag(new.name, new.version, registry.ROLLED_BACK)


def record(
    client: MlflowClient,
    name: str,
    action: str,
    old: ModelVersion | None,
    new: ModelVersion | None,
    why: str,
    decision_id: str = "",
    approved_by: str = "",
    when: str = "",
) -> None:
    """Add an entry to the history, dated now unless `when` says otherwise."""
    entry: dict[str, Any] = {
        "when": when or moment(),
        "who": actor(),
        "action": action,
        "from": registry.number(old),
        "to": registry.number(new),
        "why": registry.shortened(why, registry.MOST_REASON),
        "decision_id": decision_id,
        "approved_by": approved_by,
    }
    registry.append_history(client, name, entry)
    write_log(client, name)


def moment() -> str:
    """Now, as the history writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def actor() -> str:
    """Who is acting."""
    return os.environ.get("LONGTAIL_ACTOR") or getpass.getuser()


def write_log(client: MlflowClient, name: str) -> str:
    """The history as JSON Lines, copied to `LOG` where there is a folder for it."""
    entries = registry.history(client, name)
    lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
    if LOG.parent.is_dir():
        with written(LOG) as path:
            path.write_text(lines, encoding="utf-8")
    return lines
