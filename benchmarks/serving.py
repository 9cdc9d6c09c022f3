"""What serving costs: PyTorch, ONNX Runtime and int8 on one test set; MLflow's server under load.

`python -m benchmarks.serving`, after `dvc repro`, exports the model and scores the test documents
with each runtime, interleaved in chunks, one thread each. It reports documents per second of
processor time (the machine may be busy), and F1 with the tuned thresholds (blended, as served).

`python -m benchmarks.serving --load models:/longtail@champion [--requests 1000] [--at-once 8]`
starts `mlflow models serve` and queries it, one text per request.
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
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

# One thread per runtime; set before the libraries start theirs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from components._formats.json_file import read_json
from components._formats.scores import read_scores
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
        found[name] = one_thread(onnx_classifier.load(folder / name), folder / name)
    return found


def one_thread(
    served: onnx_classifier.OnnxClassifier, folder: Path
) -> onnx_classifier.OnnxClassifier:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    served.session = onnxruntime.InferenceSession(
        folder / onnx_classifier.FILE, options, providers=["CPUExecutionProvider"]
    )
    return served


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
            scores[name][rows] = model.scores(texts[rows])
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
def server(uri: str):
    """Run `mlflow models serve` for `uri` on a free local port; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", uri]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PATH": path}
    process = subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            time.sleep(0.5)
            if process.poll() is not None:
                raise SystemExit(f"`{' '.join(command)}` ended with {process.returncode}.")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping").close()
                break
            except OSError:
                continue
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def load(uri: str, n_requests: int, at_once: int) -> str:
    """Send requests; reports errors, requests per second, median and 95th percentile."""
    texts = evidence.texts_of(read_scores(evidence.TEST_SCORES).ids)

    def ask(number: int) -> float | None:
        body = json.dumps({"inputs": {"text": [texts[number % len(texts)]]}}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        started = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                rows = json.load(response)["predictions"]
        except (OSError, ValueError, KeyError):
            return None
        return time.perf_counter() - started if len(rows) == 1 else None

    with server(uri) as url, ThreadPoolExecutor(at_once) as pool:
        ask(0)
        started = time.perf_counter()
        answers = list(track(pool.map(ask, range(n_requests)), "asking", total=n_requests))
        seconds = time.perf_counter() - started
    taken = [answer for answer in answers if answer is not None]
    middle, slow = np.quantile(taken, [0.5, 0.95])
    return (
        f"{uri}: {n_requests} requests, {at_once} at a time: {n_requests - len(taken)} errors, "
        f"{n_requests / seconds:.1f} per second, median {middle:.3f} s, 95% within {slow:.3f} s."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", metavar="URI", help="serve this version and query it")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.load:
        print(load(arguments.load, arguments.requests, arguments.at_once))
    else:
        Console(width=150).print(compare())
