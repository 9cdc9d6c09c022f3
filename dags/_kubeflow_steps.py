"""The steps of a night on Kubeflow that need git and DVC: `python -m dags._kubeflow_steps STEP …`.

Beside the workspace, in its folder `….steps`, lies what each step has to do (`NAME.todo`, with a
command line if it is not the usual one) and what became of it (`NAME.ended`, `NAME.failed.TASK`);
`kubeflow_step.sh` reads and writes the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from components._frame.exit_codes import BAD_PARAMETERS, OK, TEMPORARY
from components._frame.pipeline import load_stages
from dags import _workspace
from dags._commands import COMMANDS
from dags._pool import refill_command
from dags._retention import using_cache
from dags._settings import load_settings
from dags._source import ingest_command
from dags._tools import ToolError, WorkspaceError
from dags._workspace import Workspace

SETTINGS = load_settings()


class Notes:
    """What a run's steps have to do, and what became of them.

    Args:
        run: Kubeflow's id of the run, which names its workspace.
    """

    def __init__(self, run: str) -> None:
        self.workspace = SETTINGS.workspaces / run
        self.folder = Path(f"{self.workspace}.steps")

    def write(self, name: str, text: str = "") -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / f".{name}"
        new.write_text(text, encoding="utf-8")
        new.replace(self.folder / name)

    def read(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else None

    def checkout(self) -> Workspace:
        return Workspace(**json.loads(self.read("workspace.json") or "{}"))

    def environment(self, **variables: str) -> None:
        """Add variables to those of the later steps."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        self.write("environment", (self.read("environment") or "") + "".join(lines))

    def planned(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.todo"))

    def failure(self, order: list[str]) -> tuple[str, str] | None:
        """The first step of `order` that had something to do and did not end, and its last words.

        A step after a failed one was never started: it has left nothing.
        """
        for name in order:
            if name in self.planned() and self.read(f"{name}.ended") is None:
                said = [path.read_text(errors="replace") for path in
                        sorted(self.folder.glob(f"{name}.failed.*"))]  # fmt: skip
                log = self.read(f"{name}.log") or ""
                return name, (said[-1] if said else "\n".join(log.splitlines()[-5:])).strip()
        return None


def yes(word: str) -> bool:
    """Whether a switch of the pipeline is on: Kubeflow writes `true`, kfp's runner `True`."""
    return word.lower() == "true"


def workspace(notes: Notes, given: argparse.Namespace) -> None:
    """Check out code and data, and copy the source's new files."""
    _workspace.clean(SETTINGS.workspaces, SETTINGS.keep_days)
    started = notes.read("started") or datetime.now(UTC).isoformat()
    notes.write("started", started)  # a second try belongs to the same night
    key = _workspace.record_key(datetime.fromisoformat(started))
    checkout = _workspace.prepare(
        SETTINGS.repo, notes.workspace, key, given.revision or None, given.encoder or None
    )
    argv = ingest_command(given.source or SETTINGS.source, checkout, update=yes(given.update))
    notes.write("workspace.json", json.dumps(checkout.to_dict()))
    notes.write("environment")
    notes.environment(
        LONGTAIL_APPROVAL=given.approval,
        LONGTAIL_CACHE=f"{SETTINGS.state}/cache",
        LONGTAIL_GIT_COMMIT=checkout.commit,
        LONGTAIL_LOGICAL_DATE=checkout.key,
    )
    if not os.environ.get("MLFLOW_TRACKING_URI"):  # a server's address may hold a password
        notes.environment(**SETTINGS.store)
    if argv:
        notes.write("ingest.todo", shlex.join(argv))


def plan(notes: Notes, given: argparse.Namespace) -> None:
    """Ask DVC which stages are out of date."""
    checkout, stages = notes.checkout(), load_stages(notes.workspace / "dvc.yaml")
    stale = _workspace.stale_stages(checkout, stages, yes(given.force), None)
    if not stale and not _workspace.is_undecided(checkout):
        return _workspace.remember(checkout)
    for name in (*stale, "record", *COMMANDS):
        notes.write(f"{name}.todo")


def record(notes: Notes, given: argparse.Namespace) -> None:
    """Commit outputs to DVC, and data.dvc and dvc.lock to `nightly`."""
    if "record" in notes.planned():
        notes.environment(LONGTAIL_DATA_REVISION=_workspace.record(notes.checkout()))


def pool(notes: Notes, given: argparse.Namespace) -> None:
    """Copy the pool of unlabeled texts, and say how to queue some of them."""
    notes.write("pool.todo")
    argv = refill_command(replace(SETTINGS, pool=given.pool, queue_size=int(given.size)))
    if argv:
        notes.write("queue.todo", shlex.join(argv))


def notify(notes: Notes, given: argparse.Namespace) -> None:
    """Say how the night ended, or which step failed."""
    from dags._notify import Notify, outcome, queued

    stages = [stage.name for stage in load_stages(SETTINGS.repo / "dvc.yaml")]
    order = ["workspace", "ingest", "plan", *stages, "record", *COMMANDS, "pool", "queue"]
    for name in ("workspace", "plan"):
        notes.write(f"{name}.todo")
    if failed := notes.failure(order):
        moved = "It may have moved the champion: `longtail history` tells. "
        hint = moved if failed[0] in ("apply", "drift") else ""
        text = f"longtail: {failed[0]} failed in {given.run}. {hint}{failed[1]}"
    else:
        planned = notes.planned()
        text = outcome(notes.workspace, planned, None)
        if (notes.read("queue.ended") or "").strip() == str(OK):
            text += f"\n\n{queued(SETTINGS.queues, notes.checkout().key)}"
        if "record" in planned:
            _workspace.mark_decided(notes.checkout())
    Notify(text).notify({})


STEPS: dict[str, Callable[[Notes, argparse.Namespace], None]] = {
    "workspace": workspace, "plan": plan, "record": record, "pool": pool, "notify": notify,
}  # fmt: skip
OPTIONS = ("source", "update", "force", "revision", "encoder", "approval", "pool", "size")


def main() -> int:
    """Run one step; the exit code is what Kubeflow sees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("run")
    for name in OPTIONS:
        parser.add_argument(f"--{name}", default="")
    given = parser.parse_args()
    notes = Notes(given.run)
    try:
        with using_cache(SETTINGS.home):
            STEPS[given.step](notes, given)
    except (ToolError, WorkspaceError) as error:
        notes.write(f"{given.step}.log", str(error))
        print(error, file=sys.stderr)
        return TEMPORARY if isinstance(error, ToolError) else BAD_PARAMETERS
    notes.write(f"{given.step}.ended", "0\n")
    return OK


if __name__ == "__main__":
    sys.exit(main())
