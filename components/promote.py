"""Decide on the challenger, move the champion alias, hold, roll back, show the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from components._formats.json_file import read_json, write_json
from components._frame.exit_codes import GateNotPassed
from components._frame.launch import CONTEXT, launch
from components._frame.params import load_params
from components._registry import champion, promotion
from components._registry import client as registry
from components._registry import hold as holds
from components._registry.decision import decide
from components._registry.decision_record import DECISION, SHAPE, brakes
from components._registry.promotion import OUTCOME
from components._registry.rollback import roll_back
from components._registry.rules import Params

KEPT = "recorded in the history"
MOST_NAME = 200


def _text(least: int, most: int) -> Callable[..., str]:
    """Check a text for the history before anything is done: the store cuts or refuses long ones."""

    def checked(context: click.Context, option: click.Parameter, value: str) -> str:
        value = value.strip()
        if not least <= len(value) <= most:
            got = f"got {len(value)} characters"
            raise click.BadParameter(f"expected {least} to {most:,} characters, {got}.")
        return value

    return checked


approved_by_option = click.option(
    "--approved-by", default="", metavar="NAME", callback=_text(0, MOST_NAME), help=KEPT
)
reason_option = click.option(
    "--reason",
    required=True,
    metavar="TEXT",
    callback=_text(1, registry.MOST_REASON),
    help=KEPT,
)
model_option = click.option(
    "--model", metavar="NAME", help="registered model (default: as in params.yaml, or the only one)"
)


@click.option(
    "--rebase",
    is_flag=True,
    help="the label set was changed on purpose: judge by floors and baseline only",
)
def run_decide(rebase: bool = False) -> None:
    """Judge the challenger; exit with code 4 if it is refused."""
    params = load_params("promote", Params)
    OUTCOME.unlink(missing_ok=True)  # of an earlier decision
    client = registry.connect()
    with registry.exclusive(registry.model_name()), registry.reachable():
        decision = decide(client, params, rebase=rebase)
    _report(decision)


@click.option(
    "--reason", default="", metavar="TEXT", callback=_text(0, registry.MOST_REASON), help=KEPT
)
@approved_by_option
def run_apply(reason: str = "", approved_by: str = "") -> None:
    """Move the champion alias as decided, unless promotion is held or waits for approval.

    If the champion has changed since, the decision is made again first.
    """
    decision = read_json(DECISION, maker="longtail promote decide", keys=SHAPE)
    if decision["verdict"] == "unchanged":
        print("Nothing to apply.")
        return
    if decision["verdict"] != "promoted":
        return _report(decision)
    params = load_params("promote", Params)
    name = decision["model_name"]
    client = registry.connect()
    with registry.exclusive(name), registry.reachable():
        found = promotion.apply(client, params, decision, reason=reason, approved_by=approved_by)
    write_json(found, OUTCOME, indent=2)
    if found["outcome"] == promotion.PROMOTED:
        print(f"Version {found['champion']} of {name} is the champion. {found['why']}")
        return
    if found["outcome"] == promotion.REFUSED:
        raise GateNotPassed(f"version {found['version']} is refused: {found['why']}")
    print(f"Version {found['version']} is not promoted ({found['outcome']}). {found['why']}")


@reason_option
@click.option("--from", "leave", metavar="VERSION", help="version to leave (default: the champion)")
@click.option(
    "--to",
    "--version",
    "to",
    metavar="VERSION",
    help="version to restore (default: the champion before it that was not rolled back)",
)
@approved_by_option
@model_option
@click.option("--dry-run", is_flag=True, help="only say what would be done")
@click.option("--output", type=Path, metavar="FILE", help="JSON file for what was done")
def run_rollback(
    reason: str,
    leave: str | None = None,
    to: str | None = None,
    approved_by: str = "",
    model: str | None = None,
    dry_run: bool = False,
    output: Path | None = None,
) -> None:
    """Restore an earlier version, and hold promotion until a person releases it.

    The version that it replaces is marked and never promoted again automatically. A second try
    with the same two versions does only what the first one left undone.
    """
    client, name = registry.connect_anywhere(model)
    found = roll_back(
        client, name, reason=reason, leave=leave, to=to, approved_by=approved_by, dry=dry_run
    )
    said = f"Version {found.to} of {name} is the champion again."
    if found.done:
        before = f"version {found.to} was already restored in place of {found.leave}"
        said = f"Nothing changed: {before}; --to restores an older one."
    elif dry_run:
        said = f"Version {found.to} would replace version {found.leave} (--from, --to)."
    if output is not None:
        write_json(asdict(found) | {"reason": reason, "said": said}, output, indent=2)
    print(said)


@reason_option
@model_option
def run_hold(reason: str, model: str | None = None) -> None:
    """Stop every promotion until `release`; models are still judged."""
    client, name = registry.connect_anywhere(model)
    with registry.exclusive(name), registry.reachable():
        found, new = holds.hold(client, name, reason)
    print(("" if new else "Nothing changed. ") + holds.sentence(found))


@reason_option
@model_option
def run_release(reason: str, model: str | None = None) -> None:
    """Lift the hold, which `hold` or a rollback has set."""
    client, name = registry.connect_anywhere(model)
    with registry.exclusive(name), registry.reachable():
        found = holds.release(client, name, reason)
    if found is None:
        print(f"Nothing changed: promotion of {name} is not held.")
        return
    print(f"{name} may be promoted again. It was held since {found['when']}: {found['reason']}")


@model_option
def run_history(model: str | None = None) -> None:
    """Print the history as JSON Lines, oldest first."""
    client, name = registry.connect_anywhere(model)
    with registry.reachable():
        print(champion.write_log(client, name), end="")


def _report(decision: dict[str, Any]) -> None:
    number = decision["challenger"]["version"]
    said = " ".join([decision["summary"], *brakes(decision)])
    print(f"version {number}: {decision['verdict']}. {said}")
    if decision["verdict"] == "refused":
        raise GateNotPassed(f"version {number} is not promoted.")


ACTIONS: dict[str, Callable[..., None]] = {
    "decide": run_decide,
    "apply": run_apply,
    "hold": run_hold,
    "release": run_release,
    "history": run_history,
    "rollback": run_rollback,
}
command = click.Group("promote", context_settings=CONTEXT, help=__doc__)
for _name, _action in ACTIONS.items():
    command.command(_name, context_settings=CONTEXT)(_action)

if __name__ == "__main__":
    launch(command)
