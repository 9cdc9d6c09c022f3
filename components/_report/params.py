"""The parameters of `report`; apart from it, since `check` reads them and draws nothing."""

from __future__ import annotations

from pydantic import Field, field_validator

from components._frame.params import Section, Seed
from longtail.report.score_histogram import N_BINS


class Params(Section):
    n_draws: int = Field(ge=100, le=100_000, description="bootstrap draws over documents")
    seed: Seed = Field(description="of the draws")
    level: float = Field(gt=0, lt=1, description="coverage of the intervals, 0 to 1")
    worst_errors: int = Field(ge=0, le=500, description="worst errors shown with attributions")
    attribution_steps: int = Field(ge=2, le=1000, description="integration steps per attribution")
    token_labels: int = Field(ge=0, le=200, description="labels examined for overfitted tokens")
    token_docs: int = Field(ge=1, le=50, description="false positives attributed per such label")
    confusion_pairs: int = Field(ge=0, le=1000, description="label pairs in the table")
    calibration_bins: int = Field(
        ge=2, le=100, description="bins of the reliability diagrams; must divide 1000"
    )
    excerpt_chars: int = Field(ge=80, le=10_000, description="characters quoted per document")
    max_suspects: int = Field(ge=0, le=1000, description="suspects shown, as many of each kind")

    @field_validator("calibration_bins")
    @classmethod
    def _divides(cls, value: int) -> int:
        if N_BINS % value:
            raise ValueError(f"must divide {N_BINS}")
        return value
