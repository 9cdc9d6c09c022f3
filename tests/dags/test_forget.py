"""Forgotten documents stay away, whatever a night merges or takes in; real git, DVC and ingest."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from components._formats.assignment import write_assignment
from components._formats.corpus import read_corpus
from components._frame.forgotten import LIST, digest_of
from components._frame.pipeline import load_stages
from dags import _retention
from dags import _workspace as ws
from dags._settings import load_settings
from dags._source import ingest_command
from tests.builders.nights import run
from tests.builders.paths import ROOT
from tests.dags.test_workspace import KEYS, reproduce

FIRST = "id,text,labels\n1,one,a\n2,two,b\n3,three,a\n"


def real(cwd: Path, *argv: str) -> None:
    """Run one of this repository's components; the toy project has others of the same name."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LONGTAIL_CACHE": str(cwd / ".cache")}
    done = subprocess.run([sys.executable, "-P", *argv], cwd=cwd, env=env, capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr


def pin(repo: Path, *names: str) -> None:
    run(sys.executable, "-m", "dvc", "add", "--quiet", "data", cwd=repo)
    run("git", "add", "data.dvc", *names, cwd=repo)
    run("git", "commit", "--quiet", "-m", "By hand", cwd=repo)


@pytest.fixture
def repo(toy: Path) -> Path:
    """The toy project with a real corpus of three documents."""
    (toy / "in.csv").write_text(FIRST)
    real(toy, "-m", "components.ingest", "csv", "in.csv")
    pin(toy)
    return toy


def forget(repo: Path, *ids: str) -> None:
    """What a person does where nights run: the list is all that is committed."""
    (repo / "gone.txt").write_text("\n".join(ids))
    real(repo, "-m", "components.ingest", "--forget", "gone.txt")
    run("git", "add", LIST, cwd=repo)
    run("git", "commit", "--quiet", "-m", "Forget", cwd=repo)


def night(repo: Path, key: str, source: Path | None = None) -> tuple[ws.Workspace, list[str]]:
    """A recorded night and the documents that it ended with."""
    checkout = ws.prepare(repo, repo.parent / "nights" / key, key)
    argv = ingest_command(str(source) if source else None, checkout, update=False)
    corpus = checkout.folder / "data" / "corpus.parquet"
    if argv:
        if checkout.base:
            assignment = checkout.folder / "artifacts" / "split" / "assignment.parquet"
            assignment.parent.mkdir(exist_ok=True)
            ids = read_corpus(corpus)["id"].tolist()
            write_assignment(
                assignment, ids, ["test"] * len(ids), ids, [False] * len(ids), [-1] * len(ids)
            )
        real(checkout.folder, *argv[1:])
    stages = load_stages(repo / "dvc.yaml")
    if ws.stale_stages(checkout, stages, False, None):
        reproduce(checkout)
        ws.record(checkout)
    return checkout, read_corpus(corpus)["id"].tolist()


def test_the_next_nights_forget_them_and_keep_everything_else(repo: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.csv").write_text("id,text,labels\n4,four,a\n")
    checkout, ids = night(repo, KEYS[0], source)
    assert ids == ["1", "2", "3", "4"] and not checkout.forgets
    # The person's data are older than the night's; only the list is committed.
    forget(repo, "2", "4")
    checkout, ids = night(repo, KEYS[1])
    assert checkout.forgets and not checkout.by_hand and ids == ["1", "3"]
    frame = read_corpus(checkout.folder / "data" / "corpus.parquet")
    assert frame["split"].tolist() == ["test", "test"]
    # The same documents, delivered again under another name.
    (source / "b.csv").write_text("id,text,labels\n4,four,a\n2,two,b\n5,five,b\n")
    checkout, ids = night(repo, KEYS[2], source)
    assert not checkout.forgets and ids == ["1", "3", "5"]
    # A backfill of the night that had them.
    checkout, ids = night(repo, KEYS[0])
    assert checkout.forgets and ids == ["1", "3"]


@pytest.mark.slow
def test_a_merge_does_not_bring_them_back(repo: Path) -> None:
    night(repo, KEYS[0])
    forget(repo, "2")
    night(repo, KEYS[1])
    # Somebody pins the documents again, by mistake, on top of the night's data.
    run("git", "merge", "--quiet", "--strategy-option", "theirs", ws.BRANCH, cwd=repo)
    run(sys.executable, "-m", "dvc", "checkout", "--quiet", "--force", "data", cwd=repo)
    (repo / LIST).rename(repo / "aside")
    real(repo, "-m", "components.ingest", "csv", "in.csv")
    (repo / "aside").rename(repo / LIST)
    assert read_corpus(repo / "data" / "corpus.parquet")["id"].tolist() == ["1", "2", "3"]
    pin(repo)
    checkout, ids = night(repo, KEYS[2])
    assert checkout.by_hand and ids == ["1", "3"]


@pytest.mark.slow
def test_a_night_without_them_is_recorded_so_that_none_looks_again(repo: Path) -> None:
    checkout, _ = night(repo, KEYS[0])
    ws.mark_decided(checkout)
    forget(repo, "nobody")
    quiet, ids = night(repo, KEYS[1])
    assert quiet.forgets and ids == ["1", "2", "3"] and ws.records(repo) == KEYS[:1]
    ws.remember(quiet)
    assert ws.records(repo) == KEYS[:2]
    later = ws.prepare(repo, repo.parent / "later", KEYS[2])
    assert not later.forgets and not ws.is_undecided(later)


@pytest.mark.slow
def test_lifting_reaches_the_nights(repo: Path) -> None:
    forget(repo, "2")
    night(repo, KEYS[0])
    real(repo, "-m", "components.ingest", "--lift", "gone.txt")
    run("git", "commit", "--quiet", "--all", "-m", "Lift", cwd=repo)
    checkout = ws.prepare(repo, repo.parent / "later", KEYS[1])
    assert not checkout.forgets and not (checkout.folder / LIST).exists()


@pytest.mark.slow
def test_retention_removes_the_nights_that_had_them(repo: Path, tmp_path: Path) -> None:
    settings = replace(load_settings(), repo=repo, home=tmp_path / "home", keep_nights=30)
    for key, number in ((KEYS[0], 4), (KEYS[1], 5)):
        source = tmp_path / f"{number}"
        source.mkdir()
        (source / f"{number}.csv").write_text(f"id,text,labels\n{number},{number},a\n")
        night(repo, key, source)
    assert _retention.old(settings, []).nights == []
    forget(repo, "2")
    # The next night starts from the newest one.
    assert _retention.old(settings, []).nights == KEYS[:1]
    night(repo, KEYS[2])
    needed = ws.commit_of(repo, f"{ws.BRANCH}/{KEYS[1]}")
    assert needed and _retention.old(settings, [needed]).nights == KEYS[:1]
    found = _retention.old(settings, [])
    assert found.nights == KEYS[:2]
    assert {row.why for row in _retention.removals(settings, found)[:2]} == {
        "it may have forgotten documents"
    }
    _retention.remove(settings, found)
    assert ws.records(repo) == KEYS[2:3]
    # The code's branch had them in its own data.dvc, until it takes the night's.
    assert digests_in_cache(repo, "2")
    run("git", "merge", "--quiet", "--strategy-option", "theirs", ws.BRANCH, cwd=repo)
    _retention.remove(settings, _retention.old(settings, []))
    assert not digests_in_cache(repo, "2")


def digests_in_cache(repo: Path, identity: str) -> list[Path]:
    """The tables in DVC's cache that have the document."""
    files = [path for path in (repo / ".dvc" / "cache" / "files").rglob("*") if path.is_file()]
    corpora = [path for path in files if path.read_bytes()[:4] == b"PAR1"]
    return [path for path in corpora if identity in pd.read_parquet(path)["id"].tolist()]


def test_the_list_holds_digests_alone(repo: Path) -> None:
    forget(repo, "2")
    assert (repo / LIST).read_text() == f"{digest_of('2')}\n"
