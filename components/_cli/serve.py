"""Serve the champion over HTTP with MLflow, on loopback by default."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from components._frame.exit_codes import TEMPORARY
from components._frame.launch import CONTEXT
from components._registry import client as registry
from components._registry import trust, worker
from longtail.errors import DataError

EXAMPLE = '{"inputs": {"text": ["A viewer for PNG images."]}, "params": {"top_k": 3}}'
PORT = click.IntRange(1, 65535)


@click.command("serve", context_settings=CONTEXT, help=__doc__)
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--port", default=5001, show_default=True, type=PORT, help="port to listen on")
@click.option("--model", help="models:/… or runs:/… (default: the champion)")
def command(host: str, port: int, model: str | None) -> None:
    """Start MLflow's server on a checked copy of the model, in this environment."""
    name = registry.model_name()
    client = registry.connect()
    with registry.reachable():
        if model is None and registry.by_alias(client, name, registry.CHAMPION) is None:
            raise DataError(f"{name} has no champion; promote a version first (`longtail run`).")
    # Stopped from outside, the server is stopped too and the copy is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Not one of the names that `longtail prune` takes for a leftover: it is in use for days.
    with tempfile.TemporaryDirectory(prefix="longtail-serving-") as folder:
        uri = model or registry.champion_uri()
        _serve(trust.fetch(uri, Path(folder)), uri, host, port)


def _serve(folder: Path, uri: str, host: str, port: int) -> None:
    print(
        f"Once the server is up, send a request (params are optional):\n"
        f"  curl -H 'Content-Type: application/json' http://{host}:{port}/invocations \\\n"
        f"    -d '{EXAMPLE}'",
        flush=True,
    )
    argv = [sys.executable, "-I", "-B", worker.__file__, str(folder), uri, host, str(port)]
    try:
        done = subprocess.run(argv, env=os.environ | worker.SETTINGS, check=False)
    except KeyboardInterrupt:
        return
    if done.returncode:
        sys.exit(TEMPORARY if done.returncode < 0 else done.returncode)
