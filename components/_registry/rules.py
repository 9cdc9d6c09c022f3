"""The parameters of `promote`: the rules of the gate, and the limits of a served model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator, Field

from components._frame.params import MOST_DOCS, Section
from longtail import gate
from longtail.errors import unknown_name
from longtail.evaluation.metrics import SET_METRICS
from longtail.frequency import FREQUENCY_GROUPS

# Fractions of which more is better: of a limit on any other, the gate would read the opposite.
LIMITED = [name for name in SET_METRICS if name not in ("hamming_loss", "labels_with_f1")]


def _of(kind: str, valid: Collection[str]) -> AfterValidator:
    """Refuse a misspelled key, whose limit would never be looked at."""

    def known(table: dict[str, float]) -> dict[str, float]:
        unknown = [str(unknown_name(kind, name, valid)) for name in table if name not in valid]
        if unknown:
            raise ValueError(" ".join(unknown))
        return table

    return AfterValidator(known)


_Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Difference = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
FractionByMetric = Annotated[dict[str, _Fraction], _of("metric for a limit", LIMITED)]
FractionByGroup = Annotated[dict[str, _Fraction], _of("label group", FREQUENCY_GROUPS)]
DifferenceByMetric = Annotated[dict[str, _Difference], _of("metric for a limit", LIMITED)]


class Limits(Section):
    """The limits of a served model; time and memory are measured in a fresh process."""

    seconds_per_doc: float = Field(
        gt=0, le=86_400, description="median seconds per document, sent one at a time"
    )
    start_seconds: float = Field(
        gt=0, le=86_400, description="seconds from the start of the process until it is ready"
    )
    memory_mb: float = Field(gt=0, le=1e9, description="peak resident memory, MB")
    size_mb: float = Field(gt=0, le=1e9, description="size of the version's files, MB")
    max_int8_loss: FractionByMetric = Field(
        description="maximum loss of an int8 version against its float32 model, per metric"
    )


class MinSample(Section):
    """The smallest sample that decides."""

    docs: int = Field(
        ge=1,
        le=MOST_DOCS,
        description="test documents that the champion has not seen; copies count once",
    )
    positives: int = Field(
        ge=1, le=MOST_DOCS, description="labels that these documents have, all together"
    )
    group_positives: int = Field(
        ge=1, le=MOST_DOCS, description="the same in one label group, to judge it"
    )


class ErrorBudget(Section):
    """The chance of any false promotion over the life of a test set."""

    share: float = Field(gt=0, lt=1, description="over its whole life, 0 to 1")
    half_life: int = Field(ge=1, le=500, description="decisions after which half of it is spent")


class Params(Section):
    """The rules of the gate; F1 values are fractions, so that 0.01 is one point."""

    min_gain: float = Field(
        ge=-1, le=1, description="minimum gain in train.objective, beyond what chance explains"
    )
    max_micro_loss: float = Field(
        ge=0, le=1, description="maximum loss of micro-F1, compared with the lower bound"
    )
    max_loss: FractionByGroup = Field(description="maximum loss of micro-F1 per label group")
    floors: FractionByMetric = Field(description="minimum value of the challenger per metric")
    over_baseline: DifferenceByMetric = Field(
        description="minimum difference per metric, compared with the lower bound"
    )
    min_shared_labels: float = Field(
        ge=0, le=1, description="minimum share of the champion's labels that are kept, 0 to 1"
    )
    min_sample: MinSample
    confidence: float = Field(gt=0.5, lt=1, description="of each lower bound, one-sided, 0.5 to 1")
    error_budget: ErrorBudget
    limits: Limits
    approval: bool = Field(
        description="true or false: a person must approve each promotion; `LONGTAIL_APPROVAL`, "
        "which the nightly run sets from its form, overrides it"
    )

    def rules(self, objective: str) -> gate.Rules:
        """What the gate itself reads.

        Args:
            objective: the metric that training chose the challenger by.
        """
        elsewhere = {"limits", "min_sample", "error_budget", "approval"}
        own = self.model_dump(exclude=elsewhere)
        return gate.Rules(
            **own,
            objective=objective,
            min_sample=gate.Sample(**self.min_sample.model_dump()),
            error_budget=gate.Budget(**self.error_budget.model_dump()),
        )
