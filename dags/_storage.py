"""Storage `remote`: carries a step's files to its pod and back, through DVC's remote.

DVC's own objects go first, the parcel that names them last, so that nobody believes half a result.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import yaml
from airflow.sdk.exceptions import AirflowSkipException

from components._frame.pipeline import DVC_LOCK, load_lock, load_stages
from dags._lock import holding
from dags._parcel import contents, made, made_target, pack, pointers, reads, sent, unpack
from dags._remote import Remote, explained, shown_options
from dags._retention import using_cache
from dags._settings import Settings
from dags._steps import airflow_exceptions
from dags._tools import ToolError, WorkspaceError, dvc, remote_options

# What the steps besides the stages share is the registry; without a volume they share no lock.
REGISTRY_LOCK = "registry.lock"


def check(settings: Settings) -> dict[str, str]:
    """The remote's options for pods, if steps can do without a volume.

    Raises:
        ValueError: Steps would share more than the remote holds, or there is none.
    """
    if settings.artifact_root or not os.environ.get("MLFLOW_TRACKING_URI"):
        raise ValueError(
            "LONGTAIL_STORAGE is remote, so steps share no file: set MLFLOW_TRACKING_URI to the "
            "address of a server."
        )
    if settings.pool:
        raise ValueError(
            "LONGTAIL_STORAGE is remote, so steps share no queues: LONGTAIL_POOL needs "
            "LONGTAIL_STORAGE=volume."
        )
    return shown_options(settings.repo)


@contextmanager
def carried(settings: Settings, folder: Path, step: str) -> Iterator[str]:
    """Send a step's files, yield the night's name in the remote, and bring back what it made.

    Args:
        settings: Of this installation.
        folder: The run's workspace on this machine.
        step: A stage or another step of the night.

    Raises:
        AirflowException: An outage; Airflow tries again.
        AirflowFailException: The remote lacks something, or does not let us.
    """
    own = {stage.name for stage in load_stages(folder / "dvc.yaml")} | {"ingest"}
    alone = nullcontext() if step in own else holding(settings.home / REGISTRY_LOCK)
    with airflow_exceptions(), alone:
        remote = Remote(remote_options(settings.repo))
        with using_cache(settings.home):
            night = _send(remote, folder, step)
        decision = None
        try:
            yield night
        except AirflowSkipException as skipped:  # the gate's answer, which is among the files
            decision = skipped
        with using_cache(settings.home):
            _receive(remote, folder, step, night)
        if decision:
            raise decision


def _send(remote: Remote, folder: Path, step: str) -> str:
    """Push what the step reads, then its parcel."""
    stages = load_stages(folder / "dvc.yaml")
    targets = reads(step, stages)
    with holding(folder / ".dvc" / "tmp" / "storage.lock"):
        night = _name(folder)
        if targets is None or targets:
            with explained(remote.url):
                dvc(folder, "push", *pointers(targets or []))
        with _archive() as archive:
            pack(folder, contents(folder, step, stages), archive)
            remote.put(archive, sent(night, step))
    return night


def _receive(remote: Remote, folder: Path, step: str, night: str) -> None:
    """Lay what the step made into the workspace, as if it had run there."""
    with holding(folder / ".dvc" / "tmp" / "storage.lock"):
        with _archive() as archive:
            try:
                remote.get(made(night, step), archive)
            except FileNotFoundError:
                raise ToolError(f"{remote.url} has nothing that {step} made.") from None
            note = unpack(archive, folder)
        if note.keys() != {"removed", "lock"}:
            raise WorkspaceError(
                f"The container `storage` of {step} is of another revision than these DAGs; deploy "
                "both, the image `airflow` and the DAGs, from one revision."
            )
        for name in note["removed"]:
            (folder / name).unlink(missing_ok=True)
        if note["lock"]:
            _add_to_lock(folder / DVC_LOCK, step, note["lock"])
        if target := made_target(step, load_stages(folder / "dvc.yaml")):
            with explained(remote.url):
                dvc(folder, "pull", "--force", target)
    # All is here: whatever keeps us from deleting, the bucket's lifecycle rule does it.
    with suppress(WorkspaceError, FileNotFoundError):
        for name in (sent(night, step), made(night, step)):
            remote.delete(name)


def _name(folder: Path) -> str:
    """A name that no other checkout has, be it of the same night in another installation."""
    file = folder / ".dvc" / "tmp" / "night"
    if not file.exists() or not file.read_text(encoding="utf-8"):  # a kill leaves it empty
        file.write_text(f"{folder.name}-{uuid.uuid4().hex}", encoding="utf-8")
    return file.read_text(encoding="utf-8")


def _add_to_lock(file: Path, step: str, entry: dict[str, Any]) -> None:
    document = {"schema": "2.0", "stages": load_lock(file) | {step: entry}}
    new = file.with_name(".dvc.lock.new")
    new.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    new.replace(file)


@contextmanager
def _archive() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="longtail-") as scratch:
        yield Path(scratch, "parcel.tar.gz")
