"""The parameters of `promote`: the rules of the gate, and what a served model may cost."""

from __future__ import annotations

from pydantic import Field

from components._frame.params import Section
from longtail import gate


class Limits(Section):
    """What the served model may cost, measured in a fresh process."""

    seconds_per_doc: float = Field(gt=0, description="Seconds per document, one at a time, median.")
    start_seconds: float = Field(gt=0, description="Seconds from start to readiness.")
    memory_mb: float = Field(gt=0, description="Peak resident memory, MB.")
    size_mb: float = Field(gt=0, description="Size of the version's files, MB.")


class Params(Section):
    """The rules of the gate; F1 values are fractions."""

    primary_metric: str = Field(description="Set metric that the gain is judged on.")
    min_gain: float = Field(ge=-1, le=1, description="Least gain, lower bound of the interval.")
    max_loss: dict[str, float] = Field(description="Label group: largest loss of micro-F1.")
    floors: dict[str, float] = Field(description="Metric: least value of the challenger.")
    over_baseline: dict[str, float] = Field(description="Metric: least difference, lower bound.")
    min_shared_labels: float = Field(ge=0, le=1, description="Least share of labels kept.")
    min_support: int = Field(ge=1, description="Positives a group needs to decide.")
    n_draws: int = Field(ge=1000, le=100_000, description="Bootstrap draws.")
    level: float = Field(gt=0.5, lt=1, description="Coverage of the intervals.")
    seed: int = Field(ge=0, description="Seed of the draws.")
    max_int8_loss: dict[str, float] = Field(
        description="Metric: largest loss of an int8 version to the model it was made of."
    )
    limits: Limits

    def rules(self) -> gate.Rules:
        """The part of the parameters that the pure gate reads."""
        return gate.Rules(**self.model_dump(exclude={"limits", "max_int8_loss"}))
