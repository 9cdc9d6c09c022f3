"""Run everything: ingest if there is no data, all stages, register, drift, decide, apply."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

import click

from components._frame.exit_codes import TEMPORARY, GateNotPassed
from components._frame.launch import CONTEXT
from components._frame.on_gpu import check_gpus
from components._frame.pipeline import load_lock, load_stages
from longtail.errors import DataError, ParameterError

DVC = [sys.executable, "-m", "dvc"]
# Lines of DVC that are not shown, unlike those of the stages; errors go to stderr.
CHATTER = (
    "> ",
    "Verifying data sources in stage",
    "Running stage ",
    "Updating lock file",
    "Generating lock file",
    "Reproducing experiment",
    "Data and pipelines are up to date",
    "To track the changes with git",
    "\tgit add",
    "To enable auto staging",
    "\tdvc config core.autostage",
    "Use `dvc push`",
    "Ran experiment(s)",
    "Experiment results have been applied",
)
DATA = Path("data/corpus.parquet")
UNCHANGED = "didn't change, skipping"


@click.command("run", context_settings=CONTEXT, help=__doc__)
@click.option(
    "--profile",
    type=click.Choice(["head", "finetune"]),
    help="set train.profile in params.yaml first, as a DVC experiment",
)
def command(profile: str | None) -> None:
    """Run in one process where that saves imports; a refusal also ends with the summary."""
    load_lock()  # half of one is told before anything runs
    status = ask_dvc() if profile is None and DATA.exists() else None
    # Not at the top: they take as long to load as DVC takes to answer.
    from components import promote, register
    from components._cli.check import SECTIONS, check
    from components._cli.summary import show

    if status is not None and nothing_changed(status):
        stages = {stage.name for stage in load_stages()}
        # Those of the stages were checked when they ran, and what checks them loads for 8 s.
        check(sections=SECTIONS.keys() - stages)
        print(f"{len(stages)} stages unchanged.")
    else:
        check()
        for stage in load_stages():
            if stage.gpus:
                check_gpus(stage.name, stage.gpus)
        if not DATA.exists():
            get_data()
        repro = ["repro"]
        if profile:
            repro = ["exp", "run", "--set-param", f"train.profile={profile}"]
        run_dvc(repro)
    register.run()
    watch_champion()
    # What the two say is the last line of the summary, a refusal too.
    with suppress(GateNotPassed), redirect_stdout(io.StringIO()):
        promote.run_decide()
        promote.run_apply()
    show()


def ask_dvc() -> subprocess.Popen[str]:
    """Start to compare data, code, parameters, and results with what they were."""
    ask, pipe = [*DVC, "status", "--json"], subprocess.PIPE
    return subprocess.Popen(ask, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def nothing_changed(status: subprocess.Popen[str]) -> bool:
    """Whether DVC finds them as they were when all stages ran."""
    said, _ = status.communicate()
    return status.returncode == 0 and said.strip() == "{}"


def watch_champion() -> None:
    """Measure the champion so far on the new documents, if there are any; it stops nothing."""
    from components import drift

    try:
        found = drift.monitor()
    except (DataError, ParameterError) as error:
        print(f"drift was not measured: {error}", file=sys.stderr)
        return
    for alarm in found["alarms"]:
        print(f"ALARM: {alarm}")
    if "reason" not in found and not found["alarms"]:
        print(drift.summary(found))


def get_data() -> None:
    """Pull the data if DVC has a remote, else ingest the default corpus."""
    remotes = subprocess.run([*DVC, "remote", "list"], capture_output=True, text=True, check=False)
    if remotes.stdout.strip():
        run_dvc(["pull", "data.dvc"])
        return
    from components.ingest import command as ingest

    ingest.main(["auto"], "longtail ingest", standalone_mode=False)
    run_dvc(["add", "data"])


def run_dvc(argv: list[str]) -> None:
    """Run DVC and show only what the stages print; exit with its code if it fails."""
    # The stages say `python`: it has to be this one, whether its environment is active or not.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = os.environ | {"PATH": path}
    pipe = subprocess.PIPE
    with subprocess.Popen([*DVC, *argv], stdout=pipe, env=environment, text=True) as process:
        assert process.stdout is not None
        unchanged = 0
        for line in process.stdout:
            unchanged += UNCHANGED in line and ".dvc'" not in line  # stages, not data
            if line.strip() and UNCHANGED not in line and not line.startswith(CHATTER):
                print(line, end="", flush=True)
    if process.returncode:
        # DVC keeps a stage's own code to itself; the stage has said what was wrong.
        sys.exit(process.returncode if process.returncode > 0 else TEMPORARY)
    if unchanged:
        print(f"{unchanged} stages unchanged.")
