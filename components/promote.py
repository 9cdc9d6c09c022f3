"""Decide on the challenger, move the champion alias, show the history, roll back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from components._formats.json_file import read_json
from components._frame.exit_codes import GateNotPassed
from components._frame.launch import CONTEXT, launch
from components._frame.params import load_params
from components._registry import champion
from components._registry import client as registry
from components._registry.decision import decide
from components._registry.decision_record import DECISION
from components._registry.rollback import existing, refuse_unless_served, roll_back
from components._registry.rules import Params

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
        version = existing(client, name, decision["challenger"]["version"])
        refuse_unless_served(version, params.limits)
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
    target = roll_back(
        client, name, params.limits, reason=reason, number=version, approved_by=approved_by
    )
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
