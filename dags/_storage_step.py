"""What a pod without a volume does around its step: `python -P -m dags._storage_step pull STEP`.

`pull` fills the empty workspace; `push` waits for the step's end and stores what it made. They run
in the image that has DVC, `kubernetes_step.sh` in the step's own, beside them.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import sys
import tempfile
from pathlib import Path

from components._frame.exit_codes import BAD_DATA, BAD_PARAMETERS, GATE_NOT_PASSED, OK, TEMPORARY
from components._frame.pipeline import ProjectError, load_lock, load_stages
from dags._parcel import (
    DATA,
    changes,
    digest,
    made,
    made_target,
    pack,
    pointers,
    reads,
    sent,
    unpack,
)
from dags._remote import CredentialsError, Remote, explained
from dags._tools import FOLDERS, ToolError, WorkspaceError, dvc

TMP = Path(".dvc/tmp")
# Named pipes between this and the step: its exit code, and then ours with a sentence.
ENDED, PUSHED = TMP / "ended", TMP / "pushed"
BEFORE = TMP / "before.json"


def pull(folder: Path, step: str, night: str, options: dict[str, str]) -> None:
    """Fill the empty workspace with the step's parcel and what it reads of what DVC tracks.

    Raises:
        CredentialsError: The remote refuses us.
        WorkspaceError: There is no parcel, or an input that nobody has made.
        ToolError: An outage.
    """
    remote = Remote(options)
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch, "parcel.tar.gz")
        try:
            remote.get(sent(night, step), archive)
        except FileNotFoundError:
            raise WorkspaceError(
                f"{remote.url} has nothing for {step} of {night}; clear the task, so that Airflow "
                "sends it again."
            ) from None
        unpack(archive, folder)
    before = {str(path.relative_to(folder)): digest(path)
              for path in folder.rglob("*") if path.is_file()}  # fmt: skip
    (folder / BEFORE).write_text(json.dumps(before), encoding="utf-8")
    _configure_dvc(folder, options)
    stages = load_stages(folder / "dvc.yaml")
    targets = reads(step, stages)
    _check_made(folder, step, targets or [])
    with explained(remote.url):
        if targets is None:  # a missing output is missed by the command; data must be whole
            targets = [DATA] if (folder / f"{DATA}.dvc").exists() else []
            dvc(folder, "pull", "--force", "--allow-missing")
        if targets:
            dvc(folder, "pull", "--force", *pointers(targets))
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    for pipe in (ENDED, PUSHED):
        os.mkfifo(folder / pipe)


def _configure_dvc(folder: Path, options: dict[str, str]) -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read_dict({
        "core": {"no_scm": "true", "remote": "storage"},
        "cache": {"type": "hardlink,copy"},
        "'remote \"storage\"'": options,
    })  # fmt: skip
    with (folder / ".dvc" / "config.local").open("w", encoding="utf-8") as file:
        config.write(file)


def _check_made(folder: Path, step: str, targets: list[str]) -> None:
    known = {out["path"] for entry in load_lock(folder / "dvc.lock").values()
             for out in entry.get("outs", ())}  # fmt: skip
    if (folder / f"{DATA}.dvc").exists():
        known.add(DATA)
    if missing := [path for path in targets if path not in known]:
        raise WorkspaceError(
            f"{step} reads {', '.join(missing)}, which no stage of this night or an earlier one "
            "has made; clear the run from the task `plan`."
        )


def push(folder: Path, step: str, night: str, options: dict[str, str]) -> None:
    """Store what the step made: DVC's objects first, then the parcel that names them.

    Raises:
        CredentialsError: The remote refuses us.
        ToolError: An outage, or an output that the step should have made is missing.
    """
    remote = Remote(options)
    stages = load_stages(folder / "dvc.yaml")
    target, entry = made_target(step, stages), None
    with explained(remote.url):
        if target == step:
            dvc(folder, "commit", "--force", step)
            entry = load_lock(folder / "dvc.lock")[step]
        elif target:
            dvc(folder, "add", DATA)
        if target:
            dvc(folder, "push", target)
    before = json.loads((folder / BEFORE).read_text(encoding="utf-8"))
    written, removed = changes(folder, stages, before)
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch, "parcel.tar.gz")
        pack(folder, written, archive, {"removed": removed, "lock": entry})
        remote.put(archive, made(night, step))


def attempt(function: str, step: str) -> tuple[int, str]:
    """Pull or push in the working folder, and return the exit code with a sentence."""
    night, options = os.environ["LONGTAIL_NIGHT"], json.loads(os.environ["LONGTAIL_REMOTE"])
    try:
        {"pull": pull, "push": push}[function](Path.cwd(), step, night, options)
    except ToolError as error:
        return TEMPORARY, str(error)
    except CredentialsError as error:
        return BAD_PARAMETERS, str(error)
    except (WorkspaceError, ProjectError) as error:
        return BAD_DATA, str(error)
    except OSError as error:  # no space on the node, for one
        return TEMPORARY, f"The workspace of {step} could not be read or written: {error}"
    return OK, ""


def push_after_step(step: str) -> tuple[int, str]:
    """Wait for the step, push if it ended as it should, and tell it how that went."""
    with ENDED.open() as ended, PUSHED.open("w") as pushed:
        code = ended.read().strip()  # empty if it was killed
        if code not in (str(OK), str(GATE_NOT_PASSED)):
            return OK, ""
        found, said = attempt("push", step)
        pushed.write(f"{found} {' '.join(said.split())}\n")
    return found, said


def main() -> int:
    """Pull or push; the exit code is what the pod's status shows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("function", choices=["pull", "push"])
    parser.add_argument("step")
    given = parser.parse_args()
    if given.function == "pull":
        code, said = attempt("pull", given.step)
    else:
        code, said = push_after_step(given.step)
    if said:
        print(said, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
