"""Strange requests to the served champion: each gets an answer, and the server stays small."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from components._registry import worker

GOOD = {"inputs": {"text": ["A small program."]}}
# How much larger than before the server may be when a request was answered, in MB.
MOST_GROWTH = 500
ROOT = Path(__file__).parents[2]
PROGRAM = "from components._cli.main import main; main()"


@dataclass(frozen=True)
class Answered:
    """What came of a request.

    Attributes:
        name: What is strange about it.
        status: Of the answer; 0 without one.
        reason: The message, empty if it was accepted.
        seconds: Until the answer.
        growth: Megabytes of the server afterwards, beyond those before all requests.
        wrong: What is not as it should be, empty if nothing.
    """

    name: str
    status: int
    reason: str
    seconds: float
    growth: float
    wrong: str


def _of(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def requests() -> dict[str, bytes]:
    """Bodies, by what is strange about them."""
    found = {
        "nothing": b"", "cut off": b'{"inputs": ', "no UTF-8": b"\xff\xfe{", "NULs": bytes(1000),
        "a number": b"3", "null": b"null", "a list": b"[]", "an object": b"{}", "a string": b'"x"',
        "a number of 5,000 digits": b'{"inputs": {"text": [' + b"1" * 5000 + b"]}}",
        "100,000 brackets": b"[" * 100_000,
        "nested 100,000 deep": b'{"inputs": {"text": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}}",
        "another column": _of(inputs={"words": ["a"]}),
        "one text of 10 MB": _of(inputs={"text": ["word " * 2_000_000]}),
        "one text of 2 MB": _of(inputs={"text": ["word " * 400_000]}),
        "one word of 2 MB": _of(inputs={"text": ["w" * 2_000_000]}),
        "10,000 texts": _of(inputs={"text": ["A small program."] * 10_000}),
        "1,000 texts": _of(inputs={"text": ["A small program."] * 1000}),
        "3,000 columns": _of(inputs={"text": ["a"], **{f"c{i}": [1] for i in range(3000)}}),
        "20 MB of columns": _of(inputs={"text": ["a"], "c": ["x" * 20_000_000]}),
        "two forms at once": _of(instances=[{"text": "a"}]),
        "columns of two lengths": _of(inputs={"text": ["a", "b"], "c": [1]}),
    }  # fmt: skip
    values = (
        None,
        3,
        2.5,
        True,
        float("nan"),
        [],
        {},
        ["a"],
        {"a": 1},
        "\ud800",
        "",
        "\0",
        "\u202ea",
    )
    for value in values:
        found[f"text {str(value)[:12]!a}"] = _of(inputs={"text": [value]})
        found[f"inputs {str(value)[:12]!a}"] = _of(inputs=value)
        found[f"records {str(value)[:12]!a}"] = json.dumps({"dataframe_records": value}).encode()
        found[f"split {str(value)[:12]!a}"] = json.dumps({"dataframe_split": value}).encode()
        found[f"params {str(value)[:12]!a}"] = _of(params=value)
        for name in ("top_k", "threshold"):
            found[f"{name} {str(value)[:12]!a}"] = _of(params={name: value})
    for name, values in {
        "top_k": (0, -1, 10**30, 10**400, 1.5, "3"),
        "threshold": (-1, 2, 1e300, "0.5", float("inf")),
        "unknown": (1,),
    }.items():
        for value in values:
            found[f"{name} {str(value)[:12]}"] = _of(params={name: value})
    return found


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, int]]:
    """The champion's server: its address, and the id of the process that answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("w") as log:
        own = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
        server = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "serve", "--port", str(port)],
            cwd=folder, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            if server.poll() is not None:
                raise SystemExit((folder / "server.log").read_text()[-2000:])
            with suppress(OSError):
                urllib.request.urlopen(f"{address}/ping", timeout=5).close()
                break
            time.sleep(0.5)
        yield f"{address}/invocations", answering(server.pid)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def answering(parent: int) -> int:
    """The child that runs the model."""
    for child in psutil.Process(parent).children():
        with suppress(psutil.ZombieProcess):
            if worker.__file__ in child.cmdline():
                return child.pid
    raise LookupError(f"no process of {parent} runs a model")


def megabytes(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def ask(address: str, body: bytes, seconds: float = 60) -> tuple[int, str]:
    """Status and text of the answer."""
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def answers(address: str, pid: int) -> Iterator[Answered]:
    """Ask each strange request, and after it a good one."""
    good = json.dumps(GOOD).encode()
    ask(address, good)
    before = megabytes(pid)
    for name, body in requests().items():
        started = time.monotonic()
        status, text = ask(address, body)
        seconds, growth = time.monotonic() - started, megabytes(pid) - before
        reason = ""
        if status != 200:
            with suppress(ValueError, TypeError, KeyError):
                reason = str(json.loads(text)["message"])
        still = ask(address, good)[0]
        yield Answered(
            name, status, reason, seconds, growth, _wrong(status, text, reason, growth, still)
        )


def _wrong(status: int, text: str, reason: str, growth: float, still: int) -> str:
    if status not in (200, 400):
        return f"status {status}: {text[-300:]}"
    if status == 400 and (not reason or "Traceback" in text or "site-packages" in text):
        return f"400 without a reason, or with one of ours: {text[-300:]}"
    if len(reason) > 2000:
        return f"a reason of {len(reason):,} characters"
    if growth > MOST_GROWTH:
        return f"{growth:.0f} MB more than before"
    return "" if still == 200 else f"no answer to a good request afterwards ({still})"
