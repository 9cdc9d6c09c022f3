"""The parameters of `thresholds`, by which `train` compares losses too."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components._frame.params import MOST_DOCS, Section
from longtail.models.served import Rule


class Params(Section):
    objective: Literal["global", "per_label", "fixed"] = Field(
        description="global: exact micro-F1 optimum; per_label: tail-safe; fixed: `value`"
    )
    value: float = Field(ge=0, le=1, description="the threshold of `fixed`, 0 to 1")
    min_support: int = Field(
        ge=1, le=MOST_DOCS, description="held-out documents a label needs for its own"
    )
    blend: bool = Field(description="blend the SVM into the model, with a tuned weight")

    @property
    def rule(self) -> Rule:
        """How scores become labels."""
        return Rule(**self.model_dump())
