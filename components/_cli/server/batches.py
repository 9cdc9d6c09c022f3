"""Requests that arrive at the same time share the model: a few texts of each in turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from components._cli.server.bodies import Asked

# Texts that a lane gets at once. With more, those of different lengths are padded to the longest;
# a request of a thousand texts would keep one of a single text waiting.
AT_ONCE = 4
MOST_WAITING = 2000  # texts, about a minute's work; more are refused at once

Found = tuple[list[str], list[float]]  # labels and scores of one text
Ask = Callable[[list[str], dict[str, Any]], Awaitable[list[Found]]]


class BusyError(Exception):
    """More texts are waiting than can be answered soon."""


@dataclass(eq=False)
class Waiting:
    """A request that is not answered yet: what of it a lane has taken, and what was found."""

    asked: Asked
    answer: asyncio.Future[list[Found]]
    n_taken: int = 0
    found: dict[int, Found] = field(default_factory=dict)  # by the number of the text

    def take(self, most: int) -> list[int]:
        """The numbers of the next texts."""
        first, self.n_taken = self.n_taken, min(len(self.asked.texts), self.n_taken + most)
        return list(range(first, self.n_taken))

    def give(self, numbers: list[int], found: list[Found]) -> None:
        """What was found for some texts; with the last one the request is answered."""
        self.found |= zip(numbers, found, strict=True)
        if len(self.found) == len(self.asked.texts) and not self.answer.done():
            self.answer.set_result([self.found[number] for number in range(len(self.found))])

    def fail(self, error: Exception) -> None:
        """Tell whoever asked."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Batches:
    """Requests in the order in which they get their next turn.

    Args:
        ask: answers texts with the same parameters; each lane calls it once at a time.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._queue: deque[Waiting] = deque()  # those with texts that no lane has taken
        self._arrived = asyncio.Event()

    @property
    def n_waiting(self) -> int:
        """Texts that no lane has taken."""
        return sum(len(waiting.asked.texts) - waiting.n_taken for waiting in self._queue)

    async def answer(self, asked: Asked) -> list[Found]:
        """Labels and scores of each text.

        Raises:
            BusyError: at once, instead of a late answer.
        """
        if self.n_waiting + len(asked.texts) > MOST_WAITING:
            raise BusyError(f"{self.n_waiting:,} texts are waiting for answers; try again later.")
        waiting = Waiting(asked, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._arrived.set()
        try:
            return await waiting.answer
        finally:  # also where whoever asked has waited for too long
            if waiting in self._queue:
                self._queue.remove(waiting)

    async def lane(self) -> None:
        """Answer what arrives, a batch at a time, until cancelled."""
        while True:
            await self._arrived.wait()
            batch = self._next()
            if not batch:
                self._arrived.clear()
                continue
            await self._settle(batch)

    async def _settle(self, batch: list[tuple[Waiting, list[int]]]) -> None:
        """Answer a batch; if that fails, each of its requests alone, as one may be the reason."""
        texts = [waiting.asked.texts[n] for waiting, numbers in batch for n in numbers]
        try:
            found = await self._ask(texts, batch[0][0].asked.params)
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    await self._settle([one])
                return
            [(waiting, _)] = batch
            waiting.fail(error)
            if waiting in self._queue:
                self._queue.remove(waiting)
            return
        for waiting, numbers in batch:
            waiting.give(numbers, found[: len(numbers)])
            found = found[len(numbers) :]

    def _next(self) -> list[tuple[Waiting, list[int]]]:
        """Texts of the first requests that have the same parameters."""
        batch: list[tuple[Waiting, list[int]]] = []
        room = AT_ONCE
        for waiting in list(self._queue):
            if room and (not batch or waiting.asked.params == batch[0][0].asked.params):
                numbers = waiting.take(room)
                room -= len(numbers)
                batch.append((waiting, numbers))
                self._queue.remove(waiting)
                if waiting.n_taken < len(waiting.asked.texts):
                    self._queue.append(waiting)  # the others first
        return batch
