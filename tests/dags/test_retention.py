"""What is removed after many nights, and what never is; real git, DVC and links."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from components._frame.pipeline import load_stages
from dags import _retention
from dags import _workspace as ws
from dags._settings import Settings, load_settings
from dags._tools import FOLDERS
from tests.builders.nights import run
from tests.builders.paths import ROOT
from tests.dags.test_workspace import KEYS, night, reproduce


@pytest.fixture
def settings(toy: Path, tmp_path: Path) -> Settings:
    return replace(load_settings(), repo=toy, home=tmp_path / "home", keep_nights=1, keep_days=14)


def cached(repo: Path) -> set[Path]:
    return {path for path in (repo / ".dvc" / "cache" / "files").rglob("*") if path.is_file()}


def test_nights_beyond_the_kept_ones_go_and_what_is_needed_stays(settings: Settings) -> None:
    repo, root = settings.repo, settings.workspaces
    for key, lines in zip(KEYS[:3], ("a\n", "b\nb\n", "c\nc\nc\n"), strict=True):
        night(repo, root / key, key, lines)
    champion = ws.commit_of(repo, f"{ws.BRANCH}/{KEYS[0]}")
    before = cached(repo)
    found = _retention.old(settings, [champion])
    rows = _retention.removals(settings, found)
    assert found.nights == [KEYS[1]]
    assert cached(repo) == before and ws.records(repo) == KEYS[:3], "finding removes nothing"
    [night_, data] = rows
    assert (night_.kind, night_.name) == ("night", KEYS[1])
    assert data.megabytes > 0 and data.kind == "data"
    _retention.remove(settings, found)
    assert ws.records(repo) == [KEYS[0], KEYS[2]]
    gone = before - cached(repo)
    assert gone and len(gone) == int(data.name.split()[0])
    for key in (KEYS[0], KEYS[2]):
        shutil.rmtree(root / key)
        again = ws.prepare(repo, root / key, key)
        assert ws.stale_stages(again, load_stages(repo / "dvc.yaml"), False, None) == []
    assert _retention.old(settings, [champion]) == _retention.Old([], [])


def test_a_night_that_runs_meanwhile_loses_nothing(settings: Settings) -> None:
    repo, stages = settings.repo, load_stages(settings.repo / "dvc.yaml")
    night(repo, settings.workspaces / "one", KEYS[0], "a\n")
    running = ws.prepare(repo, settings.workspaces / "running", KEYS[1])
    (running.folder / "data" / "new.jsonl").write_text("new\n")
    assert ws.stale_stages(running, stages, False, None)
    _retention.remove(settings, _retention.old(settings, []))
    reproduce(running)
    ws.record(running)
    shutil.rmtree(running.folder)
    later = ws.prepare(repo, settings.workspaces / "later", KEYS[2])
    assert (later.folder / "data" / "new.jsonl").read_text() == "new\n"
    assert ws.stale_stages(later, stages, False, None) == []


def test_the_cache_is_held_by_many_or_by_one(settings: Settings) -> None:
    code = (
        "from pathlib import Path; from dags._retention import using_cache; import sys\n"
        "with using_cache(Path(sys.argv[1]), alone=sys.argv[2] == 'alone'): print('in')"
    )
    argv = [sys.executable, "-c", code, str(settings.home)]
    with _retention.using_cache(settings.home):
        assert subprocess.run([*argv, "many"], cwd=ROOT, timeout=60, check=True).returncode == 0
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run([*argv, "alone"], cwd=ROOT, timeout=5, check=True)
    assert subprocess.run([*argv, "alone"], cwd=ROOT, timeout=60, check=True).returncode == 0


def test_a_workspace_takes_no_room_of_its_own(settings: Settings) -> None:
    checkout = night(settings.repo, settings.workspaces / "one", KEYS[0], "a\n")
    files = [path for name in FOLDERS for path in (checkout.folder / name).rglob("*")
             if path.is_file()]  # fmt: skip
    assert len(files) >= 4 and all(path.stat().st_nlink > 1 for path in files), files
    assert run("git", "status", "--porcelain", cwd=settings.repo) == ""
