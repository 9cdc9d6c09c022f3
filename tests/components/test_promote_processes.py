"""Promotion by real processes: two at once, a corrupted artifact, and the lock they share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import register
from components._registry import client as registry
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import build


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two workspaces of one registry; version 2 is better than version 1."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name, wrong in (("middling", 4), ("good", 0)):
        build(tmp_path / name, wrong=wrong)
        monkeypatch.chdir(tmp_path / name)
        register.run()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def promote(workspace: Path, command: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "components.promote", command],
        cwd=workspace,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ,
        text=True,
    )


def finished(*processes: subprocess.Popen) -> list[tuple[int, str]]:
    return [(p.returncode, output) for p in processes for output in [p.communicate()[0]]]


@pytest.mark.slow
@pytest.mark.beyond_gate
@pytest.mark.timeout(900)
def test_two_promotions_at_once_end_with_the_better_one(home: Path):
    """Both were decided without a champion. The one that comes second is decided again."""
    decided = finished(*(promote(home / name, "decide") for name in ("middling", "good")))
    assert [code for code, _ in decided] == [0, 0], decided
    (middling, first), (good, second) = finished(
        *(promote(home / name, "apply") for name in ("middling", "good"))
    )
    client = registry.connect()
    champion = registry.by_alias(client, "longtail", registry.CHAMPION)
    moves = [(e["action"], e["from"], e["to"]) for e in registry.history(client, "longtail")]
    assert good == 0, second
    assert registry.number(champion) == "2"
    if middling == 0:  # it came first
        assert moves == [("promote", None, "1"), ("promote", "1", "2")]
    else:
        assert (middling, moves) == (4, [("promote", None, "2")]), first
        assert "against" in first, "it was decided again, with the champion's figures"


@pytest.mark.slow
def test_a_corrupted_artifact_blocks_the_promotion(home: Path):
    run_id = json.loads((home / "good/reports/registered.json").read_text())["run_id"]
    model = registry.connect().get_run(run_id).outputs.model_outputs[0].model_id
    weights = next(home.rglob(f"{model}/**/model.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    ((code, output),) = finished(promote(home / "good", "decide"))
    assert code == 4
    assert "are not those that were registered" in output
    assert finished(promote(home / "good", "apply"))[0][0] == 4
    assert registry.by_alias(registry.connect(), "longtail", registry.CHAMPION) is None


def test_the_lock_is_the_same_from_every_folder(home: Path, monkeypatch: pytest.MonkeyPatch):
    """A store named by its full path from two workspaces, or by its name from its own folder."""
    locks = home / "cache/locks"
    known = set(locks.iterdir())
    assert len(known) == 1, "the two workspaces registered under one lock"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with registry.exclusive("longtail"):
        assert set(locks.iterdir()) == known
    monkeypatch.chdir(home / "good")
    with registry.exclusive("longtail"):
        assert len(set(locks.iterdir())) == 2
