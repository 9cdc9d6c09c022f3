"""Applies a decision: moves the champion alias, or says what stops it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components._registry import champion, hold
from components._registry import client as registry
from components._registry.decision import decide, smoke_lines
from components._registry.rollback import existing
from components._registry.rules import Params
from longtail import gate

if TYPE_CHECKING:
    from mlflow import MlflowClient

APPROVE = "`longtail promote apply --approved-by NAME`"
OUTCOME = Path("reports/outcome.json")
PROMOTED, REFUSED, HELD, WAITING = "promoted", "refused", "held", "waiting"


def apply(
    client: MlflowClient,
    params: Params,
    decision: dict[str, Any],
    *,
    reason: str = "",
    approved_by: str = "",
) -> dict[str, Any]:
    """Make the challenger of a positive decision the champion; the caller holds the lock.

    Args:
        client: of the registry.
        params: the rules.
        decision: what was decided; it is decided again if the champion or a mark has changed.
        reason: recorded in the history; by default, the decision's summary.
        approved_by: who said yes to this very decision.

    Returns:
        `outcome` (promoted, refused, held, or waiting), `why`, the `version`, and the `champion` as
        it was looked up at the end.
    """
    name, number = decision["model_name"], decision["challenger"]["version"]
    champion.reconcile(client, name)
    outcome, why = _applied(client, params, decision, reason, approved_by)
    now = registry.number(registry.by_alias(client, name, registry.CHAMPION))
    return {"outcome": outcome, "why": why, "version": number, "champion": now}


def _applied(
    client: MlflowClient, params: Params, decision: dict[str, Any], reason: str, approved_by: str
) -> tuple[str, str]:
    name, number = decision["model_name"], decision["challenger"]["version"]
    if registry.number(registry.by_alias(client, name, registry.CHAMPION)) == number:
        return PROMOTED, f"Version {number} is already the champion."
    # The decision is valid only for the champion and the marks that it saw.
    fresh = decide(client, params, rebase=decision["rebase"])
    if fresh["verdict"] != "promoted":
        return REFUSED, fresh["summary"]
    if fresh["hold"]:
        return HELD, hold.sentence(fresh["hold"])
    if fresh["approval"] and not approved_by:
        return WAITING, f"Version {number} waits for approval: {APPROVE}."
    if fresh["approval"] and fresh["decision_id"] != decision["decision_id"]:
        return (
            WAITING,
            f"The champion has changed; the new decision needs approval: {APPROVE}.",
        )
    version = existing(client, name, number)
    lines = smoke_lines(version, params.limits)
    if not gate.passed(lines):
        return REFUSED, f"It failed the last test before serving: {gate.summary(lines)}"
    champion.move(
        client,
        version,
        action="promote",
        why=reason or fresh["summary"],
        decision_id=fresh["decision_id"],
        approved_by=approved_by,
    )
    return PROMOTED, fresh["summary"]
