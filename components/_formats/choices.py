"""What stages chose and from what, as it travels from one night to the next.

A choice is kept for some nights. When it is made anew, what was chosen stays unless another
candidate is better by a margin: held-out scores of neighboring candidates differ by chance.

Each stage that chooses writes its `choice.json`. The next `ingest` lays them beside the corpus, in
`data/choices.json`, with the date of its night; `validate` checks that file and passes it on. So
the date and the choices are data like the corpus: no stage asks a clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, FiniteFloat, ValidationError, field_validator

from components._formats.json_file import write_json
from components._frame.params import MOST_DOCS, Section
from longtail.errors import DataError

FILE = "choices.json"


class KeepChoice(Section):
    """How long a choice is kept (growth or days of 0: not at all), and what replaces it then."""

    growth: float = Field(
        ge=0, le=1000, description="growth of train and val, or of changed labels, that ends it"
    )
    days: int = Field(ge=0, le=36_500, description="days after which it is made anew")
    margin: float = Field(ge=0, le=1, description="score by which another has to be better")


class Basis(Section):
    """What a choice is made from."""

    docs: int = Field(ge=1, le=MOST_DOCS, description="documents of train and val")
    labels: list[str] = Field(description="the label set")
    settings: dict[str, Any] = Field(description="parameters, and what else bears on it")

    @field_validator("labels", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [] if isinstance(value, str) else value  # files once had a digest


class ChoiceRecord(Section):
    """One stage's choice."""

    chosen: str | FiniteFloat = Field(description="the loss, or C")
    since: date | None = Field(description="its night; null until the next night dates it")
    scores: dict[str, FiniteFloat] = Field(description="held-out score of each candidate")
    basis: Basis


@dataclass(frozen=True)
class Lead:
    """What the last choice has ahead of the other candidates when all are tried again.

    Attributes:
        last: the candidate; None: none is ahead.
        margin: by which another one has to be better.
    """

    last: str | float | None = None
    margin: float = 0.0

    def rank(self, candidate: str | float, score: float) -> tuple[float, bool]:
        """What candidates are compared by; of equals the last choice wins."""
        is_last = candidate == self.last
        return score + self.margin * is_last, is_last

    def said(self, chosen: str | float, tried: Mapping[Any, float]) -> str:
        """What is said where the last choice stays although another one is a little better."""
        behind = max(tried.values()) - tried[chosen]
        if behind <= 0 or chosen != self.last:
            return ""
        return f"; {chosen} stays, {100 * behind:.2f} points behind the best"


class Choices(Section):
    """The last run's choices, by stage, and the night that goes on from them."""

    night: date | None = None
    made: dict[str, ChoiceRecord] = {}

    def kept(
        self, stage: str, basis: Basis, candidates: Collection[str | float], keep: KeepChoice
    ) -> ChoiceRecord | None:
        """The stage's last choice, if tonight keeps it; otherwise None, and it says why."""
        last = self.made.get(stage)
        if last is None or not (keep.growth and keep.days):
            return None
        why = _why_not(last, basis, candidates, keep) or _too_old(last, self.night, keep)
        if why:
            print(f"{last.chosen}, chosen {last.since}, is not kept: {why}.")
            return None
        return last

    def lead(self, stage: str, basis: Basis, keep: KeepChoice) -> Lead:
        """The lead of the stage's last choice, if its settings are tonight's."""
        last = self.made.get(stage)
        if last is None or _changed(last.basis, basis):
            return Lead()
        return Lead(last.chosen, keep.margin)


def _changed(then: Basis, now: Basis) -> list[str]:
    names = sorted(now.settings.keys() | then.settings.keys())
    return [name for name in names if now.settings.get(name) != then.settings.get(name)]


def _why_not(
    last: ChoiceRecord, basis: Basis, candidates: Collection[str | float], keep: KeepChoice
) -> str | None:
    then = last.basis
    if changed := _changed(then, basis):
        return f"what it rests on has changed ({', '.join(changed)})"
    if last.chosen not in candidates:
        return f"the candidates are {', '.join(map(str, candidates))}"
    # A quotient, since 0.07 * 100 is above 7.
    if abs(basis.docs - then.docs) / then.docs >= keep.growth:
        return f"train and val have {basis.docs:,} documents, {then.docs:,} then"
    if not then.labels:
        return "its labels are not known"
    moved = len(set(basis.labels) ^ set(then.labels))
    if moved and moved / len(then.labels) >= keep.growth:
        return f"{moved:,} labels have come or gone, of {len(then.labels):,} then"
    return None


def _too_old(last: ChoiceRecord, night: date | None, keep: KeepChoice) -> str | None:
    if night is None or last.since is None:
        return "its date is not known"
    days = (night - last.since).days
    if days < 0:
        return f"tonight, {night}, is before that"
    return None if days < keep.days else f"that is {days} days ago"


def write_choice(choice: ChoiceRecord, path: Path) -> None:
    """Write one stage's choice."""
    write_json(choice.model_dump(mode="json"), path, indent=1)


def write_choices(choices: Choices, path: Path) -> None:
    """Write the choices of all stages."""
    write_json(choices.model_dump(mode="json"), path, indent=1)


def read_choice(path: Path) -> ChoiceRecord:
    """What `write_choice` has written; DataError if it is something else."""
    return _read(path, ChoiceRecord, "restore it with `dvc checkout`")


def read_choices(path: Path) -> Choices:
    """What `write_choices` has written, or no choices if there is no such file.

    Raises:
        DataError: it is something else.
    """
    if not path.exists():
        return Choices()
    return _read(path, Choices, "remove it, so that everything is chosen anew")


S = TypeVar("S", bound=Section)


def _read(path: Path, model: type[S], do: str) -> S:
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        why = error.strerror
    except ValidationError as error:
        first = error.errors()[0]
        why = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
    raise DataError(f"{path} does not say what was chosen ({why}); {do}.")
