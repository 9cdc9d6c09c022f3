"""The champion behind `longtail serve`: JSON over HTTP, many requests at once."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.strange_inputs.requests import answering, answers
from components import register
from components._formats.json_file import read_json
from components._registry import client as registry
from components._registry import evidence
from longtail.evaluation.metrics import apply_thresholds
from tests.builders.faulty_server import free_port
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import WORDS, build

PROGRAM = "from components._cli.main import main; main()"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(
    scope="module", params=["pytorch", pytest.param("onnx", marks=pytest.mark.beyond_gate)]
)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the champion, a blended model."""
    home = tmp_path_factory.mktemp("http")
    build(home, wrong=2, blend_weight=0.3)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        settings = registry.RegisterParams(
            model_name="longtail", experiment="longtail", sample=8, runtime=request.param
        )
        register.register(settings)
        registry.connect().set_registered_model_alias("longtail", "champion", "1")
        port = free_port()
        Path("tmp").mkdir()
        log = stack.enter_context(Path("server.log").open("w"))
        server = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "serve", "--port", str(port)],
            env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(home / "tmp")},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stack.callback(_stop, server)
        _wait(f"http://127.0.0.1:{port}/ping", server)
        yield f"http://127.0.0.1:{port}/invocations"


def _stop(server: subprocess.Popen) -> None:
    with suppress(ProcessLookupError):  # it has already ended
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _wait(address: str, server: subprocess.Popen) -> None:
    for _ in range(200):
        assert server.poll() is None, Path("server.log").read_text()[-2000:]
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(Path("server.log").read_text()[-2000:])


def ask(url: str, body: dict[str, Any] | bytes) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json"}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_json_in_labels_and_scores_out_with_thresholds_applied(url: str):
    scores, _ = evidence.test_scores()
    table = read_json(evidence.THRESHOLDS)["models"]["model"]["thresholds"]
    expected = apply_thresholds(scores.scores, table).toarray()
    status, answer = ask(url, {"inputs": {"text": evidence.texts_of(scores.ids)}})
    rows = answer["predictions"]
    assert (status, len(rows)) == (200, len(scores.ids))
    found = np.array([[label in row["labels"] for label in WORDS] for row in rows], dtype=np.int8)
    np.testing.assert_array_equal(found, expected)
    for row, known in zip(rows, scores.scores, strict=True):
        assert row["scores"] == sorted(row["scores"], reverse=True)
        for label, score in zip(row["labels"], row["scores"], strict=True):
            assert score == pytest.approx(known[WORDS.index(label)], abs=1e-4)


def test_top_k_and_threshold_are_parameters_of_the_request(url: str):
    text = {"inputs": {"text": ["ant bee"]}}
    _, whole = ask(url, text | {"params": {"threshold": 0.0}})
    assert sorted(whole["predictions"][0]["labels"]) == sorted(WORDS)
    _, best = ask(url, text | {"params": {"threshold": 0.0, "top_k": 2}})
    assert best["predictions"][0]["labels"] == whole["predictions"][0]["labels"][:2]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"inputs": {"text": ["a"]}, "params": {"top_k": 0}}, "top_k must be at least 1"),
        ({"inputs": {"text": ["a"]}, "params": {"threshold": 2.0}}, "between 0 and 1"),
        ({"dataframe_records": [{"text": "a"}, {"text": None}]}, "Row 2: 'text' is missing"),
        ({"inputs": {"words": ["a"]}}, "no column 'text'"),
        ({"words": ["a"]}, "must be a JSON object with one of: inputs"),
        ({"inputs": {"text": [None]}}, "Row 1: 'text' is missing, expected a string"),
        ({"inputs": {"text": ["a", 3]}}, "Row 2: 'text' is 3, expected"),
        ({"inputs": {"text": [True]}}, "Row 1: 'text' is true"),
        ({"inputs": {"text": [float("nan")]}}, "Row 1: 'text' is NaN"),
        ({"inputs": {"text": [{"a": 1}]}}, "Row 1: 'text' is {"),
        ({"inputs": {"text": [["a"]]}}, "Row 1: 'text' is ["),
        ({"inputs": {"text": []}}, "no text, expected at least one"),
        ({"inputs": []}, "no text, expected at least one"),
        ({"inputs": {"text": ["\ud800"]}}, "lone surrogate"),
        ({"instances": [{"text": None}]}, "Row 1: 'text' is missing"),
        ({"dataframe_split": {"columns": ["text"], "data": [["a"], [7]]}}, "Row 2: 'text' is 7"),
        (b'{"inputs": {"text": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}}", "nested too deeply"),
        (b'{"inputs": {"text": [' + b"1" * 5000 + b"]}}", "4300 digits"),
        (b'{"inputs": ', "not valid JSON"),
        ({"inputs": {"text": ["a"]}, "params": []}, "'params' is [], expected an object"),
        ({"inputs": {"text": ["a"]}, "params": {"top_k": "3"}}, 'params.top_k is "3", expected'),
        ({"inputs": {"text": ["a"]}, "params": {"top_k": 10**400}}, "at least 1 and below"),
        ({"inputs": {"text": ["a"]}, "params": {"top_k": True}}, "params.top_k is true, expected"),
        ({"inputs": {"text": ["a"]}, "params": {"threshold": float("nan")}}, "between 0 and 1"),
        ({"inputs": {"text": ["a"]}, "params": {"treshold": 1}}, "Unknown parameter 'treshold'"),
        ({"inputs": {"text": ["a"] * 10_000}}, "more than 1,000 texts"),
        ({"inputs": {"text": ["word " * 2_000_000]}}, "bytes, expected at most 8,000,000"),
        (b" " * 200_000_000, "200,000,000 bytes, expected at most 8,000,000"),
        (b"\xff\xfe{", "not valid JSON"),
    ],
)
def test_bad_requests_get_400_and_a_reason(url: str, body: dict[str, Any] | bytes, reason: str):
    status, answer = ask(url, body)
    assert status == 400
    assert reason in answer["message"]
    assert "stack_trace" not in answer and "site-packages" not in str(answer)
    assert ask(url, {"inputs": {"text": ["ant"]}})[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": ["ant", "bee"]},
        {"inputs": [{"text": "ant"}, {"text": "bee"}]},
        {"inputs": {"text": ["ant", "bee"], "more": [1, 2]}},
        {"instances": [{"text": "ant"}, {"text": "bee"}]},
        {"dataframe_split": {"columns": ["text"], "data": [["ant"], ["bee"]]}},
        {"dataframe_records": [{"text": "ant"}, {"text": "bee"}]},
    ],
)
def test_every_form_that_mlflow_knows_is_answered(url: str, body: dict[str, Any]):
    status, answer = ask(url, body)
    assert (status, len(answer.get("predictions", ()))) == (200, 2), answer


def test_concurrent_requests_get_their_own_answers(url: str):
    texts = [f"{a} {b}" for a in WORDS for b in WORDS]

    def one(text: str) -> tuple[int, Any]:
        return ask(url, {"inputs": {"text": [text]}, "params": {"threshold": 0.0, "top_k": 3}})

    alone = [one(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(one, texts))
    assert {status for status, _ in together} == {200}
    for (_, a), (_, b) in zip(alone, together, strict=True):
        assert a["predictions"][0]["labels"] == b["predictions"][0]["labels"]
        assert a["predictions"][0]["scores"] == pytest.approx(b["predictions"][0]["scores"])


def test_no_strange_request_makes_the_server_large_or_silent(url: str):
    """The benchmark's requests, of many sizes and kinds, one after the other."""
    log = Path("server.log").read_text()
    pid = int(re.search(r"Started server process \[(\d+)\]", log)[1])
    found = list(answers(url, answering(pid)))
    assert [row for row in found if row.wrong] == [] and len(found) > 100
    refused = {row.name for row in found if row.status == 400}
    assert {"10,000 texts", "one text of 10 MB", "nested 100,000 deep", "unknown 1"} <= refused
    assert {"1,000 texts", "one text of 2 MB"}.isdisjoint(refused)


def test_csv_of_many_rows_is_refused_too(url: str):
    body = b"text\n" + b"ant\n" * 5000
    request = urllib.request.Request(url, body, {"Content-Type": "text/csv"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=120)
    assert (
        caught.value.code == 400 and "more than 1,000 texts" in json.load(caught.value)["message"]
    )
    request = urllib.request.Request(url, b"text\nant\n", {"Content-Type": "text/csv"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert len(json.load(answer)["predictions"]) == 1


def test_health_metrics_and_model_are_told(url: str):
    base = url.removesuffix("/invocations")
    before = _metric(base, "longtail_texts_total")
    ask(url, {"inputs": {"text": ["ant", "bee"]}})
    ask(url, {"inputs": {}})
    assert _metric(base, "longtail_texts_total") == before + 2
    assert _metric(base, 'longtail_requests_total{status="400"}') >= 1
    assert _metric(base, 'longtail_model_info{uri="models:/longtail/1"}') == 1
    with urllib.request.urlopen(f"{base}/health") as answer:
        assert json.load(answer) == {"status": "ok", "model": "models:/longtail/1"}
    with urllib.request.urlopen(f"{base}/model") as answer:
        told = json.load(answer)
    table = read_json(evidence.THRESHOLDS)["models"]["model"]["thresholds"]
    assert told["thresholds"] == pytest.approx(dict(zip(WORDS, table, strict=True)))
    for path, kind in {"/": "text/html", "/page.js": "javascript", "/page.css": "css"}.items():
        with urllib.request.urlopen(base + path) as answer:
            assert kind in answer.headers["Content-Type"]
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def _metric(base: str, name: str) -> float:
    with urllib.request.urlopen(f"{base}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name + " ")), 0.0)


def test_texts_of_who_has_gone_make_nobody_wait(url: str):
    base = url.removesuffix("/invocations")
    texts = json.dumps({"inputs": {"text": ["ant bee cat dog " * 60] * 1000}}).encode()
    port = int(base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as gone:
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(texts)}\r\n"
        gone.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + texts)
    waiting = []
    for _ in range(200):  # they arrive, then they are given up
        waiting.append(_metric(base, "longtail_waiting_texts"))
        if max(waiting) > 0 and waiting[-1] == 0:
            break
        time.sleep(0.05)
    assert max(waiting) > 0 and waiting[-1] == 0, waiting
    assert ask(url, {"inputs": {"text": ["ant"]}})[0] == 200


def test_an_address_in_use_is_said_before_anything_is_loaded(url: str):
    port = url.removesuffix("/invocations").rpartition(":")[2]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "serve", "--port", port],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, "choose another --host or --port" in done.stderr) == (2, True)
    assert time.monotonic() - started < 60 and "Serving" not in done.stdout


def test_a_killed_process_is_replaced_and_the_next_request_answered(url: str):
    log = Path("server.log").read_text()
    worker = answering(int(re.search(r"Started server process \[(\d+)\]", log)[1]))
    os.kill(worker, signal.SIGKILL)
    found = [ask(url, {"inputs": {"text": ["ant"]}})[0] for _ in range(3)]
    assert found[-1] == 200 and set(found) <= {200, 503}
    with urllib.request.urlopen(url.replace("invocations", "health")) as answer:
        assert json.load(answer)["status"] == "ok"


def test_the_champion_changes_under_load_without_a_failed_request(url: str):
    """Twice, with requests all the time; last in the file, since the version is another then."""
    client = registry.connect()
    settings = registry.RegisterParams(
        model_name="longtail", experiment="longtail", sample=8, runtime="pytorch"
    )
    for tag in ("b", "c"):  # other parameters, another version
        Path("params.yaml").write_text(f"{Path('params.yaml').read_text()}# {tag}\n")
        evidence.THRESHOLDS.write_text(evidence.THRESHOLDS.read_text() + " ")
        register.register(settings)
    numbers = sorted((v.version for v in client.search_model_versions("name='longtail'")), key=int)
    base, stop, statuses = url.removesuffix("/invocations"), threading.Event(), []

    def keep_asking() -> None:
        while not stop.is_set():
            statuses.append(ask(url, {"inputs": {"text": ["ant bee"]}})[0])

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in numbers[1:3]:
            client.set_registered_model_alias("longtail", "champion", number)
            wanted = f'longtail_model_info{{uri="models:/longtail/{number}"}}'
            for _ in range(240):
                if _metric(base, wanted):
                    break
                time.sleep(0.5)
            assert _metric(base, wanted) == 1, Path("server.log").read_text()[-2000:]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(statuses) == {200} and len(statuses) > 20
    assert _metric(base, "longtail_exchanges") == 2


def test_a_stopped_server_answers_what_it_has_begun(url: str):
    """The last one: afterwards there is no server."""
    server = int(re.search(r"server process \[(\d+)\]", Path("server.log").read_text())[1])
    worker = answering(server)
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(ask, url, {"inputs": {"text": ["ant bee"] * 500}})
        time.sleep(0.2)
        os.kill(server, signal.SIGTERM)
        assert begun.result()[0] == 200
    for _ in range(200):
        if not Path(f"/proc/{server}/cmdline").read_text():  # ended; the test is its parent
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()
    assert list(Path("tmp").glob("longtail-*")) == [], "the copy of the version is left"
