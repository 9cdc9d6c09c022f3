"""Restores an earlier version as champion; a killed rollback is finished by the next try.

First comes the hold, which also says what is replaced by what, then the mark, the aliases, and the
history. What is there already is left alone. No limit blocks a rollback: the version must answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components._registry import champion, hold
from components._registry import client as registry
from components._registry.decision import smoked
from longtail.errors import DataError, ParameterError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MOVES = ("promote", "rollback", "found")


@dataclass(frozen=True)
class Plan:
    """A rollback.

    Attributes:
        leave: version to replace and mark; None without a champion.
        to: version to restore.
        done: whether it was done before, so that nothing changes.
    """

    leave: str | None
    to: str
    done: bool


def roll_back(
    client: MlflowClient,
    name: str,
    *,
    reason: str,
    leave: str | None = None,
    to: str | None = None,
    approved_by: str = "",
    dry: bool = False,
) -> Plan:
    """Make an earlier version the champion, mark the one that it replaces, and hold promotion.

    Args:
        client: of the registry.
        name: of the registered model.
        reason: recorded in the history, the mark, and the hold.
        leave: the version to replace; None takes the champion.
        to: the version to restore; None takes the last champion before that is not marked.
        approved_by: recorded in the history.
        dry: only say what would be done.

    Raises:
        ParameterError: another version is the champion by now, or the restored one already is.
        DataError: there is no such version, or it does not answer.
    """
    with registry.exclusive(name), registry.reachable():
        champion.reconcile(client, name)
        plan = _plan(client, name, leave, to)
        if not plan.done and not dry:
            _carry_out(client, name, plan, reason, approved_by)
    return plan


def _carry_out(client: MlflowClient, name: str, plan: Plan, reason: str, approved_by: str) -> None:
    target = existing(client, name, plan.to)
    now = registry.by_alias(client, name, registry.CHAMPION)
    moved = registry.number(now) == plan.to
    if not moved and (faults := smoked(target).faults):
        raise DataError(
            f"Version {plan.to} does not answer as it should, so nothing was changed: "
            f"{' '.join(faults)} Restore another one with --to (`longtail history`)."
        )
    begun = champion.unfinished(client, name)
    if not begun or (begun["from"], begun["to"]) != (plan.leave, plan.to):
        pair = {"from": plan.leave, "to": plan.to}
        begun = hold.begin(client, name, reason, approved_by=approved_by, **pair)
    old = registry.by_number(client, name, plan.leave) if plan.leave else None
    if old is not None:
        champion.mark(client, old, target, begun["reason"])
    if moved:
        champion.record_rollback(client, name, begun)
    else:
        champion.move(
            client,
            target,
            action="rollback",
            why=begun["reason"],
            approved_by=begun["approved_by"],
            when=begun["when"],
        )


def _plan(client: MlflowClient, name: str, leave: str | None, to: str | None) -> Plan:
    """What is to be done, by the aliases and the history."""
    now = registry.number(registry.by_alias(client, name, registry.CHAMPION))
    begun = champion.unfinished(client, name)
    same = begun and leave in (None, begun["from"]) and to in (None, begun["to"])
    if begun and same and now in (begun["from"], begun["to"]):
        return Plan(begun["from"], begun["to"], done=False)
    moves = [e for e in registry.history(client, name) if e["action"] in MOVES]
    last = moves[-1] if moves and moves[-1]["action"] == "rollback" else None
    if last and last["to"] == now and leave in (None, last["from"]) and to in (None, now):
        return Plan(last["from"], last["to"], done=True)
    if to is None:
        to = earlier(client, name, leave or now)
    if to is None:
        raise DataError(
            f"{name} has no earlier champion that was not itself rolled back; pass --to VERSION."
        )
    existing(client, name, to)
    if leave is None and to == now:
        raise ParameterError(f"Version {to} is already the champion.")
    if leave not in (None, now):
        raise ParameterError(
            f"Version {leave} is not the champion any more, version {now} is. Nothing was changed."
        )
    return Plan(leave or now, to, done=False)


def earlier(client: MlflowClient, name: str, leaving: str | None) -> str | None:
    """The last champion before `leaving` that still exists and was not rolled back."""
    reigns = [entry["to"] for entry in registry.history(client, name)]
    before = reigns[: len(reigns) - reigns[::-1].index(leaving)] if leaving in reigns else reigns
    previous = registry.by_alias(client, name, registry.PREVIOUS)
    for number in dict.fromkeys([*reversed(before), registry.number(previous)]):
        version = registry.by_number(client, name, number) if number else None
        if version and number != leaving and registry.ROLLED_BACK not in version.tags:
            return str(number)
    return None


def existing(client: MlflowClient, name: str, number: str) -> ModelVersion:
    """The version with that number.

    Raises:
        DataError: there is none.
    """
    version = registry.by_number(client, name, number)
    if version is None:
        raise DataError(f"{name} has no version {number}; `longtail history` lists the champions.")
    return version
