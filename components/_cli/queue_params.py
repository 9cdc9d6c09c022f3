"""The parameters of `queue`; apart from it, since `check` reads them without scoring anything."""

from __future__ import annotations

from pydantic import Field, field_validator

from components._frame.params import Section, Seed
from longtail.annotation.queue import STRATEGIES
from longtail.errors import unknown_name


class Params(Section):
    """The parameters of `queue`."""

    strategy: str = Field(description="a name in STRATEGIES")
    random_share: float = Field(ge=0, le=1, description="share drawn at random")
    new_label_share: float = Field(ge=0, le=1, description="share of the others for new labels")
    near_similarity: float = Field(ge=0.5, le=1, description="least Jaccard index of near-copies")
    seed: Seed = Field(description="of what is drawn at random")

    @field_validator("strategy")
    @classmethod
    def _known(cls, name: str) -> str:
        return checked_strategy(name)


def checked_strategy(name: str) -> str:
    """The name, if it is one of a strategy."""
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    return name
