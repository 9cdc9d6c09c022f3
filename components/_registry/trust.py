"""Compares every file of a version with what was registered, before anything of it is imported.

A version brings its own code. So it is copied to a private folder, each file there is compared with
what `register` recorded, and only this copy is run: what changes later in the store is not seen.
docs/security.md says what that protects from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.utils.models import get_model_name_and_version

from components._frame.pipeline import load_lock
from components._registry import client as registry
from components._registry.client import mlflow  # after the settings that it reads on import
from components._registry.outage import explained, told
from longtail.errors import DataError

LISTING = "evidence/files.txt"
PREFIX = "sha256:"  # of the listing; versions of 0.1.0 have another digest, without it
# MLflow writes it into every version that it downloads, in a local store into the store itself.
WRITTEN_BY_MLFLOW = "registered_model_meta"
# What the digest of 0.1.0 left out; nothing else may be in such a version.
UNCHECKED_BEFORE = {
    "MLmodel",
    "conda.yaml",
    "python_env.yaml",
    "requirements.txt",
    "input_example.json",
    "serving_input_example.json",
}
CACHE = "__pycache__"  # what Python compiled
MOST_NAMED = 5
NOT_REGISTERED = "are not those that were registered"
ADVICE = (
    "Nothing of it was run. Restore the files, or `longtail rollback` to another version, and find "
    "out who can write to the artifact store (docs/security.md)."
)


def fetch(uri: str, into: Path) -> Path:
    """Copy a version to the folder `into`, and return the place of the copy, which may be run.

    Args:
        uri: of the version (`models:/…`, `runs:/…`), or a folder with an `MLmodel` file, for which
            there is nothing to compare with but `dvc.lock`.
        into: a private, empty folder.

    Raises:
        DataError: there is no such version, or a file of it is not the one that was registered.
        TemporaryError: it cannot be downloaded now.
        ParameterError: the tracking server refuses the request.
    """
    if not uri.startswith(("models:/", "runs:/")):
        check_lock(Path(uri))
        copied = _copied(Path(uri), into, uri)
        _check_bytecode(copied, uri)
        return copied
    with _explained(uri):
        place, tags, run_id = _registered(uri)
        repository = get_artifact_repository(place)
        while hasattr(repository, "repo"):  # `models:/…` leads to another address
            repository = repository.repo
        if isinstance(repository, LocalArtifactRepository):
            copied = _copied(Path(repository.artifact_dir), into, uri)
        else:
            copied = Path(mlflow.artifacts.download_artifacts(place, dst_path=str(into)))
            drop_bytecode(copied)
        _check(copied, tags.get(registry.FILES, ""), uri, run_id)
    return copied


def identified(uri: str) -> tuple[str, str]:
    """The fixed address of what `uri` means now (an alias may move), and the digest of its files.

    The digest is the one that was registered; whether the files still have it, `fetch` tells.

    Raises:
        DataError, TemporaryError, ParameterError: as `fetch`.
    """
    with _explained(uri):
        place, tags, _ = _registered(uri)
    return place, tags.get(registry.FILES, "")


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        better = explained(told(error))
        reason = f"{uri} cannot be downloaded: {type(error).__name__}: {error}"
        raise better or DataError(reason) from None


def _registered(uri: str) -> tuple[str, Mapping[str, str], str]:
    """The version's fixed address (an alias may move), its tags, and its run."""
    client = mlflow.MlflowClient()
    if uri.startswith("runs:/"):
        run = client.get_run(uri.removeprefix("runs:/").partition("/")[0])
        made = run.outputs.model_outputs if run.outputs else []
        place = f"models:/{made[0].model_id}" if len(made) == 1 else uri
        return place, run.data.tags, run.info.run_id
    found = get_model_name_and_version(client, uri)
    if len(found) == 1:
        run = client.get_run(str(client.get_logged_model(found[0]).source_run_id))
        return uri, run.data.tags, run.info.run_id
    version = client.get_model_version(*found)
    return f"models:/{found[0]}/{found[1]}", version.tags, str(version.run_id)


def _copied(source: Path, into: Path, what: str) -> Path:
    if not source.is_dir():
        raise DataError(f"{what}: its files are gone; expected a folder at {source}.")
    _check_plain(source, what)
    copied = into / "files"
    for folder, folders, files in os.walk(source, onerror=_raise):
        folders[:] = [name for name in folders if name != CACHE]
        place = copied / Path(folder).relative_to(source)
        # Not with the modes of the store: a folder that cannot be listed hides its files from the
        # comparison, but not from Python.
        place.mkdir()
        for name in files:
            shutil.copyfile(Path(folder, name), place / name, follow_symlinks=False)
    return copied


def _raise(error: OSError) -> None:
    raise error


def drop_bytecode(folder: Path) -> None:
    """Delete what Python compiled in a copy of a version.

    Python runs it without a look at the source beside it, and whoever loads a version where a local
    store keeps it, leaves some there: MLflow when it registers, `mlflow models serve`, a notebook.
    So it is no sign of tampering, and nobody needs it.
    """
    for path in [*folder.rglob(CACHE)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def listing(folder: Path) -> str:
    """Every file below `folder` with its SHA-256, sorted by name, as `sha256sum` writes it."""
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    files.pop(WRITTEN_BY_MLFLOW, None)
    return "".join(f"{_sha256(files[name])}  {name}\n" for name in sorted(files))


def digest(files: str) -> str:
    """The digest of a listing, as it is in the tag `files_digest`."""
    return PREFIX + hashlib.sha256(files.encode()).hexdigest()


def megabytes(folder: Path) -> float:
    """The size of the files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _check(folder: Path, expected: str, what: str, run_id: str) -> None:
    """Compare the copy in `folder` with the tag `files_digest` of the version."""
    if not expected:
        raise DataError(
            f"{what} has no tag {registry.FILES!r}, so nothing says which files it was registered "
            "with; nothing of it was run. Register it with `longtail register`."
        )
    _check_plain(folder, what)
    if not expected.startswith(PREFIX):
        _check_old(folder, expected, what)
        return
    found = listing(folder)
    if digest(found) != expected:
        raise DataError(
            f"The files of {what} {NOT_REGISTERED}: {_difference(run_id, found, expected)} "
            f"(expected {expected}, got {digest(found)}). {ADVICE}"
        )


def _check_plain(folder: Path, what: str) -> None:
    for path in folder.rglob("*"):
        if CACHE in path.relative_to(folder).parent.parts:
            continue  # left out of the copy
        name = path.relative_to(folder).as_posix()
        kind = "a symbolic link" if path.is_symlink() else "a device or a pipe"
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DataError(
                f"The files of {what} {NOT_REGISTERED}: {name} is {kind}, expected a file. {ADVICE}"
            )
        if not name.isprintable():
            raise DataError(
                f"The files of {what} {NOT_REGISTERED}: {name!r} is no name that `longtail` "
                f"writes. {ADVICE}"
            )


def _check_bytecode(folder: Path, what: str) -> None:
    """Where nothing lists the files: a module without its source may hide anything."""
    for path in folder.rglob("*"):
        if path.suffix in (".pyc", ".pyo"):
            raise DataError(
                f"{what} holds bytecode without its source: {path.relative_to(folder)}; expected "
                "modules that can be read. Nothing of it was run."
            )


def _check_old(folder: Path, expected: str, what: str) -> None:
    """A version of 0.1.0: its digest leaves out MLflow's own files."""
    found, extra = hashlib.sha256(), []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or name.as_posix() == WRITTEN_BY_MLFLOW:
            continue
        if name.parts[0] in ("artifacts", "code") or name.suffix == ".py":
            part = bytes.fromhex(_sha256(path))
            found.update(name.as_posix().encode() + b"\0" + part)
        elif name.as_posix() not in UNCHECKED_BEFORE:
            extra.append(name.as_posix())
    if extra or found.hexdigest() != expected:
        more = f"{_names(extra)} not registered, " if extra else ""
        raise DataError(
            f"The files of {what} {NOT_REGISTERED} ({more}expected {expected}, got "
            f"{found.hexdigest()}). {ADVICE}"
        )


def _difference(run_id: str, found: str, expected: str) -> str:
    """Which files differ, if the listing that `register` stored with the run is unchanged."""
    try:
        uri = mlflow.MlflowClient().get_run(run_id).info.artifact_uri
        stored = mlflow.artifacts.load_text(f"{uri}/{LISTING}")
    except Exception:  # an explanation only
        stored = ""
    if digest(stored) != expected:
        return f"which ones is unknown, since the run's artifact {LISTING} was changed too"
    old, new = _by_name(stored), _by_name(found)
    kinds = {
        "changed": [name for name in new if name in old and old[name] != new[name]],
        "not registered": [name for name in new if name not in old],
        "missing": [name for name in old if name not in new],
    }
    return "; ".join(f"{_names(names)} {kind}" for kind, names in kinds.items() if names)


def _by_name(files: str) -> dict[str, str]:
    return {line[66:]: line[:64] for line in files.splitlines()}


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_lock(path: Path) -> None:
    """Compare a stage's output with what `dvc.lock` records; no record, no comparison.

    Raises:
        DataError: they differ.
    """
    recorded = _recorded(path)
    if recorded and path.exists() and _dvc_md5(path) != recorded:
        raise DataError(
            f"{path} is not what dvc.lock records (expected MD5 {recorded}, got {_dvc_md5(path)}). "
            "Run `dvc repro`; if you changed it on purpose, `dvc commit`."
        )


def _recorded(path: Path) -> str | None:
    outs = [out for row in load_lock().values() for out in row.get("outs", ())]
    same = [out["md5"] for out in outs if Path(out["path"]).resolve() == path.resolve()]
    return same[0] if same else None


def _dvc_md5(path: Path) -> str:
    """The MD5 by which DVC knows a file, or a folder: that of the list of its files."""
    if not path.is_dir():
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "md5").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    rows = [{"md5": _dvc_md5(f), "relpath": f.relative_to(path).as_posix()} for f in files]
    text = json.dumps(sorted(rows, key=lambda row: row["relpath"]), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"
