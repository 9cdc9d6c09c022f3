"""Decide on the challenger, move the champion alias, show the history, roll back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from components._formats.json_file import read_json
from components._frame.exit_codes import GateNotPassed
from components._frame.launch import CONTEXT, launch
from components._frame.params import load_params
from components._registry import champion
from components._registry import client as registry
from components._registry.decision import decide, smoke_lines
from components._registry.decision_record import DECISION
from components._registry.rules import Params
from longtail import gate
from longtail.errors import DataError, ParameterError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


KEPT = "recorded in the history"
approved_by_option = click.option("--approved-by", default="", metavar="NAME", help=KEPT)


@click.option(
    "--rebase",
    is_flag=True,
    help="the label set was changed on purpose: judge by floors and baseline only",
)
def run_decide(rebase: bool = False) -> None:
    """Judge the challenger; exit with code 4 if it is refused."""
    params = load_params("promote", Params)
    client = registry.connect()
    with registry.exclusive(registry.model_name()), registry.reachable():
        decision = decide(client, params, rebase=rebase)
    _report(decision)


@click.option("--reason", default="", metavar="TEXT", help=KEPT)
@approved_by_option
def run_apply(reason: str = "", approved_by: str = "") -> None:
    """Move the champion alias as decided.

    If the champion has changed since, the decision is made again first.
    """
    decision = read_json(DECISION, maker="longtail promote decide")
    if decision["verdict"] == "unchanged":
        print("Nothing to apply.")
        return
    if decision["verdict"] != "promoted":
        return _report(decision)
    params = load_params("promote", Params)
    name = decision["model_name"]
    client = registry.connect()
    with registry.exclusive(name), registry.reachable():
        champion.reconcile(client, name)
        now = registry.by_alias(client, name, registry.CHAMPION)
        if registry.number(now) == decision["challenger"]["version"]:
            print(f"Version {registry.number(now)} is already the champion.")
            return
        # The decision is valid only for the champion and the marks that it saw.
        decision = decide(client, params, rebase=decision["rebase"])
        if decision["verdict"] != "promoted":
            return _report(decision)
        version = _existing(client, name, decision["challenger"]["version"])
        _refuse_unless_served(version, params)
        champion.move(
            client,
            version,
            action="promote",
            why=reason or decision["summary"],
            decision_id=decision["decision_id"],
            approved_by=approved_by,
        )
    print(f"Version {version.version} of {name} is the champion. {decision['summary']}")


@click.option("--reason", required=True, metavar="TEXT", help=KEPT)
@click.option("--version", metavar="N", help="version to restore (default: the previous champion)")
@approved_by_option
def run_rollback(reason: str, version: str | None = None, approved_by: str = "") -> None:
    """Restore an earlier version, after a smoke test.

    The version that it replaces is marked and never promoted again automatically.
    """
    params = load_params("promote", Params)
    name = registry.model_name()
    client = registry.connect()
    with registry.exclusive(name), registry.reachable():
        champion.reconcile(client, name)
        now = registry.by_alias(client, name, registry.CHAMPION)
        target = _rollback_target(client, name, version)
        if registry.number(now) == registry.number(target):
            raise ParameterError(f"Version {target.version} is already the champion.")
        _refuse_unless_served(target, params)
        if now is not None:
            champion.mark(client, now, target, reason)
        champion.move(client, target, action="rollback", why=reason, approved_by=approved_by)
    print(f"Version {target.version} of {name} is the champion again.")


def run_history() -> None:
    """Print the history as JSON Lines, oldest first."""
    name = registry.model_name()
    client = registry.connect()
    with registry.reachable():
        print(champion.write_log(client, name), end="")


def _report(decision: dict[str, Any]) -> None:
    number = decision["challenger"]["version"]
    print(f"version {number}: {decision['verdict']}. {decision['summary']}")
    if decision["verdict"] == "refused":
        raise GateNotPassed(f"version {number} is not promoted.")


def _existing(client: MlflowClient, name: str, number: str) -> ModelVersion:
    version = registry.by_number(client, name, number)
    if version is None:
        raise DataError(f"{name} has no version {number}; `longtail history` lists the champions.")
    return version


def _rollback_target(client: MlflowClient, name: str, number: str | None) -> ModelVersion:
    if number is not None:
        return _existing(client, name, number)
    previous = registry.by_alias(client, name, registry.PREVIOUS)
    if previous is None:
        raise DataError(f"{name} has no previous champion; pass --version N.")
    return previous


def _refuse_unless_served(version: ModelVersion, params: Params) -> None:
    lines = smoke_lines(version, params.limits)
    if not gate.passed(lines):
        raise GateNotPassed(f"version {version.version} is refused: {gate.summary(lines)}")


ACTIONS: dict[str, Callable[..., None]] = {
    "decide": run_decide,
    "apply": run_apply,
    "history": run_history,
    "rollback": run_rollback,
}
command = click.Group("promote", context_settings=CONTEXT, help=__doc__)
for _name, _action in ACTIONS.items():
    command.command(_name, context_settings=CONTEXT)(_action)

if __name__ == "__main__":
    launch(command)
