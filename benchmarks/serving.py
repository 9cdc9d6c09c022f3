"""What serving costs: PyTorch, ONNX Runtime and int8 on one test set; MLflow's server under load.

`python -m benchmarks.serving`, after `dvc repro`, exports the model and scores the test documents
with each runtime, interleaved in chunks, one thread each. It reports documents per second of
processor time (the machine may be busy), and F1 with the tuned thresholds (blended, as served).

`python -m benchmarks.serving --load models:/longtail@champion [--requests 1000] [--at-once 16]`
starts MLflow's server, then `longtail serve`, and queries each, one text per request. With
`--switch VERSION …` only `longtail serve`, whose champion becomes one version after the other; the
last of them stays it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from itertools import cycle, islice
from pathlib import Path

# One thread per runtime; set before the libraries start theirs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from components._formats.json_file import read_json
from components._formats.scores import read_scores
from components._registry import client as registry
from components._registry import evidence
from longtail.evaluation.metrics import apply_thresholds, compute
from longtail.models import classifier, onnx_classifier
from longtail.models.blending import blend
from longtail.models.onnx_export import export

CHUNK = 256


def runtimes(folder: Path) -> dict:
    """The workspace's model in each runtime; exports go to `folder`."""
    model = classifier.load(evidence.MODEL)
    found = {"PyTorch": model}
    for name, int8 in (("ONNX Runtime", False), ("ONNX Runtime, int8", True)):
        export(model, folder / name, int8=int8)
        found[name] = onnx_classifier.load(folder / name)
    return found


def compare() -> Table:
    """One row per runtime: speed relative to PyTorch, largest difference of a score, F1."""
    torch.set_num_threads(1)
    known, baseline = read_scores(evidence.TEST_SCORES), read_scores(evidence.BASELINE_TEST_SCORES)
    served = read_json(evidence.THRESHOLDS)["models"]["model"]
    groups = np.array(read_json(evidence.FREQUENCIES)["groups"])
    texts = evidence.texts_of(known.ids)
    with tempfile.TemporaryDirectory() as folder:
        models = runtimes(Path(folder))
        sizes = {"PyTorch": evidence.MODEL / "model.safetensors"}
        sizes |= {n: Path(folder) / n / onnx_classifier.FILE for n in models if n not in sizes}
        megabytes = {name: path.stat().st_size / 1e6 for name, path in sizes.items()}
    seconds = dict.fromkeys(models, 0.0)
    scores = {name: np.empty(known.scores.shape, np.float32) for name in models}
    for model in models.values():
        model.scores(texts[:8])
    for start in track(range(0, len(texts), CHUNK), "scoring"):
        rows = slice(start, start + CHUNK)
        for name, model in models.items():
            started = time.process_time()
            scores[name][rows] = model.scores(texts[rows], n_jobs=1)
            seconds[name] += time.process_time() - started
    table = Table("runtime", "docs per CPU second", "× PyTorch", "MB", "largest difference")
    for column in ("all", "HEAD", "MEDIUM", "TAIL"):
        table.add_column(f"{column}: micro / macro-F1")
    for name in models:
        mixed = blend(scores[name], baseline.scores, served["blend_weight"])
        predicted = apply_thresholds(mixed, served["thresholds"])
        cells = []
        for group in ("all", "HEAD", "MEDIUM", "TAIL"):
            columns = np.flatnonzero((groups == group) | (group == "all"))
            pair = predicted[:, columns], known.targets[:, columns]
            f1 = [100 * compute(metric, *pair) for metric in ("micro_f1", "macro_f1")]
            cells.append(f"{f1[0]:.1f} / {f1[1]:.1f}")
        table.add_row(
            name,
            f"{len(texts) / seconds[name]:.0f}",
            f"{seconds['PyTorch'] / seconds[name]:.2f}",
            f"{megabytes[name]:.0f}",
            f"{np.abs(scores[name] - scores['PyTorch']).max():.1g}",
            *cells,
        )
    return table


@contextmanager
def server(argv: list[str]) -> Iterator[int]:
    """Run a server on a free local port, which is appended to `argv`; yields the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: v for name, v in os.environ.items() if name != "OMP_NUM_THREADS"}
    process = subprocess.Popen(
        [*argv, str(port)],
        env=environment | {"OMP_WAIT_POLICY": "PASSIVE", "PATH": path},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            time.sleep(0.5)
            if process.poll() is not None:
                raise SystemExit(f"`{' '.join(argv)}` ended with {process.returncode}.")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping").close()
                break
            except OSError:
                continue
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def servers(uri: str, *, follow: bool) -> dict[str, list[str]]:
    """The commands that serve a version, or whatever is the champion, but for the port."""
    python = [sys.executable, "-m"]
    own = [*python, "components._cli.serve"]
    if follow:
        return {"longtail serve": [*own, "--port"]}
    mlflow = ["mlflow", "models", "serve", "--env-manager", "local", "--model-uri", uri, "--port"]
    return {
        "mlflow models serve": [*python, *mlflow],
        "longtail serve": [*own, "--model", uri, "--port"],
    }


class Client(threading.local):
    """A connection per thread, kept alive."""

    def ask(self, port: int, text: str) -> float | None:
        """Seconds until the answer; None without a right one."""
        if not hasattr(self, "connection"):
            self.connection = HTTPConnection("127.0.0.1", port, timeout=120)
        body = json.dumps({"inputs": {"text": [text]}})
        started = time.perf_counter()
        try:
            self.connection.request(
                "POST", "/invocations", body, {"Content-Type": "application/json"}
            )
            rows = json.load(self.connection.getresponse())["predictions"]
        except (OSError, HTTPException, ValueError, KeyError):
            self.connection.close()
            return None
        return time.perf_counter() - started if len(rows) == 1 else None


class Switches:
    """Makes versions the champion, at even distances within the requests."""

    def __init__(self, uri: str, versions: list[str], n_requests: int) -> None:
        if n_requests <= len(versions):
            sys.exit(f"{n_requests} requests are too few to switch {len(versions)} times.")
        self.client, self.name = registry.connect(), uri.removeprefix("models:/").split("@")[0]
        step = n_requests // (len(versions) + 1)
        self.at = {step * place: version for place, version in enumerate(versions, 1)}

    def after(self, n_answers: int) -> None:
        """Switch, if so many answers are the moment to do so."""
        if version := self.at.get(n_answers):
            self.client.set_registered_model_alias(self.name, registry.CHAMPION, version)


def exchanges(port: int) -> str:
    """How often the server has exchanged its version."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next((x.split()[-1] for x in lines if x.startswith("longtail_exchanges")), "–")


def load(uri: str, n_requests: int, at_once: int, switched: list[str]) -> Table:
    """Errors, requests per second, and response times of each server, one after the other."""
    texts = evidence.texts_of(read_scores(evidence.TEST_SCORES).ids)
    switches = Switches(uri, switched, n_requests) if switched else None
    columns = ("errors", "exchanges", "requests per second", "median ms", "95% ms", "99% ms")
    table = Table("server", *columns)
    for name, argv in servers(uri, follow=bool(switched)).items():
        client = Client()
        with server(argv) as port, ThreadPoolExecutor(at_once) as pool:
            ask = partial(client.ask, port)
            list(pool.map(ask, texts[:at_once]))
            started = time.perf_counter()
            asked = pool.map(ask, islice(cycle(texts), n_requests))
            answers = []
            for answer in track(asked, name, total=n_requests):
                answers.append(answer)
                if switches:
                    switches.after(len(answers))
            seconds = time.perf_counter() - started
            exchanged = exchanges(port) if switched else ""
        taken = [answer for answer in answers if answer is not None]
        reached = [f"{1000 * value:.0f}" for value in np.quantile(taken, [0.5, 0.95, 0.99])]
        errors = str(n_requests - len(taken))
        table.add_row(name, errors, exchanged, f"{n_requests / seconds:.1f}", *reached)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", metavar="URI", help="serve this version and query it")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--switch", nargs="*", default=[], metavar="VERSION", help="new champions")
    given = parser.parse_args()
    if given.load:
        found = load(given.load, given.requests, given.at_once, given.switch)
    else:
        found = compare()
    Console(width=150).print(found)
