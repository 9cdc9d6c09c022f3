"""When a choice is kept, by hand; and what is said of a file that is none."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components._formats.choices import (
    Basis,
    ChoiceRecord,
    Choices,
    KeepChoice,
    Lead,
    read_choice,
    read_choices,
    write_choice,
    write_choices,
)
from longtail.errors import DataError

LABELS = [f"label {i}" for i in range(20)]
SETTINGS = {"losses": ["db", "cb"], "rate": 0.1}
CHOSEN = ChoiceRecord(
    chosen="db",
    since=date(2026, 11, 28),
    scores={"db": 0.5, "cb": 0.4},
    basis=Basis(docs=1000, labels=LABELS, settings=SETTINGS),
)


def kept(night: str | None = "2026-11-29", **changes: Any) -> ChoiceRecord | None:
    """What tonight keeps of `CHOSEN`, with these changes of what it finds."""
    given: dict[str, Any] = {
        "docs": 1000,
        "labels": LABELS,
        "settings": SETTINGS,
        "candidates": ["db", "cb"],
    }
    given |= {"growth": 0.1, "days": 7, "since": CHOSEN.since} | changes
    choice = CHOSEN.model_copy(update={"since": given["since"]})
    choices = Choices(night=date.fromisoformat(night) if night else None, made={"train": choice})
    basis = Basis(docs=given["docs"], labels=given["labels"], settings=given["settings"])
    keep = KeepChoice(growth=given["growth"], days=given["days"], margin=0.005)
    assert choices.kept("baseline", basis, given["candidates"], keep) is None
    return choices.kept("train", basis, given["candidates"], keep)


def test_a_choice_is_kept_as_it_is() -> None:
    assert kept() == CHOSEN


@pytest.mark.parametrize("night", ["2026-11-28", "2026-12-04"])
@pytest.mark.parametrize("docs", [901, 1099])
def test_up_to_the_limits_it_is_kept(night: str, docs: int) -> None:
    assert kept(night, docs=docs) == CHOSEN


@pytest.mark.parametrize("labels", [LABELS[1:], [*LABELS, "new"], LABELS[::-1]])
def test_a_twentieth_of_the_labels_may_come_or_go(labels: list[str]) -> None:
    assert kept(labels=labels) == CHOSEN


def test_a_choice_whose_file_has_a_digest_for_its_labels_is_made_anew(
    capsys: pytest.CaptureFixture[str],
) -> None:
    then = CHOSEN.model_dump(mode="json")
    then["basis"]["labels"] = "20, sha256 07d2f55f3e7b679e"
    choices = Choices(night=CHOSEN.since, made={"train": ChoiceRecord.model_validate(then)})
    keep = KeepChoice(growth=0.1, days=7, margin=0.005)
    assert choices.kept("train", CHOSEN.basis, ["db"], keep) is None
    assert "is not kept: its labels are not known." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("night", "changes", "why"),
    [
        ("2026-12-05", {}, "that is 7 days ago"),
        ("2026-11-27", {}, "tonight, 2026-11-27, is before that"),
        (None, {}, "its date is not known"),
        ("2026-11-29", {"since": None}, "its date is not known"),
        ("2026-11-29", {"docs": 1100}, "train and val have 1,100 documents, 1,000 then"),
        ("2026-11-29", {"docs": 900}, "train and val have 900 documents, 1,000 then"),
        ("2026-11-29", {"labels": LABELS[2:]}, "2 labels have come or gone, of 20 then"),
        ("2026-11-29", {"labels": [*LABELS, "x", "y"]}, "2 labels have come or gone, of 20 then"),
        ("2026-11-29", {"labels": [*LABELS[1:], "x"]}, "2 labels have come or gone, of 20 then"),
        (
            "2026-11-29",
            {"settings": SETTINGS | {"rate": 0.2}},
            "what it rests on has changed (rate)",
        ),
        ("2026-11-29", {"settings": {}}, "what it rests on has changed (losses, rate)"),
        ("2026-11-29", {"candidates": ["cb", "bce"]}, "the candidates are cb, bce"),
    ],
)
def test_beyond_it_is_made_anew_and_it_says_why(
    night: str | None, changes: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kept(night, **changes) is None
    assert re.fullmatch(
        rf"db, chosen .*, is not kept: {re.escape(why)}\.\n", capsys.readouterr().out
    )


def test_the_limit_itself_ends_it_whatever_floats_make_of_it() -> None:
    assert 0.07 * 100 > 7
    made = {
        "train": CHOSEN.model_copy(
            update={"basis": Basis(docs=100, labels=LABELS, settings=SETTINGS)}
        )
    }
    choices = Choices(night=CHOSEN.since, made=made)
    keep = KeepChoice(growth=0.07, days=7, margin=0.005)
    for docs, is_kept in ((106, True), (107, False)):
        found = choices.kept(
            "train", Basis(docs=docs, labels=LABELS, settings=SETTINGS), ["db"], keep
        )
        assert (found is not None) is is_kept


@pytest.mark.parametrize("limits", [{"growth": 0}, {"days": 0}])
def test_zero_makes_it_anew_on_the_same_night(limits: dict[str, float]) -> None:
    assert kept("2026-11-28", **limits) is None


def test_the_last_choice_is_ahead_however_old_unless_its_settings_have_changed() -> None:
    keep = KeepChoice(growth=0.1, days=7, margin=0.02)
    choices = Choices(night=date(2027, 11, 28), made={"train": CHOSEN})
    grown = Basis(docs=9000, labels=["new"], settings=SETTINGS)
    assert choices.kept("train", grown, ["db", "cb"], keep) is None
    assert choices.lead("train", grown, keep) == Lead("db", 0.02)
    assert choices.lead("baseline", grown, keep) == Lead(None, 0.0)
    other = Basis(docs=1000, labels=LABELS, settings=SETTINGS | {"rate": 0.2})
    assert choices.lead("train", other, keep) == Lead(None, 0.0)


@pytest.mark.parametrize(
    ("chosen", "lead", "said"),
    [
        ("db", Lead("db", 0.02), "; db stays, 1.50 points behind the best"),
        ("db", Lead(), ""),  # the parameters name it
        ("cb", Lead("cb", 0.02), ""),  # the best itself
        ("cb", Lead("db", 0.01), ""),
    ],
)
def test_it_is_said_that_the_last_choice_stays(chosen: str, lead: Lead, said: str) -> None:
    assert lead.said(chosen, {"db": 0.5, "cb": 0.515}) == said


def test_a_written_file_is_read_back_and_people_can_read_it(tmp_path: Path) -> None:
    cost = CHOSEN.model_copy(update={"chosen": 2.0, "since": None})
    choices = Choices(night=date(2026, 11, 29), made={"train": CHOSEN, "baseline": cost})
    write_choices(choices, tmp_path / "choices.json")
    write_choice(cost, tmp_path / "choice.json")
    assert read_choices(tmp_path / "choices.json") == choices
    assert read_choice(tmp_path / "choice.json") == cost
    text = (tmp_path / "choices.json").read_text()
    assert '"night": "2026-11-29"' in text and '"since": "2026-11-28"' in text
    assert read_choices(tmp_path / "none.json") == Choices()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"night": "soon"}',
        '{"made": {"train": {"chosen": "db"}}}',
        "\0",
        json.dumps(
            {"made": {"train": CHOSEN.model_dump(mode="json") | {"scores": {"db": np.nan}}}}
        ),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "choices.json"
    path.write_text(content)
    said = (
        r"choices\.json does not say what was chosen .*remove it, so that everything is chosen anew"
    )
    with pytest.raises(DataError, match=said):
        read_choices(path)
    with pytest.raises(DataError, match="does not say what was chosen .*restore it with `dvc"):
        read_choice(path)


def test_a_folder_in_its_place_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not say what was chosen .*; remove it, so that"):
        read_choices(tmp_path)
