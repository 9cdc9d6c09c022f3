"""A hold stops every promotion until a person lifts it; a rollback sets one.

It is one tag of the registered model. The hold of a rollback also says which version is replaced by
which, so that a rollback that was killed is finished by whoever comes next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components._registry import champion
from components._registry import client as registry

if TYPE_CHECKING:
    from mlflow import MlflowClient


def begin(client: MlflowClient, name: str, reason: str, **rollback: str | None) -> dict[str, Any]:
    """Set the hold, in place of the one that may be there.

    Args:
        client: of the registry.
        name: of the registered model.
        reason: why.
        rollback: `from`, `to`, and `approved_by`, if it belongs to a rollback.
    """
    hold = {"when": champion.moment(), "who": champion.actor(), "reason": reason, **rollback}
    client.set_registered_model_tag(name, registry.HOLD, json.dumps(hold, ensure_ascii=False))
    return hold


def hold(client: MlflowClient, name: str, reason: str) -> tuple[dict[str, Any], bool]:
    """Hold promotion; the hold, and whether it is new. A killed call is finished by the next."""
    champion.reconcile(client, name)
    found = registry.held(client, name)
    current = found or begin(client, name, reason)
    by_rollback = "to" in current
    if not by_rollback and not champion.recorded(client, name, "hold", current["when"]):
        _record(client, name, "hold", current["reason"], current["when"])
    return current, found is None


def release(client: MlflowClient, name: str, reason: str) -> dict[str, Any] | None:
    """Lift the hold; the hold that was there, if any."""
    champion.reconcile(client, name)
    found = registry.held(client, name)
    if found is not None:
        # First the record: a kill in between leaves it held, which is the safe side.
        _record(client, name, "release", reason)
        client.delete_registered_model_tag(name, registry.HOLD)
    return found


def _record(client: MlflowClient, name: str, action: str, why: str, when: str = "") -> None:
    now = registry.by_alias(client, name, registry.CHAMPION)
    champion.record(client, name, action, now, now, why, when=when)


def sentence(hold: Mapping[str, Any]) -> str:
    """Since when, by whom, and why promotion is held, and how to lift it."""
    reason = str(hold["reason"]).rstrip(".")
    return (
        f"Promotion has been held since {hold['when']} by {hold['who']}: {reason}. "
        "`longtail promote release --reason …` lifts it."
    )
