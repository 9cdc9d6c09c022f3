"""Runs a registered version in its own process, with the code that it was packed with.

`python -I -B components/_registry/worker.py FOLDER URI` loads the version and answers JSON lines.
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
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
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
HELLO = 0  # the id of the line that says that the version is loaded


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

    Args:
        uri: of the version, or a folder with an `MLmodel` file.
        prefix: of the name of the temporary folder; `longtail prune` removes old ones that begin
            with the default.
        answer_seconds: after which an answer will not come any more, and the process is ended.

    Raises:
        ServedError: the model is not the one that was registered, does not load, refuses the input,
            or takes too long.
        TemporaryError: it cannot be downloaded now, or its process was killed from outside.
        ParameterError: the tracking server refuses the request.
    """

    def __init__(
        self,
        uri: str,
        *,
        prefix: str = "longtail-served-",
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.uri, self.prefix, self.answer_seconds = uri, prefix, answer_seconds
        self.start_seconds = self.size_mb = 0.0
        self.labels: list[str] = []
        self.thresholds: list[float] = []

    def __enter__(self) -> Served:
        # Not at the top: this file also runs alone, where no project is to be seen.
        from components._registry import trust
        from longtail.errors import DataError

        started = time.perf_counter()
        # Removed with the process, which is killed.
        self._folder = tempfile.TemporaryDirectory(prefix=self.prefix)
        try:
            copied = trust.fetch(self.uri, Path(self._folder.name))
        except BaseException as error:
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
            process_group=0,  # Ctrl-C is for whoever asks, who may still want an answer
        )
        self._waiting: dict[int, Future[dict[str, Any]]] = {HELLO: Future()}
        self._lock, self._ended, self._given_up = threading.Lock(), False, False
        self._reader = threading.Thread(target=self._read, daemon=True)
        hello = self._waiting[HELLO]
        self._reader.start()
        try:
            said = self._receive(hello, START_SECONDS)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.labels, self.thresholds = said["labels"], said["thresholds"]
        self.start_seconds = time.perf_counter() - started
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        with suppress(BrokenPipeError):  # what was not read of the last request
            self._process.stdin.close()  # type: ignore[union-attr] # it has a pipe
        self._log.close()
        self._folder.cleanup()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def ask(self, texts: Sequence[str | None], **params: float | int) -> Answer:
        """Labels and scores of `texts`; `top_k` and `threshold` as in the version's signature.

        Several threads may ask; the process answers as many at a time as it has cores.
        """
        answer: Future[dict[str, Any]] = Future()
        request = {"id": id(answer), "texts": list(texts), "params": params}
        line = (json.dumps(request) + "\n").encode()
        with self._lock:
            if self._ended:
                answer.set_exception(EOFError())
            self._waiting[id(answer)] = answer
            with suppress(BrokenPipeError, ValueError):  # it died or was ended: no answer
                assert self._process.stdin is not None
                self._process.stdin.write(line)
                self._process.stdin.flush()
        return Answer(**self._receive(answer, self.answer_seconds))

    def _read(self) -> None:
        """Hand each answer to whoever asked, until there will be no more."""
        assert self._process.stdout is not None
        try:
            with self._process.stdout:
                for line in self._process.stdout:
                    answer = json.loads(line)
                    self._waiting.pop(answer.pop("id")).set_result(answer)
        except ValueError:  # it died within a line
            self._process.kill()
        finally:
            with self._lock:
                self._ended = True
                for waiting in self._waiting.values():
                    if not waiting.done():
                        waiting.set_exception(EOFError())

    def _receive(self, answer: Future[dict[str, Any]], seconds: float) -> dict[str, Any]:
        from components._frame.exit_codes import TemporaryError

        try:
            found = answer.result(seconds)
        except FutureTimeoutError:
            self._given_up = True
            self._process.kill()
            raise ServedError(
                f"{self.uri} did not answer within {seconds:.0f} s. {self._last_log_line()}"
            ) from None
        except EOFError:
            code = self._process.wait()
            if code == -signal.SIGKILL and not self._given_up:
                raise TemporaryError(
                    f"The process of {self.uri} died, killed from outside, usually for lack of "
                    "memory; try again."
                ) from None
            said = self._last_log_line() or f"exit status {code}"
            raise ServedError(f"{self.uri} died: {said}") from None
        if "error" in found:
            raise ServedError(found["error"])
        return found

    def _last_log_line(self) -> str:
        with suppress(ValueError):  # closed by whoever ended the process
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
            return lines[-1][:500] if lines else ""
        return ""


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
    lock = threading.Lock()

    def send(answer: dict[str, Any], to: int = HELLO) -> None:
        line = json.dumps(answer | {"id": to}) + "\n"
        with lock:
            answers.write(line)
            answers.flush()

    try:
        import mlflow.pyfunc

        sys.meta_path.insert(0, OnlyPacked(folder))
        # Comparing the requirements takes a second, and nobody reads what it says.
        model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
    except Exception as error:
        send({"error": f"{uri} does not load: {type(error).__name__}: {error}"})
        return
    own = model.unwrap_python_model()
    send({"labels": list(own.labels), "thresholds": [float(limit) for limit in own.thresholds]})

    def respond(line: str) -> None:
        request = json.loads(line)
        send(_answer(model, request), request["id"])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for line in sys.stdin:
            pool.submit(respond, line)


def _answer(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    import resource

    import pandas as pd

    started = time.perf_counter()
    try:
        found = model.predict(pd.DataFrame({"text": request["texts"]}), params=request["params"])
        return {
            "labels": found["labels"].tolist(),
            "scores": found["scores"].tolist(),
            "seconds": time.perf_counter() - started,
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    except Exception as error:  # an error is an answer; the caller decides what it means
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2])
