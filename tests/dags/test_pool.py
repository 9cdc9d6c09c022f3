"""The queue of what to annotate next: the real DAG over the toy project."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dags._pool import refill_command
from dags._settings import load_settings
from dags._tools import WorkspaceError
from tests.builders.nights import Nights
from tests.dags.test_nightly import deliver

FIRST, SECOND, THIRD = (f"2026-03-0{day}T02:00:00" for day in (1, 2, 3))
QUEUE = ("pool", "queue", "queue_done")


@pytest.fixture
def pool(nights: Nights, tmp_path: Path) -> Path:
    """The folder of the pool, which `nights` knows."""
    folder = tmp_path / "texts"
    nights.extra = (("LONGTAIL_POOL", str(folder)), ("LONGTAIL_QUEUE_SIZE", "7"))
    return folder


@pytest.mark.slow
def test_a_night_queues_from_the_pool_and_the_next_one_again(nights: Nights, pool: Path) -> None:
    deliver(pool, "a.jsonl", "one\n")
    states, output = nights(FIRST)
    assert [states[name] for name in ("apply", *QUEUE)] == ["success"] * 4, output[-3000:]
    queues = nights.home / "state" / "queues"
    first = queues / "2026-03-01T020000Z"
    assert (first / "queue.jsonl").read_text() == "one\n" and (first / "size").read_text() == "7"
    assert f"longtail: new documents to annotate are in {first}." in output
    # Nothing new to learn, but the pool may have grown.
    deliver(pool, "b.jsonl", "two\n")
    states, output = nights(SECOND)
    assert states["decide"] == "skipped" and states["queue"] == "success", output[-3000:]
    assert (queues / "2026-03-02T020000Z" / "queue.jsonl").read_text() == "one\ntwo\n"
    assert "longtail: unchanged" in output


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["broken", "missing"])
def test_a_queue_that_fails_leaves_the_night_as_it_is(
    nights: Nights, pool: Path, fault: str
) -> None:
    if fault == "broken":
        deliver(pool, "a.jsonl", "one\n")
        (nights.home / "state").mkdir()
        (nights.home / "state" / "wish").write_text("broken")
    states, output = nights(FIRST)
    failed, said = {
        "broken": ("queue", "longtail: queue failed"),
        "missing": ("pool", f"Pool {pool} does not exist; mount it or fix LONGTAIL_POOL."),
    }[fault]
    assert states[failed] == "failed" and said in output, output[-3000:]
    assert states["apply"] == states["notify"] == states["queue_done"] == "success"
    assert "Notification: longtail: promoted." in output
    assert nights.run_state(FIRST) == "success"
    assert (nights.home / "state" / "champion").read_text() == "2"
    assert not (nights.home / "state" / "queues").exists()


@pytest.mark.slow
def test_nothing_to_queue_is_a_skipped_task(nights: Nights, pool: Path, tmp_path: Path) -> None:
    pool.mkdir()
    states, output = nights(FIRST)
    assert [states[name] for name in QUEUE] == ["skipped", "skipped", "success"], output[-3000:]
    assert f"{pool} holds no texts." in output
    deliver(pool, "a.jsonl", "one\n")
    (nights.home / "state" / "wish").write_text("full")
    states, output = nights(SECOND)
    assert [states[name] for name in QUEUE] == ["success", "skipped", "success"], output[-3000:]
    assert "new documents to annotate" not in output
    (nights.home / "state" / "wish").unlink()
    # A refused model, and a backfill.
    source = deliver(tmp_path / "in", "many.jsonl", "x\n" * 200)
    states, output = nights(THIRD, source=source)
    assert (states["decide"], states["queue"]) == ("skipped", "success"), output[-3000:]
    states, output = nights(SECOND, force=True)
    assert [states[name] for name in QUEUE] == ["skipped", "skipped", "success"], output[-3000:]
    assert "A backfill queues nothing." in output
    assert [path.name for path in (nights.home / "state" / "queues").iterdir()] == [
        "2026-03-03T020000Z"
    ]


@pytest.mark.slow
def test_a_night_that_failed_before_the_decision_queues_nothing(nights: Nights, pool: Path) -> None:
    deliver(pool, "a.jsonl", "one\n")
    (nights.home / "state").mkdir()
    (nights.home / "state" / "away").touch()
    states, output = nights(FIRST)
    assert states["register"] == "failed", output[-3000:]
    assert [states[name] for name in QUEUE] == ["upstream_failed", "upstream_failed", "success"]
    assert nights.run_state(FIRST) == "failed"


def test_the_pool_is_copied_beside_the_workspaces(tmp_path: Path) -> None:
    settings = replace(load_settings(), home=tmp_path / "home", pool=str(tmp_path / "texts"))
    deliver(tmp_path / "texts", "a.jsonl", "one")
    deliver(tmp_path / "texts", "notes.md", "no texts")
    state = tmp_path / "home" / "state"
    refill = ["python", "-m", "components._cli.refill"]
    options = ["--folder", str(state / "queues"), "--size", "200"]
    copy = str(state / "pool" / "a.jsonl")
    assert refill_command(settings) == [*refill, copy, *options]
    (tmp_path / "texts" / "a.jsonl").unlink()
    deliver(tmp_path / "texts", "b.csv", "text\ntwo")
    alone = replace(settings, pool=f"file://{tmp_path}/texts/b.csv")
    assert refill_command(alone) == [*refill, str(state / "pool" / "b.csv"), *options]
    assert [path.name for path in (state / "pool").iterdir()] == ["b.csv"]


def test_the_copy_is_no_pool(tmp_path: Path) -> None:
    (tmp_path / "home" / "state").mkdir(parents=True)
    inside = deliver(tmp_path / "home" / "state" / "pool", "a.jsonl", "one")
    settings = replace(load_settings(), home=tmp_path / "home", pool=inside)
    with pytest.raises(WorkspaceError, match="which every night replaces; move it elsewhere"):
        refill_command(settings)
    assert (Path(inside) / "a.jsonl").read_text() == "one"
