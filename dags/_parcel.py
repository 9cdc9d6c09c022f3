"""A parcel: the files of a workspace that DVC does not track, on their way to a pod or back."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from components._frame.pipeline import DVC_LOCK, Stage, overlap
from dags._commands import CORPUS
from dags._source import INCOMING
from dags._tools import FOLDERS, ToolError, WorkspaceError

DATA = "data"
NOTE = ".dvc/tmp/note.json"  # where no file of a parcel is
# Never in a parcel: git's and DVC's own files (the credentials in `config.local` among them).
LEFT_OUT = (".git", ".dvc", DATA)
DVC_CONFIG = ".dvc/config"
# What the commands read of what DVC tracks; the others read all of it.
READS: dict[str, tuple[str, ...]] = {
    "drift": (DATA, CORPUS), "resolve": (), "rollback": (), "registry": (),
}  # fmt: skip


def sent(night: str, step: str) -> str:
    """Where the parcel to a step's pod is."""
    return f"{night}/{step}.sent.tar.gz"


def made(night: str, step: str) -> str:
    """Where the parcel with what a step made is."""
    return f"{night}/{step}.made.tar.gz"


def pointers(paths: list[str]) -> list[str]:
    """Paths as DVC's commands take them.

    The file `data.dvc` is last: `dvc pull data.dvc artifacts/x` leaves out `artifacts/x` and says
    that everything is up to date (DVC 3).
    """
    return [*(path for path in paths if path != DATA), *([f"{DATA}.dvc"] if DATA in paths else [])]


def tracked(stages: Collection[Stage]) -> list[str]:
    """What DVC tracks: the data and the outputs of stages."""
    return [DATA, *(out for stage in stages for out in stage.outs)]


def reads(step: str, stages: Collection[Stage]) -> list[str] | None:
    """What a step reads of what DVC tracks: a stage what `dvc.yaml` says; None is all of it."""
    found = {stage.name: stage.deps for stage in stages} | READS
    if step not in found:
        return None
    return [path for path in tracked(stages) if any(overlap(path, dep) for dep in found[step])]


def made_target(step: str, stages: Collection[Stage]) -> str:
    """DVC's target with what a step makes of what DVC tracks; empty for none."""
    if step == "ingest":
        return f"{DATA}.dvc"
    return step if step in {stage.name for stage in stages} else ""


def contents(folder: Path, step: str, stages: Collection[Stage]) -> list[str]:
    """The files of the workspace that go to the step's pod.

    A stage gets none of the artifacts and reports: what it reads of them, `dvc.yaml` has to say.
    Only `ingest` gets the new files of the source.
    """
    skipped = LEFT_OUT if step == "ingest" else (*LEFT_OUT, INCOMING)
    outs = tracked(stages)
    if step in {stage.name for stage in stages}:
        outs += FOLDERS
    config = [DVC_CONFIG] if (folder / DVC_CONFIG).is_file() else []
    return [*_untracked(folder, skipped, outs), *config]


def changes(
    folder: Path, stages: Collection[Stage], before: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """What a step has written and removed, of what DVC does not track.

    Args:
        folder: The pod's workspace.
        stages: The stages of its `dvc.yaml`.
        before: SHA-256 of every file that came with the parcel.
    """
    names = _untracked(folder, (*LEFT_OUT, INCOMING, DVC_LOCK.name), tracked(stages))
    written = [name for name in names if before.get(name) != digest(folder / name)]
    return written, [name for name in before if not (folder / name).exists()]


def pack(
    folder: Path, names: Collection[str], archive: Path, note: Mapping[str, Any] | None = None
) -> None:
    """Write files of a folder, and a note with them, into an archive."""
    text = json.dumps(note or {}).encode()
    # A link's target goes as a file, since the link may lead nowhere there.
    with tarfile.open(archive, "w:gz", dereference=True) as tar:
        for name in names:
            tar.add(folder / name, name, recursive=False)
        entry = tarfile.TarInfo(NOTE)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))


def unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Lay the files of an archive over a folder, each whole, and return its note.

    Raises:
        ToolError: It arrived damaged; nothing was laid down.
        WorkspaceError: It has something else than files of that folder; nothing was laid down.
    """
    new = folder / ".dvc" / "tmp" / "unpacked"  # on the same file system
    new.parent.mkdir(parents=True, exist_ok=True)
    _check_whole(archive)
    with tarfile.open(archive) as tar:
        note = _checked(tar, folder)
        for entry in tar:
            content = tar.extractfile(entry)
            if content is None or entry.name == NOTE:
                continue
            with new.open("wb") as file:
                shutil.copyfileobj(content, file)
            new.chmod(entry.mode & 0o755 | 0o644)
            (folder / entry.name).parent.mkdir(parents=True, exist_ok=True)
            new.replace(folder / entry.name)
    return note


def _check_whole(archive: Path) -> None:
    """Read it to its end, where its checksum is."""
    try:
        with gzip.open(archive) as file:
            if not file.read(1):
                raise EOFError("it is empty.")
            while file.read(2**20):
                pass
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ToolError(f"A parcel arrived damaged: {error}") from None
    if not tarfile.is_tarfile(archive):
        raise WorkspaceError("What arrived is no parcel; nobody here made it.")


def _checked(tar: tarfile.TarFile, folder: Path) -> dict[str, Any]:
    """The note of an archive that has it, and nothing but files that may be in a parcel."""
    try:
        entries = tar.getmembers()
        found = tar.extractfile(NOTE)
        note: dict[str, Any] = json.load(found) if found else {}
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise WorkspaceError(f"What arrived is no parcel; nobody here made it: {error}") from None
    files = [entry.name for entry in entries if entry.name != NOTE]
    config = "" if note else DVC_CONFIG  # on the way to a pod only
    for name in (*files, *note.get("removed", ())):
        path = PurePosixPath(name)
        inside = (folder / path).parent.resolve().is_relative_to(folder.resolve())
        own = path.parts[:1] and (path.parts[0] not in LEFT_OUT or name == config)
        if ".." in path.parts or not inside or not own:
            raise WorkspaceError(f"{name} cannot be in a parcel; nobody here made it.")
    if others := [entry.name for entry in entries if not entry.isreg()]:
        raise WorkspaceError(f"{others[0]} cannot be in a parcel; nobody here made it.")
    return note


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _untracked(folder: Path, skipped: Collection[str], outs: Collection[str]) -> list[str]:
    """The regular files in a folder, without those in `outs` and without top entries `skipped`."""
    found = []
    for root, folders, files in os.walk(folder):
        left_out = skipped if Path(root) == folder else ()
        folders[:] = [name for name in folders if name not in (*left_out, "__pycache__")]
        paths = [Path(root, name) for name in files if name not in left_out]
        found += [path.relative_to(folder) for path in paths if path.is_file()]
    return sorted(str(path) for path in found if not any(path.is_relative_to(out) for out in outs))
