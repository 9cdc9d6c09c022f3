"""What a stage used: measured around the stage, written only if it succeeds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from components._frame.usage import FOLDER, read_usage
from tests.builders.paths import ROOT

STAGE = """
import sys, time
from components._frame.component import Output, main

def run(*, made: Output) -> str:
    ballast = bytearray(300_000_000)
    for i in range(0, len(ballast), 4096):
        ballast[i] = 1
    time.sleep(0.5)
    made.parent.mkdir(exist_ok=True)
    made.write_bytes(bytes(12_345))
    if sys.argv[-1].endswith("bad"):
        raise SystemExit(3)
    return "made"

if __name__ == "__main__":
    main(run)
"""


def used(folder: Path, made: str) -> tuple[int, dict[str, dict[str, float]]]:
    (folder / "heavy.py").write_text(STAGE)
    (folder / "params.yaml").write_text("{}")
    argv = [sys.executable, "heavy.py", "--made", made]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    code = subprocess.run(argv, cwd=folder, env=env, capture_output=True).returncode
    return code, read_usage(folder / FOLDER)


def test_seconds_memory_and_size(tmp_path: Path) -> None:
    code, found = used(tmp_path, "out/made")
    assert code == 0 and list(found) == ["heavy"]
    assert 0.5 <= found["heavy"]["seconds"] < 30
    assert 300e6 < found["heavy"]["memory_bytes"] < 900e6
    assert found["heavy"]["output_bytes"] == 12_345
    assert not list((tmp_path / FOLDER).glob(".*"))


def test_a_stage_that_fails_says_nothing(tmp_path: Path) -> None:
    assert used(tmp_path, "out/bad") == (3, {})
