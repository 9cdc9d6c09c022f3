"""Runs a registered version in its own process, with the code that it was packed with.

`python -I -B components/_registry/worker.py FOLDER URI` loads the version and answers JSON lines;
with HOST and PORT it answers requests over HTTP, as MLflow's own server.
Isolated mode hides the working folder, and `OnlyPacked` hides the installed project: a version that
needs either of them does not load, and an older version runs the code it was made with. `Served` is
the other end: it fetches the version first, and compares its files with the registered ones.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

PROJECT = ("longtail", "components", "dags")
SETTINGS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # Idle threads sleep instead of spinning: on a busy machine, a text takes a tenth of the time.
    "OMP_WAIT_POLICY": "PASSIVE",
}
START_SECONDS, ANSWER_SECONDS = 300.0, 600.0
# Of one request over HTTP: what a core answers within the minute that MLflow gives it.
MOST_BYTES, MOST_TEXTS = 8_000_000, 1000
MOST_LABELS = 1_000_000
FORMS = ("inputs", "instances", "dataframe_records", "dataframe_split")


class ServedError(Exception):
    """The model is not the one that was registered, did not load, refused its input, or died."""


@dataclass(frozen=True)
class Answer:
    """Labels and scores of each text, best first, the time it took, and the peak memory so far."""

    labels: list[list[str]]
    scores: list[list[float]]
    seconds: float
    memory_mb: float


class Served:
    """A context manager around the process; `ask` sends texts and waits for the answer.

    Raises:
        ServedError: the model is not the one that was registered, does not load, refuses the input,
            or takes too long.
        TemporaryError: it cannot be downloaded now, or its process was killed from outside.
        ParameterError: the tracking server refuses the request.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.start_seconds = self.size_mb = 0.0
        self.labels: list[str] = []

    def __enter__(self) -> Served:
        # Not at the top: this file also runs alone, where no project is to be seen.
        from components._registry import trust
        from longtail.errors import DataError

        started = time.perf_counter()
        # Removed with the process, which is killed.
        self._folder = tempfile.TemporaryDirectory(prefix="longtail-served-")
        try:
            copied = trust.fetch(self.uri, Path(self._folder.name))
        except Exception as error:
            self._folder.cleanup()
            if isinstance(error, DataError):
                raise ServedError(str(error)) from None
            raise
        self.size_mb = trust.megabytes(copied)
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", os.path.abspath(__file__), str(copied), self.uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **SETTINGS, "TMPDIR": self._folder.name},
        )
        try:
            self.labels = self._receive(START_SECONDS)["labels"]
        except Exception:
            self.__exit__(None, None, None)
            raise
        self.start_seconds = time.perf_counter() - started
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
        self._folder.cleanup()

    def ask(self, texts: Sequence[str | None], **params: float | int) -> Answer:
        """Labels and scores of `texts`; `top_k` and `threshold` as in the version's signature."""
        request = json.dumps({"texts": list(texts), "params": params}) + "\n"
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died: there will be no answer
            self._process.stdin.write(request.encode())
            self._process.stdin.flush()
        return Answer(**self._receive(ANSWER_SECONDS))

    def _receive(self, seconds: float) -> dict[str, Any]:
        from components._frame.exit_codes import TemporaryError

        assert self._process.stdout is not None
        late = threading.Event()
        timer = threading.Timer(seconds, self._give_up, [late])
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            killed = self._process.wait() == -signal.SIGKILL
            what = f"did not answer within {seconds:.0f} s" if late.is_set() else "died"
            if killed and not late.is_set():
                cause = "killed from outside, usually for lack of memory"
                raise TemporaryError(f"The process of {self.uri} {what}, {cause}; try again.")
            raise ServedError(f"{self.uri} {what}. {self._last_log_line()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ServedError(answer["error"])
        return answer

    def _give_up(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def _last_log_line(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:500] if lines else ""


class OnlyPacked:
    """Import hook: the project's packages come from the version's folder or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in PROJECT:
            return None
        places = sys.path if path is None else path
        packed = [place for place in places if Path(place).resolve().is_relative_to(self.folder)]
        spec = importlib.machinery.PathFinder.find_spec(name, packed, target)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r} in the version", name=name)
        return spec


def _serve(folder: Path, uri: str) -> None:
    """Load `folder`, then answer each line of stdin; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)

    def send(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        import mlflow.pyfunc

        sys.meta_path.insert(0, OnlyPacked(folder))
        # Comparing the requirements takes a second, and nobody reads what it says.
        model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
    except Exception as error:
        send({"error": f"{uri} does not load: {type(error).__name__}: {error}"})
        return
    send({"labels": list(model.unwrap_python_model().labels)})
    for line in sys.stdin:
        send(_answer(model, json.loads(line)))


def _listen(folder: Path, uri: str, host: str, port: int) -> None:
    """Load `folder`, then answer requests by MLflow's server, once they are checked."""
    import mlflow.pyfunc
    import uvicorn
    from mlflow.pyfunc import scoring_server

    sys.meta_path.insert(0, OnlyPacked(folder))
    try:
        model = mlflow.pyfunc.load_model(str(folder))
    except Exception as error:
        print(f"{uri} does not load: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(3)  # bad data; this file also runs alone, where no project is to be seen
    uvicorn.run(Checked(scoring_server.init(model)), host=host, port=port)


class Checked:
    """Refuses requests that MLflow would answer with nonsense, a stack trace, or a 500.

    MLflow turns null, numbers, and objects into texts before the model sees them.
    """

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See the specification of ASGI."""
        kinds = [value for name, value in scope.get("headers", ()) if name == b"content-type"]
        if scope.get("path") != "/invocations":
            await self.app(scope, receive, send)
            return
        body, size, more = bytearray(), 0, True
        while more:  # to the end, also of what is too large: else the client sees no answer
            message = await receive()
            size += len(message.get("body", b""))
            if size <= MOST_BYTES:
                body += message.get("body", b"")
            more = message.get("more_body", False)
        look = refusal if any(b"json" in kind for kind in kinds) else too_many_rows
        if size > MOST_BYTES:
            reason: str | None = f"The request has {size:,} bytes, expected at most {MOST_BYTES:,}."
        else:
            reason = look(bytes(body))
        if reason:
            answer = json.dumps({"error_code": "BAD_REQUEST", "message": reason}).encode()
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": answer})
            return
        whole = iter([{"type": "http.request", "body": bytes(body), "more_body": False}])

        async def again() -> Any:
            return next(whole, None) or await receive()

        await self.app(scope, again, send)


def refusal(body: bytes) -> str | None:
    """Why a JSON request is refused; None if each of its texts is a string."""
    try:
        request = json.loads(body)
    except RecursionError:
        return "The request is nested too deeply."
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        return f"The request is not valid JSON: {error}"
    if not isinstance(request, dict) or not any(form in request for form in FORMS):
        return None  # MLflow says what is missing
    texts = _texts(request)
    if texts is None:
        return "The request has no column 'text', expected a list of texts in it."
    if not texts:
        return "The request has no text, expected at least one."
    if len(texts) > MOST_TEXTS:
        return f"The request has {len(texts):,} texts, expected at most {MOST_TEXTS:,}; send parts."
    return _wrong_text(texts) or _wrong_params(request.get("params"))


def too_many_rows(body: bytes) -> str | None:
    """Why a CSV request is refused, of which MLflow checks all but its length."""
    rows = body.count(b"\n")  # of a quoted text too: nobody sends a thousand lines by mistake
    if rows <= MOST_TEXTS:
        return None
    return f"The request has {rows:,} lines, expected at most {MOST_TEXTS:,}; send parts, or JSON."


def _wrong_text(texts: Sequence[Any]) -> str | None:
    for row, text in enumerate(texts, 1):
        if not isinstance(text, str):
            kind = "missing" if text is None else json.dumps(text)[:60]
            return f"Row {row}: 'text' is {kind}, expected a string."
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            return f"Row {row}: 'text' has half of a character (a lone surrogate)."
    return None


def _wrong_params(params: Any) -> str | None:
    """As the version's signature says; MLflow would ignore a misspelled name."""
    if params is None:
        return None
    if not isinstance(params, dict):
        return f"'params' is {json.dumps(params)[:60]}, expected an object."
    for name, value in params.items():
        if name not in ("top_k", "threshold"):
            return f"Unknown parameter {name[:60]!r}; valid: threshold, top_k."
        kind = int if name == "top_k" else (int, float)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            what = "an integer" if name == "top_k" else "a number"
            return f"params.{name} is {json.dumps(value)[:60]}, expected {what}."
    top_k, threshold = params.get("top_k"), params.get("threshold")
    if top_k is not None and not 1 <= top_k < MOST_LABELS:
        return f"params.top_k must be at least 1 and below {MOST_LABELS:,}, got {str(top_k)[:20]}."
    if threshold is not None and not 0 <= threshold <= 1:
        return f"params.threshold must be between 0 and 1, got {str(threshold)[:20]}."
    return None


def _texts(request: dict[str, Any]) -> list[Any] | None:
    """The texts in any of the forms that MLflow's server knows; None if they are not there."""
    if isinstance(split := request.get("dataframe_split"), dict):
        names, rows = split.get("columns"), split.get("data")
        if not isinstance(names, list) or not isinstance(rows, list) or "text" not in names:
            return None
        at = names.index("text")
        return [
            row[at] if isinstance(row, list) and len(row) == len(names) else row for row in rows
        ]
    given = next((request[form] for form in FORMS[:-1] if form in request), None)
    if isinstance(given, dict) and "text" in given:  # columns
        return given["text"] if isinstance(given["text"], list) else [given["text"]]
    if not isinstance(given, list):
        return None if given is None or isinstance(given, dict) else [given]
    return [row.get("text", row) if isinstance(row, dict) else row for row in given]


def _answer(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    import resource

    import pandas as pd

    started = time.perf_counter()
    try:
        found = model.predict(pd.DataFrame({"text": request["texts"]}), params=request["params"])
    except Exception as error:  # an error is an answer; the caller decides what it means
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "labels": found["labels"].tolist(),
        "scores": found["scores"].tolist(),
        "seconds": time.perf_counter() - started,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _serve(Path(sys.argv[1]), sys.argv[2])
    else:
        _listen(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
