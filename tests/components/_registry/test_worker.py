"""The pipe to a version's process: answers in any order, half answers, none at all."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components._frame.exit_codes import TemporaryError
from components._registry import trust, worker
from components._registry.worker import Served, ServedError

BEGIN = """
import json, os, sys, time
say = lambda **answer: print(json.dumps(answer), flush=True)
say(id=0, labels=["a"], thresholds=[0.5])
read = lambda: json.loads(sys.stdin.readline())
def answer(asked):
    texts = asked["texts"]
    say(id=asked["id"], labels=[[t] for t in texts], scores=[[1.0]] * len(texts), seconds=0.0,
        memory_mb=1.0)
"""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Served]:
    def made(then: str) -> Served:
        program = tmp_path / "program.py"
        program.write_text(BEGIN + then)
        monkeypatch.setattr(worker, "__file__", str(program))
        monkeypatch.setattr(trust, "fetch", lambda uri, into: into)
        monkeypatch.setattr(trust, "megabytes", lambda folder: 1.0)
        return Served("models:/m/1", answer_seconds=20.0)

    return made


def test_answers_in_another_order_reach_who_asked(served: Callable[[str], Served]) -> None:
    program = "asked = [read() for _ in range(8)]\nfor one in reversed(asked):\n    answer(one)\n"
    with served(program) as process, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: process.ask([text]).labels, "abcdefgh"))
    assert found == [[[text]] for text in "abcdefgh"]


@pytest.mark.parametrize(
    ("end", "error"),
    [("sys.exit(7)", ServedError), (f"os.kill(os.getpid(), {signal.SIGKILL})", TemporaryError)],
)
def test_who_dies_within_a_line_keeps_nobody_waiting(
    served: Callable[[str], Served], end: str, error: type[Exception]
) -> None:
    program = f"read(); read()\nsys.stdout.write('{{\"id\": 1, '); sys.stdout.flush()\n{end}\n"
    started = time.monotonic()
    with served(program) as process, ThreadPoolExecutor(2) as pool:
        for answer in [pool.submit(process.ask, ["a"]) for _ in range(2)]:
            with pytest.raises(error, match="models:/m/1 died"):
                answer.result()
        with pytest.raises(error):
            process.ask(["afterwards"])
    with pytest.raises((ServedError, TemporaryError)):
        process.ask(["after the end"])
    assert time.monotonic() - started < 15


def test_who_does_not_answer_in_time_is_ended(
    served: Callable[[str], Served],
) -> None:
    process = served("time.sleep(60)")
    process.answer_seconds = 0.5
    with process, pytest.raises(ServedError, match="did not answer within 0 s|within 1 s"):
        process.ask(["a"])
    assert not process.alive


def test_nothing_is_left_behind(
    served: Callable[[str], Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = set(os.listdir(tmp_path))
    with served("answer(read())"):
        assert {name for name in os.listdir(tmp_path) if name.startswith("longtail-served-")}
    assert set(os.listdir(tmp_path)) - {"program.py"} == before
