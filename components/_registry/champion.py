"""Moves the champion alias (promotion, rollback), and records every move in the history.

Callers hold `registry.exclusive`. A move sets `previous_champion` first and the history last. If
the process is killed in between, the last entry does not explain the alias, and the next command
records it as `found`. Nothing in the history is ever rewritten.
"""

from __future__ import annotations

import getpass
import json
import os
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
    _record(client, name, action, old, version, why, decision_id, approved_by)
    write_log(client, name)


def reconcile(client: MlflowClient, name: str) -> None:
    """Record a champion that the history does not explain (moved by hand or by a killed run)."""
    now = registry.by_alias(client, name, registry.CHAMPION)
    entries = registry.history(client, name)
    last = entries[-1]["to"] if entries else None
    if registry.number(now) != last:
        old = registry.by_number(client, name, last) if last else None
        why = "The alias had been moved by another client, or by a run that was killed."
        _record(client, name, "found", old, now, why)
        write_log(client, name)


def mark(client: MlflowClient, old: ModelVersion, new: ModelVersion, why: str) -> None:
    """Mark `old` as rolled back, and remove such a mark from `new`."""
    client.set_model_version_tag(old.name, old.version, registry.ROLLED_BACK, why)
    if registry.ROLLED_BACK in new.tags:
        client.delete_model_version_tag(new.name, new.version, registry.ROLLED_BACK)


def _record(
    client: MlflowClient,
    name: str,
    action: str,
    old: ModelVersion | None,
    new: ModelVersion | None,
    why: str,
    decision_id: str = "",
    approved_by: str = "",
) -> None:
    entry: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": os.environ.get("LONGTAIL_ACTOR") or getpass.getuser(),
        "action": action,
        "from": registry.number(old),
        "to": registry.number(new),
        "why": why,
        "decision_id": decision_id,
        "approved_by": approved_by,
    }
    registry.append_history(client, name, entry)


def write_log(client: MlflowClient, name: str) -> str:
    """Write the registry's history as JSON Lines to `LOG`, and return the lines."""
    entries = registry.history(client, name)
    lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
    with written(LOG) as path:
        path.write_text(lines, encoding="utf-8")
    return lines
