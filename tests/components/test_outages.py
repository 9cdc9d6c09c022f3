"""An outage is no verdict: faults of a real tracking server, seen by every command that asks it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import mlflow
import pytest

from components import drift, predict, promote, register
from components._frame.exit_codes import BAD_PARAMETERS, TEMPORARY, TemporaryError
from components._frame.launch import exit_code
from components._registry import client as registry
from components._registry import decision_record, evidence, worker
from components._registry.outage import explained
from components._registry.worker import Served, ServedError
from longtail.errors import ParameterError
from tests.builders.faulty_server import DROP, Faults, mlflow_server
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import build
from tests.components.test_drift import set_params

ARTIFACTS, MODELS = "/mlflow-artifacts/artifacts/", "/registered-models/"
CODE = "API request to endpoint /x failed with error code"
HTTP = "API request to http://t:1/api failed with exception"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"MlflowException: {HTTP} Connection refused", TemporaryError),
        (f"MlflowException: {HTTP} (Caused by too many 503 error responses)", TemporaryError),
        (f"MlflowException: {CODE} 502 != 200", TemporaryError),
        ("HTTPError: 500 Server Error: Internal", TemporaryError),
        ("HTTPError: 429 Client Error: Too Many Requests", TemporaryError),
        ("ConnectionResetError: [Errno 104]", TemporaryError),
        ("ReadTimeout: HTTPConnectionPool", TemporaryError),
        ("RestException: TEMPORARILY_UNAVAILABLE: x", TemporaryError),
        ("ClientError: An error occurred (SlowDown) when calling GetObject", TemporaryError),
        ("OSError: [Errno 28] No space left on device", TemporaryError),
        (f"MlflowException: {CODE} 401 != 200", ParameterError),
        ("HTTPError: 413 Client Error: Request Entity Too Large", ParameterError),
        ("RestException: PERMISSION_DENIED: Permission denied", ParameterError),
        ("ClientError: An error occurred (AccessDenied) when calling GetObject", ParameterError),
        ("HTTPError: 404 Client Error: Not Found", None),
        ("RestException: RESOURCE_DOES_NOT_EXIST: no version 7", None),
        ("ValueError: thresholds.json and the model have different labels", None),
        ("MlflowException: INTERNAL_ERROR", None),
    ],
)  # fmt: skip
def test_outages_refusals_and_all_other_errors(text: str, error: type[Exception] | None):
    found = explained(text)
    assert type(found) is (error or type(None)), found


def test_no_message_shows_a_password(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:secret@tracker.example:8443/x")
    for status in (401, 500):
        assert "secret" not in str(explained(f"HTTPError: {status} Server Error"))
    text = str(explained("ConnectionError: https://ada:secret@tracker.example:8443/api"))
    assert "tracker.example:8443 cannot be reached" in text and "secret" not in text


def test_the_password_of_the_server_is_shown_nowhere(tmp_path: Path):
    """It reaches the server as credentials, but neither the address nor any output."""
    asked: list[str | None] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(200 if self.path == "/health" else 500)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://ada:s%40cret@127.0.0.1:{server.server_port}"
    program = (
        "import os\nfrom components._registry import client\n"
        "print(os.environ['MLFLOW_TRACKING_URI'])\nfrom components._cli.main import main\nmain()"
    )
    own = {"MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    own |= {"PYTHONPATH": str(ROOT), "LONGTAIL_CACHE": str(tmp_path)}
    argv = [sys.executable, "-c", program, "history", "--model", "longtail"]
    done = subprocess.run(argv, cwd=tmp_path, env=os.environ | own, capture_output=True, text=True)
    server.shutdown()
    assert done.returncode == TEMPORARY, done.stderr
    assert f"http://127.0.0.1:{server.server_port}\n" in done.stdout
    assert not re.search("s%40cret|s@cret", done.stdout + done.stderr)
    assert set(asked) == {"Basic " + b64encode(b"ada:s@cret").decode()}


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", TemporaryError, "killed from outside"),
        ("import sys; sys.exit(3)", ServedError, "died"),
        ("import time; time.sleep(60)", ServedError, "did not answer within 3 s"),
    ],
)  # fmt: skip
def test_a_process_killed_from_outside_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, error: type, message: str
):
    stub = tmp_path / "stub.py"
    stub.write_text(program)
    monkeypatch.setattr(worker, "__file__", str(stub))
    monkeypatch.setattr(worker, "START_SECONDS", 3.0)
    with pytest.raises(error, match=message), Served(str(tmp_path)):
        pass


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Faults]]:
    """Two workspaces registered with a server; version 1 is the champion."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch, mlflow_server(folder) as faults:
        patch.setenv("MLFLOW_TRACKING_URI", faults.address)
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        patch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
        patch.setenv("LONGTAIL_CACHE", str(folder / "cache"))
        for name, wrong in (("middling", 4), ("good", 0)):
            build(folder / name, wrong=wrong)
            patch.chdir(folder / name)
            set_params()
            register.run()
        registry.connect().set_registered_model_alias("longtail", "champion", "1")
        yield folder, faults


@pytest.fixture
def served(home: tuple[Path, Faults], monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    folder, faults = home
    monkeypatch.setenv("MLFLOW_TRACKING_URI", faults.address)
    monkeypatch.chdir(folder / "good")
    for path in (decision_record.DECISION, decision_record.DRIFT, promote.OUTCOME):
        path.unlink(missing_ok=True)
    yield faults
    faults.clear()


def champion() -> str | None:
    return registry.number(registry.by_alias(registry.connect(), "longtail", registry.CHAMPION))


def asked() -> None:
    list(predict.predict([("1", "ant bee")], "models:/longtail@champion", 10))


COMMANDS: dict[str, Callable[[], object]] = {
    "decide": promote.run_decide,
    "predict": asked,
    "drift": lambda: drift.monitor(evidence.CORPUS),
    "rollback": lambda: promote.run_rollback(reason="x", to="2"),
}
FAULTS = [(ARTIFACTS, 500), (ARTIFACTS, DROP), (MODELS, 503), ("/health", 502), ("/health", DROP)]
REFUSED = {401: "does not know these credentials", 403: "forbids", 413: "too large"}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_outage_is_exit_75_and_nothing_is_remembered(served: Faults, command: str):
    for part, status in FAULTS:
        served.break_(part, status)
        with pytest.raises(TemporaryError) as caught:
            COMMANDS[command]()
        assert exit_code(caught.value) == TEMPORARY
        assert "cannot be reached" in str(caught.value) and served.hit
        served.clear()
        assert not decision_record.DECISION.exists() and not decision_record.DRIFT.exists()
        assert champion() == "1"
        assert registry.held(registry.connect(), "longtail") is None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("status", REFUSED)
@pytest.mark.parametrize("part", [ARTIFACTS, "/health"])
def test_a_refused_request_says_what_it_is(served: Faults, status: int, part: str):
    for command in COMMANDS.values():
        served.break_(part, status)
        with pytest.raises(ParameterError, match=rf"{REFUSED[status]}.*HTTP {status}") as caught:
            command()
        assert exit_code(caught.value) == BAD_PARAMETERS
        assert not decision_record.DECISION.exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("status", "error"), [(500, TemporaryError), (413, ParameterError), (403, ParameterError)]
)
def test_register_is_done_again_after_a_fault(
    served: Faults, home: tuple[Path, Faults], tmp_path: Path, monkeypatch, status: int, error
):
    build(tmp_path / "new", wrong=1, data_seed=status)
    monkeypatch.chdir(tmp_path / "new")
    served.break_("PUT /api/2.0" + ARTIFACTS, status)
    with pytest.raises(error):
        register.run()
    assert served.hit
    served.clear()
    register.run()
    assert json.loads(Path("reports/registered.json").read_text())["reused"] is False


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_after_the_outage_the_same_version_is_judged_and_promoted(served: Faults):
    """The first download of the decision fails; then, after the decision, the one of `apply`."""
    served.break_(ARTIFACTS, 500, times=2)
    with pytest.raises(TemporaryError):
        promote.run_decide()
    promote.run_decide()
    served.break_(ARTIFACTS, DROP)
    with pytest.raises(TemporaryError):
        promote.run_apply()
    assert not promote.OUTCOME.exists()
    served.clear()
    assert champion() == "1"
    promote.run_apply()
    assert champion() == "2"
    registry.connect().set_registered_model_alias("longtail", "champion", "1")


@pytest.mark.slow
def test_a_proxy_is_honored(served: Faults, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker.invalid:5000")
    monkeypatch.setenv("HTTP_PROXY", served.address)
    assert registry.number(registry.by_number(registry.connect(), "longtail", "1")) == "1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.address)
    mlflow.set_tracking_uri(served.address)
