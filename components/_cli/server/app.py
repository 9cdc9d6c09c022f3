"""The server's addresses: MLflow's protocol, health, metrics, and a page for people."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import mlflow
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from components._cli.server.batches import Batches, BusyError, Found
from components._cli.server.bodies import MOST_BYTES, Asked, RefusedError, parse, too_large
from components._cli.server.champion import Champion
from components._cli.server.metrics import Metrics
from components._frame.exit_codes import TemporaryError
from components._registry.worker import ServedError

REQUEST_SECONDS = 60.0
# No script or style but our own, and no page that frames ours.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PAGE = Path(__file__).parent / "page"


class App:
    """Handlers over one champion."""

    def __init__(self, champion: Champion, *, follow: bool) -> None:
        self.champion, self._follow = champion, follow
        self.batches = Batches(self._ask)
        self.metrics = Metrics(champion, self.batches)

    async def _ask(self, texts: list[str], params: dict[str, Any]) -> list[Found]:
        self.metrics.batch.observe(len(texts))
        return await self.champion.ask(texts, params)

    def starlette(self) -> Starlette:
        """The ASGI application."""
        get = {
            "/ping": self.health,
            "/health": self.health,
            "/version": self.version,
            "/metrics": self.prometheus,
            "/model": self.model,
            "/": self.page,
            "/page.js": self.script,
            "/page.css": self.style,
        }
        routes = [Route(path, handler) for path, handler in get.items()]
        routes.append(Route("/invocations", self.invocations, methods=["POST"]))
        return Starlette(routes=routes, lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Batches are answered and the champion is followed while the server runs."""
        lanes = range(os.cpu_count() or 1)  # the process answers as many at a time
        tasks = [asyncio.create_task(self.batches.lane()) for _ in lanes]
        if self._follow:
            tasks.append(asyncio.create_task(self.champion.follow()))
        try:
            yield
        finally:
            self.champion.closed = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def invocations(self, request: Request) -> Response:
        """Labels and scores of texts, as MLflow's server answers."""
        started = time.perf_counter()
        with suppress(ClientDisconnect):
            response = await self._answered(request)
            self.metrics.requests.labels(str(response.status_code)).inc()
            self.metrics.seconds.observe(time.perf_counter() - started)
            return response
        return Response(status_code=400)  # nobody reads it

    async def _answered(self, request: Request) -> Response:
        try:
            if coding := request.headers.get("content-encoding"):
                raise RefusedError(f"The request is encoded ({coding[:60]}), expected it plain.")
            asked = parse(await _body(request), request.headers.get("content-type", ""))
            found = await self._found(request, asked)
        except RefusedError as reason:
            return _error(400, "BAD_REQUEST", str(reason))
        except TimeoutError:
            seconds = f"{REQUEST_SECONDS:.0f} s"
            return _error(503, "TEMPORARILY_UNAVAILABLE", f"No answer within {seconds}; try again.")
        except (BusyError, TemporaryError) as error:
            return _error(503, "TEMPORARILY_UNAVAILABLE", str(error))
        except ServedError as error:
            if not self.champion.alive:  # it died of this request, or of one beside it
                return _error(503, "TEMPORARILY_UNAVAILABLE", str(error))
            return _error(500, "INTERNAL_ERROR", str(error))
        self.metrics.texts.inc(len(found))
        rows = [{"labels": labels, "scores": scores} for labels, scores in found]
        return JSONResponse({"predictions": rows})

    async def _found(self, request: Request, asked: Asked) -> list[Found]:
        """The answer, as long as somebody waits for it.

        Raises:
            TimeoutError: it takes too long.
            ClientDisconnect: nobody waits any more.
        """
        answer = asyncio.ensure_future(self.batches.answer(asked))
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                while not (await asyncio.wait({answer}, timeout=1.0))[0]:
                    if await request.is_disconnected():
                        raise ClientDisconnect
            return await answer
        finally:
            answer.cancel()

    async def health(self, _request: Request) -> Response:
        """200 while a version answers, else 503."""
        alive = self.champion.alive
        state = {"status": "ok" if alive else "restarting", "model": self.champion.uri}
        return JSONResponse(state, 200 if alive else 503)

    async def version(self, _request: Request) -> Response:
        """The version of MLflow, whose protocol this is."""
        return PlainTextResponse(mlflow.__version__)

    async def prometheus(self, _request: Request) -> Response:
        """Counters in Prometheus' text format."""
        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def model(self, _request: Request) -> Response:
        """The version that answers, its labels, and their thresholds."""
        pairs = zip(self.champion.labels, self.champion.thresholds, strict=True)
        return JSONResponse({"model": self.champion.uri, "thresholds": dict(pairs)})

    async def page(self, _request: Request) -> Response:
        """Where people try a text."""
        return Response((PAGE / "index.html").read_text("utf-8"), 200, HEADERS, "text/html")

    async def script(self, _request: Request) -> Response:
        """Of the page."""
        text = (PAGE / "page.js").read_text("utf-8")
        return Response(text, 200, HEADERS, "text/javascript")

    async def style(self, _request: Request) -> Response:
        """The report's, and what this page has beyond it."""
        report = files("longtail.report.page").joinpath("page.css").read_text("utf-8")
        own = (PAGE / "page.css").read_text("utf-8")
        return Response(f"{report}\n{own}", 200, HEADERS, "text/css")


async def _body(request: Request) -> bytes:
    """The request to its end, also of what is too large: else whoever sends it sees no answer."""
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= MOST_BYTES:
            body += chunk
    if size > MOST_BYTES:
        raise too_large(size)
    return bytes(body)


def _error(status: int, code: str, message: str) -> Response:
    headers = {"Retry-After": "1"} if status == 503 else None
    body = json.dumps({"error_code": code, "message": message})
    return Response(body, status, headers, "application/json")
