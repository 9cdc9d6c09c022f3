"""The version that answers: loaded in a process of its own, exchanged when the champion changes."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from components._cli.server.batches import Found
from components._frame.exit_codes import TemporaryError
from components._registry.renamed import Renamed
from components._registry.worker import Answer, Served, ServedError
from longtail.validation.label_history import Fates

POLL_SECONDS = 10.0
# Not a name that `longtail prune` takes for a leftover: it is in use for days.
PREFIX = "longtail-serving-"
ANSWER_SECONDS = 120.0  # of a few texts; a process that hangs for longer is started anew
WARM_UP = ["", "A text to warm up with."]


class Champion:
    """Answers with one version, and loads the next one before it gives up the one it has.

    Args:
        uri: of the version to begin with, by number, so that it is the same one after a restart.
        current: the URI that should answer now, such as the champion's; None: always `uri`.
        fates: what labels have become, to answer in those of today; None: in the version's own.

    Attributes:
        closed: whether the server is stopping; what is still being loaded then is ended at once.
    """

    def __init__(
        self,
        uri: str,
        current: Callable[[], str | None] | None = None,
        fates: Fates | None = None,
    ) -> None:
        self.uri, self._current, self._fates = uri, current, fates
        self.closed, self.n_exchanges = False, 0
        self._refused: str | None = None  # a version that does not load is not tried at every look
        self._changing = asyncio.Lock()
        self._asking: Counter[Served | Renamed] = Counter()
        self._served = self._loaded(uri)

    @property
    def labels(self) -> list[str]:
        """Of the version that answers."""
        return self._served.labels

    @property
    def thresholds(self) -> list[float]:
        """One per label."""
        return self._served.thresholds

    @property
    def alive(self) -> bool:
        """Whether there is a process that answers."""
        return self._served.alive

    async def ask(self, texts: list[str], params: dict[str, Any]) -> list[Found]:
        """Labels and scores of texts; a process that has died is started anew.

        Raises:
            ServedError: it died of this request, refuses it, or does not start.
            TemporaryError: it was killed from outside, or cannot be loaded now.
        """
        async with self._changing:
            if not self._served.alive:
                dead, self._served = self._served, await asyncio.to_thread(self._loaded, self.uri)
                await self._ended(dead)
            served = self._served
        self._asking[served] += 1
        try:
            answer: Answer = await asyncio.to_thread(served.ask, texts, **params)
        finally:
            self._asking[served] -= 1
        if len(answer.labels) != len(texts):
            raise ServedError(f"{self.uri} answered {len(answer.labels)} of {len(texts)} texts.")
        return list(zip(answer.labels, answer.scores, strict=True))

    async def follow(self) -> None:
        """Look for another champion, until cancelled; what goes wrong changes nothing."""
        assert self._current is not None
        said = ""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                uri = await asyncio.to_thread(self._current)
                if uri != self._refused:
                    self._refused = None
                if uri not in (None, self.uri, self._refused):
                    await self._exchange(uri)
                said = ""
            except Exception as error:  # of any library: the next look may go well
                if str(error) != said:
                    print(f"Still serving {self.uri}: {error}", file=sys.stderr, flush=True)
                said = str(error)

    async def _exchange(self, uri: str) -> None:
        try:
            served = await asyncio.to_thread(self._loaded, uri)
        except ServedError:
            self._refused = uri
            raise
        async with self._changing:
            old, self._served, self.uri = self._served, served, uri
        self.n_exchanges += 1
        print(f"Serving {uri}.", flush=True)
        await self._ended(old)

    async def _ended(self, served: Served | Renamed) -> None:
        """End a process once it has answered what it was asked."""
        while self._asking[served]:
            await asyncio.sleep(0.1)
        del self._asking[served]
        await asyncio.to_thread(_end, served)

    def _loaded(self, uri: str) -> Served | Renamed:
        served = Served(uri, prefix=PREFIX, answer_seconds=ANSWER_SECONDS).__enter__()
        try:
            served.ask(WARM_UP)
            if self.closed:
                raise TemporaryError("The server is stopping.")
        except BaseException:
            _end(served)
            raise
        return served if self._fates is None else Renamed(served, self._fates)

    def close(self) -> None:
        """End the process."""
        _end(self._served)


def _end(served: Served | Renamed) -> None:
    with suppress(OSError, ValueError):  # it may have been ended before
        served.__exit__(None, None, None)
