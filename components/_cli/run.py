"""Run everything: ingest if there is no data, all stages, register, decide, apply."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from components import promote, register
from components._cli.summary import show
from components._frame.exit_codes import GateNotPassed
from components._frame.launch import CONTEXT

DVC = [sys.executable, "-m", "dvc"]
# Lines of DVC that are not shown, unlike those of the stages; errors go to stderr.
CHATTER = (
    "> ",
    "Verifying data sources in stage",
    "Running stage ",
    "Updating lock file",
    "To track the changes with git",
    "\tgit add",
    "To enable auto staging",
    "Use `dvc push`",
    "Ran experiment(s)",
    "Experiment results have been applied",
)
UNCHANGED = "didn't change, skipping"


@click.command("run", context_settings=CONTEXT, help=__doc__)
@click.option(
    "--profile",
    type=click.Choice(["head", "finetune"]),
    help="train.profile for this run, as a DVC experiment (default: from params.yaml)",
)
def command(profile: str | None) -> None:
    """Run in one process where that saves imports; a refusal also ends with the summary."""
    if not Path("data/corpus.parquet").exists():
        get_data()
    repro = ["repro"]
    if profile:
        repro = ["exp", "run", "--set-param", f"train.profile={profile}"]
    run_dvc(repro)
    register.run()
    try:
        promote.run_decide()
        promote.run_apply()
    except GateNotPassed:
        pass  # a decision, which the summary shows
    show()


def get_data() -> None:
    """Pull the data if DVC has a remote, else ingest the default corpus."""
    remotes = subprocess.run([*DVC, "remote", "list"], capture_output=True, text=True, check=False)
    if remotes.stdout.strip():
        run_dvc(["pull", "data.dvc"])
        return
    from components.ingest import command as ingest

    ingest.main(["auto"], "longtail ingest", standalone_mode=False)
    run_dvc(["add", "--quiet", "data"])


def run_dvc(argv: list[str]) -> None:
    """Run DVC and show only what the stages print; exit with its code if it fails."""
    with subprocess.Popen([*DVC, *argv], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        unchanged = 0
        for line in process.stdout:
            unchanged += UNCHANGED in line
            if line.strip() and UNCHANGED not in line and not line.startswith(CHATTER):
                print(line, end="", flush=True)
    if process.returncode:
        sys.exit(process.returncode)
    if unchanged:
        print(f"{unchanged} stages unchanged.")
