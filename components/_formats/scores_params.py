"""The parameters `scores`: what is kept of every model's scores, where there are many labels."""

from __future__ import annotations

from pydantic import Field

from components._frame.params import MOST_DOCS, Section
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
