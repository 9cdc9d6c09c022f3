"""`ingest` hands the last run's choices on, with the night's date, whenever the corpus changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from components import ingest as command
from components._formats.choices import Basis, ChoiceRecord, write_choice
from longtail.errors import DataError, ParameterError

LAID = Path("data/choices.json")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a corpus of one document, and the choice of a run on it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGTAIL_LOGICAL_DATE", "2026-11-29T020000Z")
    arrive("one")
    assert not LAID.exists(), "the same source gives the same bytes, whatever the day"
    choose("train", "db", "2026-11-27")
    return tmp_path


def arrive(name: str, *flags: str) -> None:
    Path(f"{name}.csv").write_text(f"id,text,labels\n{name},text of {name},a\n", encoding="utf-8")
    command.command.main(["csv", f"{name}.csv", *flags], standalone_mode=False)


def choose(stage: str, chosen: str | float, since: str | None) -> None:
    date = since and datetime.fromisoformat(since).date()
    record = ChoiceRecord(
        chosen=chosen, since=date, scores={}, basis=Basis(docs=1, labels=["a"], settings={})
    )
    write_choice(record, Path("artifacts") / stage / "choice.json")


def laid() -> dict[str, Any]:
    found = json.loads(LAID.read_text(encoding="utf-8"))
    since = {stage: (row["chosen"], row["since"]) for stage, row in found["made"].items()}
    return {"night": found["night"], **since}


def test_new_documents_take_the_choices_along(folder: Path) -> None:
    choose("baseline", 2.0, None)
    arrive("two")
    # The first run's choice has no date: it counts from the night that first goes on from it.
    expected = {"train": ("db", "2026-11-27"), "baseline": (2.0, "2026-11-29")}
    assert laid() == {"night": "2026-11-29"} | expected


def test_a_night_that_brings_nothing_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive("two")
    before = LAID.read_bytes()
    monkeypatch.setenv("LONGTAIL_LOGICAL_DATE", "2026-11-30T020000Z")
    choose("train", "cb_ntr", "2026-11-29")
    arrive("two")
    assert LAID.read_bytes() == before
    arrive("three")
    assert laid() == {"night": "2026-11-30", "train": ("cb_ntr", "2026-11-29")}


def test_another_corpus_or_no_run_leaves_no_choice(folder: Path) -> None:
    arrive("two")
    arrive("three", "--replace")
    assert not LAID.exists()
    arrive("four")
    assert LAID.exists()
    Path("artifacts/train/choice.json").unlink()
    arrive("five")
    assert not LAID.exists()


def test_by_hand_it_is_the_night_of_today(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LONGTAIL_LOGICAL_DATE")
    before = datetime.now(UTC).date()
    arrive("two")
    assert laid()["night"] in {str(before), str(datetime.now(UTC).date())}


def test_what_is_wrong_is_said_before_anything_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Path("data/corpus.parquet").read_bytes()
    monkeypatch.setenv("LONGTAIL_LOGICAL_DATE", "night 3")
    with pytest.raises(ParameterError, match="LONGTAIL_LOGICAL_DATE begins with 'night 3'"):
        arrive("two")
    Path("artifacts/train/choice.json").write_text("{")
    with pytest.raises(DataError, match=r"train/choice\.json does not say .*dvc checkout"):
        arrive("two")
    assert Path("data/corpus.parquet").read_bytes() == corpus
