"""Serve the champion over HTTP with MLflow, on loopback by default."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from components._frame.exit_codes import TEMPORARY
from components._frame.launch import CONTEXT
from components._registry import client as registry
from longtail.errors import DataError

EXAMPLE = '{"inputs": {"text": ["A viewer for PNG images."]}, "params": {"top_k": 3}}'
PORT = click.IntRange(1, 65535)


@click.command("serve", context_settings=CONTEXT, help=__doc__)
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--port", default=5001, show_default=True, type=PORT, help="port to listen on")
@click.option("--model", help="models:/… or runs:/… (default: the champion)")
def command(host: str, port: int, model: str | None) -> None:
    """Start `mlflow models serve` on the model, in this environment."""
    name = registry.model_name()
    client = registry.connect()
    with registry.reachable():
        if model is None and registry.by_alias(client, name, registry.CHAMPION) is None:
            raise DataError(f"{name} has no champion; promote a version first (`longtail run`).")
    print(
        f"Once the server is up, send a request (params are optional):\n"
        f"  curl -H 'Content-Type: application/json' http://{host}:{port}/invocations \\\n"
        f"    -d '{EXAMPLE}'",
        flush=True,
    )
    # Idle threads sleep instead of spinning: on a busy machine, answers come ten times as fast.
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    uri = model or registry.champion_uri()
    argv = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", uri]
    argv += ["--env-manager", "local", "--host", host, "--port", str(port)]
    try:
        done = subprocess.run(argv, env=environment, check=False)
    except KeyboardInterrupt:
        return
    if done.returncode:
        sys.exit(TEMPORARY if done.returncode < 0 else done.returncode)
