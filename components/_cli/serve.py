"""Serve the champion over HTTP, on loopback by default, and follow it when it changes."""

from __future__ import annotations

import click
import uvicorn

from components._cli.server.app import App
from components._cli.server.champion import Champion
from components._frame.launch import CONTEXT, launch
from components._registry import client as registry
from components._registry.worker import ServedError
from longtail.errors import DataError

EXAMPLE = '{"inputs": {"text": ["A viewer for PNG images."]}, "params": {"top_k": 3}}'
PORT = click.IntRange(1, 65535)
GRACE_SECONDS = 30  # for requests that are being answered when the server is stopped


@click.command("serve", context_settings=CONTEXT, help=__doc__)
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--port", default=5001, show_default=True, type=PORT, help="port to listen on")
@click.option("--model", help="models:/… or runs:/… (default: the champion, whichever it is)")
def command(host: str, port: int, model: str | None) -> None:
    """Load a checked copy of the version in a process of its own, then listen."""
    name = registry.model_name()
    client = registry.connect()

    def current() -> str | None:
        with registry.reachable():
            version = registry.by_alias(client, name, registry.CHAMPION)
        return None if version is None else f"models:/{name}/{version.version}"

    uri = model or current()
    if uri is None:
        raise DataError(f"{name} has no champion; promote a version first (`longtail run`).")
    try:
        champion = Champion(uri, current if model is None else None)
    except ServedError as error:
        raise DataError(str(error)) from None
    print(
        f"Serving {uri}. A page to try it: http://{host}:{port}/ A request (params are optional):\n"
        f"  curl -H 'Content-Type: application/json' http://{host}:{port}/invocations \\\n"
        f"    -d '{EXAMPLE}'",
        flush=True,
    )
    try:
        app = App(champion, follow=model is None).starlette()
        uvicorn.run(
            app, host=host, port=port, access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )  # fmt: skip
    finally:
        champion.close()


if __name__ == "__main__":
    launch(command)
