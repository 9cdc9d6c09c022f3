"""The parameters of `validate`: the policy of every rule, and the limits of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, create_model

from components._frame.params import MOST_DOCS, Section, Seed
from longtail.validation.rules import RULES

Policy = Literal["error", "quarantine", "warn", "off"]
RepairPolicy = Literal["error", "quarantine", "repair", "warn", "off"]


class _ByRule(Section):
    """error: stop · quarantine: set aside · repair: fix · warn: report · off: skip."""

    def by_code(self) -> Mapping[str, str]:
        """Rule code → policy."""
        return {
            code: policy for rules in self.model_dump().values() for code, policy in rules.items()
        }


def _policies(about: str) -> type[Section]:
    """One field per rule of the group, described by what the rule finds."""
    fields: dict[str, Any] = {
        code: (RepairPolicy if rule.repairs else Policy, Field(description=rule.finds))
        for code, rule in RULES.items()
        if rule.about == about
    }
    return create_model(f"{about.title()}Policy", __base__=Section, **fields)


_groups: dict[str, Any] = {rule.about: (_policies(rule.about), ...) for rule in RULES.values()}
PolicyByRule = create_model("PolicyByRule", __base__=_ByRule, **_groups)


class LimitParams(Section):
    """The limits of the rules."""

    least_words: int = Field(ge=1, le=1_000_000, description="words per text, at least")
    most_characters: int = Field(ge=1, le=1_000_000_000, description="characters per text, at most")
    most_labels: int = Field(ge=1, le=1_000_000, description="labels per document, at most")
    least_support: int = Field(ge=1, le=MOST_DOCS, description="documents per label, at least")
    near_similarity: float = Field(
        ge=0.5, le=1, description="Jaccard index of word triples from which texts are near-copies"
    )
    usual_language_share: float = Field(
        ge=0, le=1, description="share of documents that makes a language usual, 0 to 1"
    )
    most_disagreement: float = Field(
        ge=0, le=1, description="mean MASI distance between annotators, 0 to 1, at most"
    )
    periods: int = Field(ge=2, le=100, description="equal parts that the dates are cut into")
    significance: float = Field(
        gt=0, lt=1, description="p-value of a shift, corrected for the number of tests"
    )
    least_rate_ratio: float = Field(
        gt=1, le=1e6, description="rate of a label in a shifted cell over elsewhere, or the inverse"
    )


class SuspectParams(Section):
    """The list of suspected label errors."""

    top: int = Field(ge=0, le=1_000_000, description="rows of each kind; 0: none")
    n_features: int = Field(ge=2, le=2000, description="dimensions of the reduced TF-IDF")
    seed: Seed = Field(description="of the reduction")
