"""Decide on the challenger, move the champion alias, show the history, roll back."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from components._frame.component import guarded
from components._frame.exit_codes import GateNotPassed
from components._frame.params import load_params
from components._registry import champion
from components._registry import client as registry
from components._registry.decision import DECISION, Params, decide, smoke_lines
from components._registry.evidence import read_json
from longtail import gate
from longtail.errors import DataError, ParameterError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def run_decide(arguments: argparse.Namespace) -> None:
    """Judge the challenger; exit 4 if it is refused."""
    params = load_params("promote", Params)
    client = registry.connect()
    with registry.reachable():
        decision = decide(client, params, rebase=arguments.rebase)
    _report(decision)


def run_apply(arguments: argparse.Namespace) -> None:
    """Move the alias as decided, if it still points where the decision saw it."""
    decision = read_json(DECISION)
    if decision["verdict"] == "unchanged":
        return print("Nothing to apply.")
    if decision["verdict"] != "promoted":
        return _report(decision)
    params = load_params("promote", Params)
    name = decision["model_name"]
    client = registry.connect()
    with registry.exclusive(name), registry.reachable():
        champion.reconcile(client, name)
        now = registry.by_alias(client, name, registry.CHAMPION)
        if registry.number(now) == decision["challenger"]["version"]:
            return print(f"Version {registry.number(now)} is the champion already.")
        # The decision stands only for the champion, and the marks, that it saw.
        decision = decide(client, params, rebase=decision["rebase"])
        if decision["verdict"] != "promoted":
            return _report(decision)
        version = _existing(client, name, decision["challenger"]["version"])
        _refuse_unless_served(version, params)
        champion.move(
            client,
            version,
            action="promote",
            why=arguments.reason or decision["summary"],
            decision_id=decision["decision_id"],
            approved_by=arguments.approved_by,
        )
    print(f"Version {version.version} of {name} is the champion. {decision['summary']}")


def run_rollback(arguments: argparse.Namespace) -> None:
    """Put an earlier version back, after the same smoke test; mark the one that it replaces."""
    params = load_params("promote", Params)
    name = load_params("register", registry.RegisterParams).model_name
    client = registry.connect()
    with registry.exclusive(name), registry.reachable():
        champion.reconcile(client, name)
        now = registry.by_alias(client, name, registry.CHAMPION)
        target = _rollback_target(client, name, arguments.version)
        if registry.number(now) == registry.number(target):
            raise ParameterError(f"Version {target.version} is the champion already.")
        _refuse_unless_served(target, params)
        if now is not None:
            champion.mark(client, now, target, arguments.reason)
        champion.move(
            client,
            target,
            action="rollback",
            why=arguments.reason,
            approved_by=arguments.approved_by,
        )
    print(f"Version {target.version} of {name} is the champion again.")


def run_history(arguments: argparse.Namespace) -> None:
    """Print the history as JSON Lines, oldest first."""
    name = load_params("register", registry.RegisterParams).model_name
    client = registry.connect()
    with registry.reachable():
        print(champion.write_log(client, name), end="")


def _report(decision: dict) -> None:
    sides = [f"version {decision['challenger']['version']}: {decision['verdict']}."]
    print(" ".join([*sides, decision["summary"]]))
    if decision["verdict"] == "refused":
        raise GateNotPassed(f"version {decision['challenger']['version']} is not promoted.")


def _existing(client: MlflowClient, name: str, number: str) -> ModelVersion:
    version = registry.by_number(client, name, number)
    if version is None:
        raise DataError(f"{name} has no version {number}; `promote history` shows which it had.")
    return version


def _rollback_target(client: MlflowClient, name: str, number: str | None) -> ModelVersion:
    if number is not None:
        return _existing(client, name, number)
    previous = registry.by_alias(client, name, registry.PREVIOUS)
    if previous is None:
        raise DataError(f"{name} has no previous champion; name one with --version N.")
    return previous


def _refuse_unless_served(version: ModelVersion, params: Params) -> None:
    lines = smoke_lines(version, params.limits)
    if not gate.passed(lines):
        raise GateNotPassed(f"version {version.version} stays out: {gate.summary(lines)}")


def parser() -> argparse.ArgumentParser:
    """The command line; `action` of the parsed arguments is the function to call with them."""
    made = argparse.ArgumentParser(prog="python -m components.promote", description=__doc__)
    commands = made.add_subparsers(required=True, metavar="decide|apply|history|rollback")
    for name, action in COMMANDS.items():
        command = commands.add_parser(name, help=action.__doc__)
        command.set_defaults(action=action)
        if name == "decide":
            command.add_argument(
                "--rebase",
                action="store_true",
                help="the label set was changed on purpose: floors and baseline decide alone",
            )
        if name == "rollback":
            command.add_argument("--version", metavar="N", help="default: the previous champion")
        if name in ("apply", "rollback"):
            needed = name == "rollback"
            command.add_argument(
                "--reason", required=needed, default="", help="kept in the history"
            )
            command.add_argument("--approved-by", default="", help="kept in the history")
    return made


COMMANDS = {
    "decide": run_decide,
    "apply": run_apply,
    "history": run_history,
    "rollback": run_rollback,
}

if __name__ == "__main__":
    arguments = parser().parse_args()
    guarded("promote", lambda: arguments.action(arguments))
