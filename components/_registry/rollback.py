"""Restores an earlier version as champion, after a smoke test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components._frame.exit_codes import GateNotPassed
from components._registry import champion
from components._registry import client as registry
from components._registry.decision import smoke_lines
from components._registry.rules import Limits
from longtail import gate
from longtail.errors import DataError, ParameterError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def roll_back(
    client: MlflowClient,
    name: str,
    limits: Limits,
    *,
    reason: str,
    number: str | None = None,
    instead_of: str | None = None,
    approved_by: str = "",
) -> ModelVersion:
    """Make an earlier version the champion, and mark the one that it replaces.

    Args:
        client: of the registry.
        name: of the registered model.
        limits: of a served model.
        reason: recorded in the history and in the mark.
        number: of the version to restore; None takes the previous champion.
        instead_of: the version that must still be the champion; None allows any.
        approved_by: recorded in the history.

    Returns:
        The version that is the champion now.

    Raises:
        GateNotPassed: the version fails the smoke test, or another one is the champion by now.
        ParameterError: it is already the champion.
        DataError: there is no such version.
    """
    with registry.exclusive(name), registry.reachable():
        champion.reconcile(client, name)
        now = registry.by_alias(client, name, registry.CHAMPION)
        if instead_of is not None and registry.number(now) != instead_of:
            raise GateNotPassed(f"version {instead_of} is not the champion any more.")
        target = _target(client, name, number)
        if registry.number(now) == registry.number(target):
            raise ParameterError(f"Version {target.version} is already the champion.")
        refuse_unless_served(target, limits)
        if now is not None:
            champion.mark(client, now, target, reason)
        champion.move(client, target, action="rollback", why=reason, approved_by=approved_by)
    return target


def existing(client: MlflowClient, name: str, number: str) -> ModelVersion:
    """The version with that number.

    Raises:
        DataError: there is none.
    """
    version = registry.by_number(client, name, number)
    if version is None:
        raise DataError(f"{name} has no version {number}; `longtail history` lists the champions.")
    return version


def refuse_unless_served(version: ModelVersion, limits: Limits) -> None:
    """Smoke-test the version in a fresh process.

    Raises:
        GateNotPassed: it fails, or exceeds a limit.
    """
    lines = smoke_lines(version, limits)
    if not gate.passed(lines):
        raise GateNotPassed(f"version {version.version} is refused: {gate.summary(lines)}")


def _target(client: MlflowClient, name: str, number: str | None) -> ModelVersion:
    if number is not None:
        return existing(client, name, number)
    previous = registry.by_alias(client, name, registry.PREVIOUS)
    if previous is None:
        raise DataError(f"{name} has no previous champion; pass --version N.")
    return previous
