"""The parameters `scores`: what is kept of every model's scores, where there are many labels."""

from __future__ import annotations

from pydantic import Field

from components._frame.params import MOST_DOCS, Section
from longtail.errors import ParameterError
from longtail.evaluation.keeping import Keep


class Params(Section):
    best_labels: int = Field(
        ge=1, le=MOST_DOCS, description="scores kept per document; all, if there are no more labels"
    )
    floor: float = Field(
        ge=0, lt=1, description="lower scores are dropped where not all are kept, 0 to 1"
    )

    @property
    def keep(self) -> Keep:
        """What is kept."""
        return Keep(**self.model_dump())

    def check_threshold(self, value: float, n_labels: int) -> None:
        """Make sure that no score that reaches a fixed threshold is below the floor.

        Raises:
            ParameterError: one may be, and would be dropped.
        """
        if n_labels > self.best_labels and value <= self.floor:
            raise ParameterError(
                f"thresholds.value is {value:g} and scores.floor {self.floor:g}: of more than "
                f"{self.best_labels:,} labels (scores.best_labels; there are {n_labels:,}), scores "
                "below the floor are dropped, though this threshold asks for them; lower the floor."
            )
