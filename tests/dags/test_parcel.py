"""Parcels: what goes in, what comes back, and those that nobody here made."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from components._frame.pipeline import load_stages
from dags._parcel import NOTE, changes, contents, digest, pack, pointers, unpack
from dags._tools import ToolError, WorkspaceError, dvc
from tests.builders.paths import ROOT

STAGES = load_stages(ROOT / "dvc.yaml")


def small_workspace(folder: Path) -> Path:
    """The files of the real stages, a byte each, with git's and DVC's own."""
    names = [".git/HEAD", ".dvc/config", ".dvc/config.local", ".dvc/cache/x", "params.yaml",
             "longtail/data/x.py", "longtail/__pycache__/x.pyc", "data/corpus.parquet",
             "incoming/new.csv", "reports/registered.json", "reports/usage/split.json",
             "artifacts/train/model/weights"]  # fmt: skip
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1")
    return folder


def test_dvc_takes_all_that_it_is_named(tmp_path: Path) -> None:
    """As `drift` reads data and the clean corpus: of `data.dvc corpus` DVC pulls only the first."""
    files = {"data/rows": "1", "artifacts/corpus": "2"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    stages = {"make": {"cmd": "true", "outs": ["artifacts/corpus"]}}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": stages}))

    def run(*argv: str) -> None:
        dvc(tmp_path, *argv)

    run("init", "--quiet", "--no-scm")
    run("remote", "add", "--quiet", "--default", "storage", str(tmp_path / "storage"))
    run("add", "--quiet", "data")
    run("commit", "--quiet", "--force", "make")
    run("push", "--quiet", *pointers(["data", "artifacts/corpus"]))
    for name in ("data", "artifacts", ".dvc/cache"):
        shutil.rmtree(tmp_path / name)
    run("pull", "--quiet", "--force", *pointers(["data", "artifacts/corpus"]))
    assert {name: (tmp_path / name).read_text() for name in files} == files


def test_what_goes_into_a_parcel(tmp_path: Path) -> None:
    folder = small_workspace(tmp_path)
    code = ["longtail/data/x.py", "params.yaml"]
    reports = ["reports/registered.json", "reports/usage/split.json"]
    assert sorted(contents(folder, "split", STAGES)) == [".dvc/config", *code]
    assert sorted(contents(folder, "decide", STAGES)) == [".dvc/config", *code, *reports]
    ingested = [".dvc/config", "incoming/new.csv", *code, *reports]
    assert sorted(contents(folder, "ingest", STAGES)) == ingested


def test_a_parcel_brings_back_what_the_step_changed_and_no_more(tmp_path: Path) -> None:
    airflow, pod = small_workspace(tmp_path / "airflow"), tmp_path / "pod"
    pod.mkdir()
    archive = tmp_path / "a.tar.gz"
    pack(airflow, contents(airflow, "decide", STAGES), archive)
    assert unpack(archive, pod) == {}
    names = contents(airflow, "decide", STAGES)
    before = {name: digest(pod / name) for name in names}
    (pod / "reports" / "registered.json").write_text("2")
    (pod / "reports" / "usage" / "split.json").unlink()
    (pod / "reports" / "decision.json").write_text("3")
    (pod / "dvc.lock").write_text("4")  # its entry goes with the note
    (pod / "artifacts" / "train" / "model").mkdir(parents=True)
    (pod / "artifacts" / "train" / "model" / "weights").write_text("5")  # DVC's
    written, removed = changes(pod, STAGES, before)
    assert written == ["reports/decision.json", "reports/registered.json"]
    assert removed == ["reports/usage/split.json"]
    (airflow / "reports" / "registered.json").chmod(0o444)  # a link into a cache may be
    pack(pod, written, archive, {"removed": removed})
    assert unpack(archive, airflow) == {"removed": removed}
    assert (airflow / "reports" / "registered.json").read_text() == "2"
    assert (airflow / "reports" / "usage" / "split.json").exists(), "who unpacks removes"


def parcel_of(archive: Path, *names: str, note: object = None) -> Path:
    """An archive by hand: empty files, and a note."""
    text = json.dumps(note or {}).encode()
    with tarfile.open(archive, "w:gz") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        entry = tarfile.TarInfo(NOTE)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return archive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with one file, and beside it what no parcel may touch."""
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "report").write_text("old")
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "ws" / "leads-out").symlink_to(tmp_path)
    return tmp_path / "ws"


@pytest.mark.parametrize(
    "name",
    ["../outside", "/tmp/outside-of-longtail", "a/../../outside", "leads-out/outside",
     ".git/hooks/pre-push", ".dvc/config.local", ".dvc/config", "data/corpus.parquet",
     "./.git/config"],
)  # fmt: skip
@pytest.mark.parametrize("how", ["written", "removed"])
def test_a_parcel_cannot_reach_elsewhere(name: str, how: str, folder: Path) -> None:
    """Not even in part: what comes before the bad entry stays as it was, too."""
    removed = [name] if how == "removed" else []
    names = ["report", *([name] if how == "written" else [])]
    archive = parcel_of(folder.with_name("a.tar.gz"), *names, note={"removed": removed})
    with pytest.raises(WorkspaceError, match="cannot be in a parcel") as caught:
        unpack(archive, folder)
    assert not isinstance(caught.value, ToolError), "trying again does not help"
    assert (folder / "report").read_text() == "old"
    assert folder.with_name("outside").read_text() == "mine"
    assert not Path("/tmp/outside-of-longtail").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_a_parcel_has_files_alone(kind: bytes, folder: Path) -> None:
    archive = folder.with_name("a.tar.gz")
    entry = tarfile.TarInfo("link")
    entry.type, entry.linkname = kind, NOTE
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("report"), io.BytesIO())
        tar.addfile(tarfile.TarInfo(NOTE), io.BytesIO())
        tar.addfile(entry)
    with pytest.raises(WorkspaceError, match="nobody here made it"):
        unpack(archive, folder)
    assert (folder / "report").read_text() == "old"


def test_a_parcel_that_arrives_damaged_is_laid_down_by_no_part(folder: Path) -> None:
    """Cut anywhere, or with one of them changed: an outage, since the next try sends it anew."""
    source = folder.with_name("source")
    source.mkdir()
    for name in ("report", "second"):
        (source / name).write_text("new")
    archive = folder.with_name("a.tar.gz")
    pack(source, ["report", "second"], archive)
    whole = archive.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for damaged in (bytes(flipped), *(whole[:size] for size in range(0, len(whole), 7))):
        archive.write_bytes(damaged)
        with pytest.raises(ToolError, match="arrived damaged"):
            unpack(archive, folder)
        assert (folder / "report").read_text() == "old"
    archive.write_bytes(whole)
    unpack(archive, folder)
    assert (folder / "report").read_text() == (folder / "second").read_text() == "new"


def test_what_is_no_parcel(folder: Path) -> None:
    archive = folder.with_name("a.tar.gz")
    archive.write_bytes(gzip.compress(b"no archive"))
    with pytest.raises(WorkspaceError, match="nobody here made it") as caught:
        unpack(archive, folder)
    assert not isinstance(caught.value, ToolError)


def test_linked_files_travel_as_files(folder: Path) -> None:
    """A repository may have links; git checks them out as such. Two names of one file, too."""
    source = folder.with_name("source")
    (source / "docs").mkdir(parents=True)
    (source / "README.md").write_text("read me")
    (source / "docs" / "index.md").symlink_to("../README.md")
    (source / "hard").hardlink_to(source / "README.md")
    (source / "broken").symlink_to("nowhere")
    names = contents(source, "count", [])
    assert names == ["README.md", "docs/index.md", "hard"]
    archive = folder.with_name("a.tar.gz")
    pack(source, names, archive)
    unpack(archive, folder)
    assert all((folder / name).read_text() == "read me" for name in names)
    assert not (folder / "docs" / "index.md").is_symlink()


def test_names_of_all_kinds(folder: Path) -> None:
    source = folder.with_name("source")
    source.mkdir()
    names = ["a b", "übersicht 表.json", "line\nbreak", "-n", ".note.json", "bytes\udcff"]
    for name in names:
        (source / name).write_text(name, errors="surrogateescape")
    archive = folder.with_name("a.tar.gz")
    pack(source, contents(source, "count", []), archive, {"removed": ["bytes\udcfe"]})
    assert unpack(archive, folder) == {"removed": ["bytes\udcfe"]}
    for name in names:
        assert (folder / name).read_text(errors="surrogateescape") == name
