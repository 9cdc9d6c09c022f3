"""Twenty faults in one night of the fault campaign, and a night without after it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.faults import invariants
from benchmarks.faults.__main__ import play
from benchmarks.faults.world import unmount, world

SEED, FAULTS = 2017, 20  # each kind at least once


@pytest.mark.slow
@pytest.mark.beyond_gate
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount file systems that run full")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the clock's library")
def test_twenty_faults_break_nothing(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("this root may not mount file systems")
    unmounted = subprocess.run(["umount", str(tmp_path)], check=False)
    assert unmounted.returncode == 0
    try:
        with world(tmp_path / "world") as found:
            state = invariants.State()
            found.night()
            found.wait()
            assert invariants.broken(found, state, [], 0) == []
            row = play(found, state, SEED, FAULTS)
    finally:
        unmount(tmp_path / "world")
    assert row["broken"] == [], row["faults"]
    assert len(row["faults"]) == FAULTS
