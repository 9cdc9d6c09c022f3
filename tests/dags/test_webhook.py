"""The webhook against a real server, in every form of an HTTP connection; failures hide nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk import Connection

from dags import _notify, _webhook

PATH = "/services/T0/B0/secret"


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, Any, dict[str, str]]] = []
        self.answers: list[int] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # noqa: N802 - the name is the library's
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append((self.path, body, dict(self.headers)))  # type: ignore[attr-defined]
        answers = self.server.answers  # type: ignore[attr-defined]
        self.send_response(answers.pop(0) if answers else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


FORMS = {
    "the address itself as the URI": "http://{place}" + PATH,
    "the address encoded as the host of a URI": "http://{encoded}",
    "the scheme as the path of a URI": '{{"conn_type": "http", "host": "{place}' + PATH
    + '", "schema": "http"}}',
    "JSON, the host a whole address": '{{"conn_type": "http", "host": "http://{place}' + PATH
    + '"}}',
    "JSON, host and port and path": '{{"conn_type": "http", "host": "127.0.0.1", "port": {port},'
    ' "schema": "' + PATH + '"}}',
    "JSON, the whole host and the path": '{{"conn_type": "http", "host": "http://{place}/",'
    ' "schema": "' + PATH[1:] + '"}}',
}  # fmt: skip


def connection(form: str, server: Server) -> Connection:
    text = form.format(
        place=server.place,
        port=server.server_port,
        encoded=quote(f"http://{server.place}{PATH}", safe=""),
    )
    if text.startswith("{"):
        return Connection.from_json(text, conn_id="longtail_webhook")
    return Connection.from_uri(text, conn_id="longtail_webhook")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_connection_reaches_the_webhook(form: str, server: Server) -> None:
    _webhook.post(connection(form, server), "a message")
    [(path, body, headers)] = server.received
    assert (path, body) == (PATH, {"text": "a message"})
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("https://hooks.example/services/T/B/X", "https://hooks.example/services/T/B/X"),
        ("http://hooks.example/https", "https://hooks.example"),
        ("http://https%3A%2F%2Fhooks.example%2Fa", "https://hooks.example/a"),
        ("http://https://hooks.example/a/b", "https://hooks.example/a/b"),
        ("https://hooks.example:8443/a", "https://hooks.example:8443/a"),
        ("http://hooks.example", "http://hooks.example"),
    ],
)
def test_the_scheme_is_what_the_connection_says(uri: str, url: str) -> None:
    assert _webhook.url_of(Connection.from_uri(uri, conn_id="x")) == url


def test_the_extra_field_gives_headers_and_options_and_the_login_the_user(server: Server) -> None:
    found = Connection(
        conn_id="x", conn_type="http", host=f"http://{server.place}{PATH}", login="me",
        password="pw", extra=json.dumps({"X-Team": "night", "timeout": 5, "verify": False}),
    )  # fmt: skip
    _webhook.post(found, "a message")
    [(_, _, headers)] = server.received
    assert headers["X-Team"] == "night" and headers["Authorization"].startswith("Basic ")
    assert "timeout" not in headers and "verify" not in headers


def test_a_busy_server_is_asked_again(server: Server) -> None:
    server.answers = [503, 429]
    _webhook.post(connection("http://{place}" + PATH, server), "a message")
    assert len(server.received) == 3


def test_a_notice_shows_no_secret(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:planted-1@mlflow.invalid")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-2")
    found = {_notify.WEBHOOK: connection("http://{place}" + PATH, server)}
    monkeypatch.setattr(_notify, "connection", found.get)
    message = "longtail: record failed: https://me:planted-1@mlflow.invalid, key planted-2."
    _notify.Notify(message).notify({})
    [(_, body, _)] = server.received
    assert body["text"].startswith("longtail: record failed: ") and "***" in body["text"]
    assert "planted" not in body["text"] + capsys.readouterr().out


def test_a_failing_webhook_is_logged_without_its_secret_and_hides_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_webhook, "TRIES", 1)
    found: dict[str, Any] = {
        _notify.WEBHOOK: connection("http://{place}" + PATH, server),
        _notify.SMTP: Connection(conn_id="s", conn_type="smtp", host="127.0.0.1", extra="{}"),
    }
    monkeypatch.setattr(_notify, "connection", found.get)
    server.answers = [404]
    _notify.Notify("the night's outcome").notify({})
    server.shutdown()
    server.server_close()
    _notify.Notify("the night's outcome").notify({})
    text = capsys.readouterr().out
    assert "the webhook answered 404" in text and "could not be reached" in text
    assert text.count("Notification: the night's outcome") == 2
    assert text.count("did not reach longtail_smtp") == 2, "the second channel is tried as well"
    assert "secret" not in text
