"""The parameters of `promote`: the rules of the gate, and the limits of a served model."""

from __future__ import annotations

from pydantic import Field

from components._frame.params import Section
from longtail import gate


class Limits(Section):
    """The limits of a served model, measured in a fresh process."""

    seconds_per_doc: float = Field(
        gt=0, description="median seconds per document, sent one at a time"
    )
    start_seconds: float = Field(
        gt=0, description="seconds from the start of the process until it is ready"
    )
    memory_mb: float = Field(gt=0, description="peak resident memory, MB")
    size_mb: float = Field(gt=0, description="size of the version's files, MB")


class Bootstrap(Section):
    """The paired intervals, drawn over test documents."""

    n_draws: int = Field(ge=1000, le=100_000, description="draws over documents")
    level: float = Field(gt=0.5, lt=1, description="coverage of the intervals, 0.5 to 1")
    seed: int = Field(ge=0, description="of the draws")


class Params(Section):
    """The rules of the gate; F1 values are fractions, so that 0.01 is one point."""

    primary_metric: str = Field(description="set metric that the gain is judged by")
    min_gain: float = Field(
        ge=-1, le=1, description="minimum gain, compared with the lower bound of the interval"
    )
    max_loss: dict[str, float] = Field(description="maximum loss of micro-F1 per label group")
    floors: dict[str, float] = Field(description="minimum value of the challenger per metric")
    over_baseline: dict[str, float] = Field(
        description="minimum difference per metric, compared with the lower bound"
    )
    min_shared_labels: float = Field(
        ge=0, le=1, description="minimum share of the champion's labels that are kept, 0 to 1"
    )
    min_support: int = Field(ge=1, description="positives that a label group needs to decide")
    bootstrap: Bootstrap
    max_int8_loss: dict[str, float] = Field(
        description="maximum loss of an int8 version against its float32 model, per metric"
    )
    limits: Limits

    def rules(self) -> gate.Rules:
        """The parameters that the gate itself reads."""
        own = self.model_dump(exclude={"limits", "max_int8_loss", "bootstrap"})
        return gate.Rules(**own, **self.bootstrap.model_dump())
