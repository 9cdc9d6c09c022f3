"""Which version answers: the next one is loaded before the one before it is given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from components._cli.server import champion
from components._cli.server.champion import Champion
from components._frame.exit_codes import TemporaryError
from components._registry.worker import Answer, ServedError
from longtail.validation.label_history import Fate


class Process:
    """Stands for the process of a version."""

    living: list[str] = []
    broken: set[str] = set()
    seconds = 0.0
    loading: dict[str, float] = {}  # seconds that a version takes to load
    short: set[str] = set()  # versions that answer too few texts

    def __init__(self, uri: str, *, prefix: str, answer_seconds: float) -> None:
        assert prefix != "longtail-served-", "prune would remove its folder"
        self.uri, self.alive, self.labels, self.thresholds = uri, True, [uri], [0.5]

    def __enter__(self) -> Process:
        if self.uri in self.broken:
            raise ServedError(f"{self.uri} does not load")
        time.sleep(self.loading.get(self.uri, 0.0))
        self.living.append(self.uri)
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive or self.uri in self.living:
            self.living.remove(self.uri)
        self.alive = False

    def ask(self, texts: list[str], **params: Any) -> Answer:
        if not self.alive:
            raise TemporaryError("it was killed")
        time.sleep(self.seconds)
        assert self.alive, "ended while it was answering"
        if self.uri in self.short and len(texts) > len(champion.WARM_UP):
            texts = texts[1:]
        return Answer([[self.uri] for _ in texts], [[1.0] for _ in texts], 0.0, 0.0)


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(champion, "Served", Process)
    monkeypatch.setattr(champion, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(Process, "living", [])
    monkeypatch.setattr(Process, "broken", set())
    monkeypatch.setattr(Process, "seconds", 0.0)
    monkeypatch.setattr(Process, "loading", {})
    monkeypatch.setattr(Process, "short", set())
    yield


async def answering(mine: Champion) -> str:
    [(labels, _)] = await mine.ask(["text"], {})
    return labels[0]


async def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def test_the_next_champion_takes_over_and_no_request_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "seconds", 0.05)
    now = ["v1"]
    mine = Champion("v1", lambda: now[0])

    async def work() -> list[str]:
        following = asyncio.create_task(mine.follow())
        seen = []
        for number in range(60):
            if number in (10, 30):
                now[0] = f"v{2 + number // 30}"
            seen += await asyncio.gather(answering(mine), answering(mine))
        await until(lambda: Process.living == ["v3"])
        following.cancel()
        return seen

    seen = asyncio.run(work())
    assert list(dict.fromkeys(seen)) == ["v1", "v2", "v3"] and len(seen) == 120
    assert mine.n_exchanges == 2


def test_a_version_that_does_not_load_changes_nothing_and_is_tried_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Process.broken.add("v2")
    now = ["v2"]
    mine = Champion("v1", lambda: now[0])

    async def work() -> None:
        following = asyncio.create_task(mine.follow())
        await asyncio.sleep(0.2)
        assert await answering(mine) == "v1"
        now[0] = "v3"
        await until(lambda: mine.uri == "v3")
        following.cancel()

    asyncio.run(work())
    assert capsys.readouterr().err.count("Still serving v1: v2 does not load") == 1


def test_an_outage_and_a_missing_champion_change_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers: list[Any] = [TemporaryError("away"), TemporaryError("away"), OSError("away"), None]

    def current() -> str | None:
        found = answers.pop(0) if answers else "v2"
        if isinstance(found, Exception):
            raise found
        return found

    mine = Champion("v1", current)

    async def work() -> None:
        following = asyncio.create_task(mine.follow())
        await until(lambda: mine.uri == "v2")
        following.cancel()

    asyncio.run(work())
    assert capsys.readouterr().err == "Still serving v1: away\n"


def test_the_labels_of_today_whichever_version_answers() -> None:
    now = ["v1"]
    mine = Champion("v1", lambda: now[0], {"a": Fate(("b",))})
    before = mine.labels, mine.thresholds, mine.alive

    async def work() -> list[str]:
        said = [await answering(mine)]
        follower = asyncio.create_task(mine.follow())
        now[0] = "a"  # the stand-in answers with its own name
        await until(lambda: mine.n_exchanges == 1)
        follower.cancel()
        return [*said, await answering(mine)]

    assert asyncio.run(work()) == ["v1", "b"]
    assert before == (["v1"], [0.5], True) and mine.labels == ["b"]
    mine.close()
    assert Process.living == [] and not mine.alive


def test_a_process_that_died_is_started_anew_once() -> None:
    mine = Champion("v1")
    mine._served.alive = False  # type: ignore[misc] # the stand-in's
    assert not mine.alive

    async def work() -> list[str]:
        return await asyncio.gather(*(answering(mine) for _ in range(8)))

    assert asyncio.run(work()) == ["v1"] * 8
    assert Process.living == ["v1"] and mine.alive and mine.n_exchanges == 0


@pytest.mark.parametrize("loading", [{"v1": 0.3, "v2": 0.1}, {"v1": 0.1, "v2": 0.3}])
def test_a_death_while_the_next_champion_loads_ends_with_the_next_one(
    loading: dict[str, float],
) -> None:
    now = ["v1"]
    mine = Champion("v1", lambda: now[0])
    Process.loading |= loading

    async def work() -> str:
        following = asyncio.create_task(mine.follow())
        now[0] = "v2"
        await asyncio.sleep(0.05)  # it is being loaded
        mine._served.alive = False  # type: ignore[misc] # the stand-in's
        await answering(mine)
        await until(lambda: mine.uri == "v2" and Process.living == ["v2"])
        following.cancel()
        return await answering(mine)

    assert asyncio.run(work()) == "v2"


def test_a_refused_version_is_tried_again_once_the_alias_was_elsewhere() -> None:
    Process.broken.add("v2")
    now = ["v2"]
    mine = Champion("v1", lambda: now[0])

    async def work() -> None:
        following = asyncio.create_task(mine.follow())
        await asyncio.sleep(0.1)
        Process.broken.clear()
        now[0] = "v1"
        await asyncio.sleep(0.1)
        now[0] = "v2"
        await until(lambda: mine.uri == "v2")
        following.cancel()

    asyncio.run(work())


def test_a_version_that_answers_too_few_texts_is_an_error() -> None:
    Process.short.add("v1")
    mine = Champion("v1")
    with pytest.raises(ServedError, match="v1 answered 2 of 3 texts"):
        asyncio.run(mine.ask(["a", "b", "c"], {}))


def test_what_is_loaded_while_the_server_stops_is_ended() -> None:
    mine = Champion("v1")
    mine.closed = True
    with pytest.raises(TemporaryError, match="stopping"):
        mine._loaded("v2")
    mine.close()
    assert Process.living == []
