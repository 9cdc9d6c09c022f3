"""A real MLflow server behind a proxy of ours that answers some requests with faults."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

DROP = 0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Faults(ThreadingHTTPServer):
    """Passes requests on to the server, unless `fault` matches; it is also an HTTP proxy.

    Attributes:
        fault: part of the requests' `METHOD /path`, and the status to answer with (DROP closes the
            connection); None for no fault.
        times: how often it is still to happen; None for always.
        hit: the requests that met the fault.
    """

    daemon_threads = True

    def __init__(self, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.clear()

    def clear(self) -> None:
        self.fault: tuple[str, int] | None = None
        self.times: int | None = None
        self.hit: list[str] = []

    def break_(self, part: str, status: int, times: int | None = None) -> None:
        self.clear()
        self.fault, self.times = (part, status), times

    def status(self, request: str) -> int | None:
        """The status of the fault that this request meets."""
        if self.fault is None or self.fault[0] not in request or self.times == 0:
            return None
        if self.times is not None:
            self.times -= 1
        self.hit.append(request)
        return self.fault[1]


class _Handler(BaseHTTPRequestHandler):
    server: Faults

    def _answer(self) -> None:
        target = urlsplit(self.path)  # a proxy is asked for the whole address
        path = target.path + (f"?{target.query}" if target.query else "")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = self.server.status(f"{self.command} {path}")
        if status == DROP:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if status is not None:
            self._send(status, [], b"a fault")
            return
        onward = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k not in ("Host", "Accept-Encoding")}
        onward.request(self.command, path, body, headers)
        answer = onward.getresponse()
        kept = [(k, v) for k, v in answer.getheaders() if k.lower() == "content-type"]
        self._send(answer.status, kept, answer.read())
        onward.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - named by the library

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def mlflow_server(home: Path) -> Iterator[Faults]:
    """An MLflow server that keeps its store and artifacts in `home`, behind `Faults`."""
    port = free_port()
    argv = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{home}/server.db",
            "--artifacts-destination", str(home / "store")]  # fmt: skip
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *argv],
            stdout=log, stderr=subprocess.STDOUT, env=os.environ, start_new_session=True,
        )  # fmt: skip
    faults = Faults(port)
    threading.Thread(target=faults.serve_forever, daemon=True).start()
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield faults
    finally:
        faults.shutdown()
        faults.server_close()
        os.killpg(process.pid, 15)
        process.wait(30)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert process.poll() is None, "the MLflow server has exited"
        try:
            urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the MLflow server did not answer in two minutes")
