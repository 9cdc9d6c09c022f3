"""Lays the last run's choices beside the corpus, with the date of the night."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

from components._formats.choices import Choices, read_choice, write_choices
from longtail.errors import ParameterError

DATE = "LONGTAIL_LOGICAL_DATE"
STAGES = ("baseline", "train")


def tonight() -> date:
    """The date of the night that the orchestrator names, else today's, in UTC.

    Raises:
        ParameterError: what it names is no date.
    """
    given = os.environ.get(DATE, "")
    if not given:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(given[:10])
    except ValueError:
        raise ParameterError(f"{DATE} begins with {given[:10]!r}, expected YYYY-MM-DD.") from None


def of(corpus: Path) -> Choices | None:
    """What the last run on this corpus chose, under this night's date; None without such a run.

    A choice without a date, that of the first run, counts from this night: the first corpus has no
    date, so that the same source always gives the same bytes.

    Raises:
        DataError: a choice is not readable.
    """
    artifacts = corpus.parent.parent / "artifacts"
    paths = {stage: artifacts / stage / "choice.json" for stage in STAGES}
    made = {stage: read_choice(path) for stage, path in paths.items() if path.exists()}
    if not made:
        return None
    night = tonight()
    dated = {
        stage: choice if choice.since else choice.model_copy(update={"since": night})
        for stage, choice in made.items()
    }
    return Choices(night=night, made=dated)


def lay(choices: Choices | None, path: Path) -> None:
    """Write the choices at `path`; None removes those of the night before."""
    if choices is None:
        path.unlink(missing_ok=True)
    else:
        write_choices(choices, path)
