"""The command `longtail`; each subcommand is imported only when it is used."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import click

# The folder that contains `components`: the checkout or, in a wheel, `longtail_pipeline`. A wheel
# installs no top-level package called `components`, so the folder is put on the path here.
HOME = Path(__file__).resolve().parents[2]
if str(HOME) not in sys.path:
    sys.path.insert(0, str(HOME))

from components._frame.launch import CONTEXT, guarded  # noqa: E402 - needs the path set above

# Subcommand: its module, and its name in that module's group if it belongs to one.
COMMANDS: dict[str, tuple[str, str | None]] = {
    "ingest": ("components.ingest", None),
    "check": ("components._cli.check", None),
    "run": ("components._cli.run", None),
    "predict": ("components.predict", None),
    "register": ("components.register", None),
    "promote": ("components.promote", None),
    "rollback": ("components.promote", "rollback"),
    "history": ("components.promote", "history"),
    "drift": ("components.drift", None),
    "queue": ("components._cli.queue", None),
    "refill": ("components._cli.refill", None),
    "labels": ("components._cli.labels", None),
    "review": ("components._cli.review", None),
    "serve": ("components._cli.serve", None),
    "prune": ("components._cli.prune", None),
}


def description(name: str) -> str:
    """The first docstring line of the command, read without importing it."""
    module, inner = COMMANDS[name]
    tree = ast.parse(HOME.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8"))
    if inner is None:
        text = ast.get_docstring(tree)
    else:
        [function] = (
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == f"run_{inner}"
        )
        text = ast.get_docstring(function)
    assert text is not None
    return text.splitlines()[0]


class Lazy(click.Group):
    """A group whose commands are imported only when they run or show their own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, inner = COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(module).command
        return command if inner is None else command.commands[inner]  # type: ignore[attr-defined]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, description(name)) for name in COMMANDS])


longtail = Lazy(
    "longtail",
    context_settings=CONTEXT,
    help="Nightly retraining for long-tailed multi-label text classification.",
    epilog="Stages run through `dvc repro`. For shell completion, see docs/reference/commands.md.",
)


def main() -> None:
    """Entry point of the installed command."""
    name = next((word for word in sys.argv[1:] if word in COMMANDS), "longtail")
    guarded(name, lambda: longtail.main(sys.argv[1:], "longtail", standalone_mode=False))
