"""Serve the champion over HTTP, on loopback by default, and follow it when it changes."""

from __future__ import annotations

import signal
import socket
import sys

import click
import mlflow
import uvicorn
from mlflow.store.artifact.utils.models import get_model_name_and_version

from components._cli.server.app import App
from components._cli.server.champion import Champion
from components._formats.labels_file import FILE, read_allowed
from components._frame.launch import CONTEXT, launch
from components._registry import client as registry
from components._registry.renamed import CURRENT
from components._registry.worker import ServedError
from components.predict import words_option
from longtail.errors import DataError, ParameterError

EXAMPLE = '{"inputs": {"text": ["A viewer for PNG images."]}, "params": {"top_k": 3}}'
PORT = click.IntRange(1, 65535)
GRACE_SECONDS = 30  # for requests that are being answered when the server is stopped


@click.command("serve", context_settings=CONTEXT, help=__doc__)
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--port", default=5001, show_default=True, type=PORT, help="port to listen on")
@click.option("--model", help="models:/… or runs:/… (default: the champion, whichever it is)")
@words_option
def command(host: str, port: int, model: str | None, words: str) -> None:
    """Load a checked copy of the version in a process of its own, then listen."""
    name = registry.model_name()
    fates = read_allowed(FILE).fates if words == CURRENT else None
    client = registry.connect()

    def current() -> str | None:
        with registry.reachable():
            version = registry.by_alias(client, name, registry.CHAMPION)
        return None if version is None else f"models:/{name}/{version.version}"

    uri = current() if model is None else _numbered(client, model)
    if uri is None:
        raise DataError(f"{name} has no champion; promote a version first (`longtail run`).")
    # Stopped from outside, the process of the model and its copy are removed, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with _bound(host, port) as bound:
        try:
            champion = Champion(uri, current if model is None else None, fates)
        except ServedError as error:
            raise DataError(str(error)) from None
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        print(
            f"Serving {uri}. A page to try it: http://{shown}/ A request (params are "
            f"optional):\n  curl -H 'Content-Type: application/json' "
            f"http://{shown}/invocations \\\n    -d '{EXAMPLE}'",
            flush=True,
        )
        try:
            app = App(champion, follow=model is None).starlette()
            config = uvicorn.Config(app, access_log=False, timeout_graceful_shutdown=GRACE_SECONDS)
            uvicorn.Server(config).run(sockets=[bound])
        finally:
            champion.close()


def _numbered(client: mlflow.MlflowClient, uri: str) -> str:
    """The version that an alias points to now, so that it stays the same one."""
    if not uri.startswith("models:/"):
        return uri
    with registry.reachable():
        found = registry.or_none(lambda: get_model_name_and_version(client, uri))
    return uri if found is None or len(found) == 1 else f"models:/{found[0]}/{found[1]}"


def _bound(host: str, port: int) -> socket.socket:
    """The address, taken before the version is loaded; connections come once that is done."""
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        raise ParameterError(
            f"Cannot listen on {host}:{port} ({error.strerror or error}); choose another --host or "
            "--port."
        ) from None
    return made


if __name__ == "__main__":
    launch(command)
