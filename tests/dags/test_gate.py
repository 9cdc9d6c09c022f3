"""`.ci/run` with a fake `make`: which outcomes pass, and what it prints."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.builders.paths import ROOT

# Writes the counts that pytest would write: `$FAST`, `$SLOW` and `$CONTAINERS` are "tests skipped".
MAKE = """#!/bin/sh
case $1 in test) set -- $FAST;; test-slow) set -- $SLOW;; test-containers) set -- $CONTAINERS;;
  lint) echo style; exit ${LINT:-0};; docs) exit ${DOCS:-0};; esac
file=${PYTEST_ADDOPTS##*--junitxml=}
echo "<testsuites><testsuite tests='$1' skipped='$2' failures='0' errors='0'/></testsuites>" > $file
exit ${3:-0}
"""


@pytest.fixture
def gate(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Runs a copy of the gate; `installable` says whether Podman can be installed."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "bin").mkdir()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "bin" / "make").write_text(MAKE)
    (tmp_path / "bin" / "make").chmod(0o755)

    def run(installable: bool = True, **counts: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "scripts" / "podman.py").write_text(f"raise SystemExit({int(not installable)})")
        usual = {"FAST": "9 1", "SLOW": "5 0", "CONTAINERS": "4 0"}
        env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", **usual, **counts}
        return subprocess.run([tmp_path / ".ci" / "run"], env=env, capture_output=True, text=True)

    return run


def test_all_ran(gate) -> None:  # type: ignore[no-untyped-def]
    done = gate()
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["fast", "8", "ran", "0", "failed", "1", "skipped"] in rows
    assert ["containers", "4", "ran", "0", "failed", "0", "skipped"] in rows


@pytest.mark.parametrize(
    "counts",
    [
        {"CONTAINERS": "4 1"}, {"CONTAINERS": "4 4"}, {"CONTAINERS": "0 0"}, {"FAST": "0 0"},
        {"CONTAINERS": "4 0 1"}, {"SLOW": "5 0 1"}, {"LINT": "1"}, {"DOCS": "1"},
    ],
)  # fmt: skip
def test_a_gap_or_a_failure_keeps_a_change_out(gate, counts) -> None:  # type: ignore[no-untyped-def]
    done = gate(**counts)
    assert done.returncode == 1 and "style" in done.stdout.splitlines()
    assert "containers" in done.stdout  # printed even then


def test_where_podman_cannot_be_installed_it_says_so_and_goes_on(gate) -> None:  # type: ignore[no-untyped-def]
    done = gate(installable=False)
    assert done.returncode == 0, done.stderr
    assert "podman and runc are not here and cannot be installed" in done.stdout
    assert ["containers", "0", "ran"] in [line.split()[:3] for line in done.stdout.splitlines()]
