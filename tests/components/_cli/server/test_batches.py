"""Requests that wait together: each gets its own answers, none keeps the others waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from components._cli.server.batches import AT_ONCE, MOST_WAITING, Batches, BusyError, Found
from components._cli.server.bodies import Asked


class Model:
    """Answers a text with itself, and keeps what it was asked, a batch per entry."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], dict[str, Any]]] = []

    async def __call__(self, texts: list[str], params: dict[str, Any]) -> list[Found]:
        self.asked.append((texts, params))
        await asyncio.sleep(0)
        if "poison" in texts:
            raise ValueError("this one kills it")
        return [([text], [0.5]) for text in texts]


def together(
    work: Callable[[Batches], Coroutine[Any, Any, Any]], model: Model, lanes: int = 2
) -> Any:
    async def main() -> Any:
        batches = Batches(model)
        tasks = [asyncio.create_task(batches.lane()) for _ in range(lanes)]
        try:
            return await asyncio.wait_for(work(batches), 10)
        finally:
            for task in tasks:
                task.cancel()

    return asyncio.run(main())


def asked(*texts: str, **params: Any) -> Asked:
    return Asked(list(texts), params)


def test_each_request_gets_its_own_answers_in_its_order() -> None:
    requests = [asked(*(f"{n}-{k}" for k in range(n))) for n in range(1, 20)]

    async def work(batches: Batches) -> list[list[Found]]:
        return await asyncio.gather(*(batches.answer(request) for request in requests))

    model = Model()
    for request, found in zip(requests, together(work, model), strict=True):
        assert [labels for labels, _ in found] == [[text] for text in request.texts]
    assert sorted(text for texts, _ in model.asked for text in texts) == sorted(
        text for request in requests for text in request.texts
    ), "each text once"
    assert max(len(texts) for texts, _ in model.asked) == AT_ONCE


def test_a_large_request_does_not_keep_a_small_one_waiting() -> None:
    done: list[str] = []

    async def work(batches: Batches) -> None:
        async def one(name: str, request: Asked) -> None:
            await batches.answer(request)
            done.append(name)

        large = asyncio.create_task(one("large", asked(*(["text"] * 1000))))
        await asyncio.sleep(0)
        await one("small", asked("a"))
        await large

    model = Model()
    together(work, model, lanes=1)
    assert done == ["small", "large"]
    assert ["a"] in [texts for texts, _ in model.asked[:3]] or "a" in model.asked[1][0]


def test_requests_with_other_parameters_share_no_batch() -> None:
    async def work(batches: Batches) -> None:
        await asyncio.gather(
            *(batches.answer(asked("x", top_k=1 + n % 2)) for n in range(10)),
            batches.answer(asked("x")),
        )

    model = Model()
    together(work, model)
    counted = {str(params): 0 for _, params in model.asked}
    for texts, params in model.asked:
        counted[str(params)] += len(texts)
    assert counted == {"{'top_k': 1}": 5, "{'top_k': 2}": 5, "{}": 1}


def test_an_error_is_told_to_its_batch_and_the_next_one_is_answered() -> None:
    async def work(batches: Batches) -> list[Found]:
        first = batches.answer(asked("poison"))
        with pytest.raises(ValueError, match="kills it"):
            await first
        return await batches.answer(asked("ant"))

    assert together(work, Model()) == [(["ant"], [0.5])]


def test_a_request_that_fails_fails_alone() -> None:
    async def work(batches: Batches) -> list[Any]:
        requests = [asked("ant"), asked("poison"), asked("bee"), asked("cat", "poison")]
        answers = (batches.answer(request) for request in requests)
        return await asyncio.gather(*answers, return_exceptions=True)

    ant, poison, bee, both = together(work, Model(), lanes=1)
    assert (ant, bee) == ([(["ant"], [0.5])], [(["bee"], [0.5])])
    assert isinstance(poison, ValueError) and isinstance(both, ValueError)


def test_the_rest_of_a_request_that_failed_is_not_asked() -> None:
    async def work(batches: Batches) -> None:
        with pytest.raises(ValueError):
            await batches.answer(asked("poison", *(["a"] * 100)))
        await batches.answer(asked("ant"))

    model = Model()
    together(work, model, lanes=1)
    assert len(model.asked) == 2


def test_more_than_can_be_answered_soon_is_refused_at_once() -> None:
    async def work(batches: Batches) -> None:
        waiting: list[Awaitable[Any]] = [
            asyncio.create_task(batches.answer(asked(*(["a"] * 1000))))
            for _ in range(MOST_WAITING // 1000)
        ]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="2,000 texts are waiting"):
            await batches.answer(asked("one more"))
        await asyncio.gather(*waiting)
        assert batches.n_waiting == 0
        await batches.answer(asked("one more"))

    together(work, Model())


def test_who_has_gone_is_not_answered() -> None:
    async def work(batches: Batches) -> None:
        gone = asyncio.create_task(batches.answer(asked(*(["a"] * 500))))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert batches.n_waiting == 0

    model = Model()
    together(work, model)
    assert sum(len(texts) for texts, _ in model.asked) <= 2 * AT_ONCE
