"""Two local servers: a tracking server that can be made to fail, and one that hears the notices."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.builders.faulty_server import free_port

DROPPED = ("connection", "transfer-encoding", "content-length", "host")


class Tracker:
    """MLflow's server behind a proxy; `mode` is `well`, `down` (drops connections), or `500`."""

    def __init__(self, folder: Path) -> None:
        self.mode = "well"
        port = free_port()
        self.behind = f"http://127.0.0.1:{port}"
        log = (folder / "mlflow.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
             "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
             "--artifacts-destination", str(folder / "mlartifacts")],
            stdout=log, stderr=log, start_new_session=True, cwd=folder,
        )  # fmt: skip
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{self.behind}/health", timeout=2)
                break
            except OSError:
                time.sleep(0.5)
        else:
            raise RuntimeError(f"MLflow did not start; see {folder}/mlflow.log")
        self.address = listen(lambda request, body: self._answer(request, body))

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.mode == "down":
            request.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.mode == "500":
            return send(request, 500, b'{"error_code": "INTERNAL_ERROR", "message": "injected"}')
        headers = {k: v for k, v in request.headers.items() if k.lower() not in DROPPED}
        asked = urllib.request.Request(
            self.behind + request.path, body or None, headers, method=request.command
        )
        try:
            with urllib.request.urlopen(asked, timeout=120) as found:
                send(request, found.status, found.read(), found.headers)
        except urllib.error.HTTPError as error:
            send(request, error.code, error.read(), error.headers)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class Notices:
    """What the webhook received: `(seconds since the epoch, text, champion at that moment)`."""

    def __init__(self, champion: Callable[[], str | None]) -> None:
        self.heard: list[tuple[float, str, str | None]] = []
        self.champion = champion
        self.address = listen(self._hear)

    def _hear(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.heard.append((time.time(), json.loads(body)["text"], self.champion()))
        send(request, 200, b"ok")


def send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: Any = None) -> None:
    request.send_response(status)
    for name, value in (headers or {}).items():
        if name.lower() not in DROPPED:
            request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def listen(answer: Callable[[BaseHTTPRequestHandler, bytes], None]) -> str:
    """Start a server on loopback that answers every request so, and return its address."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, ValueError):  # a killed client
                self.close_connection = True

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            answer(self, self.rfile.read(length) if length else b"")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"
