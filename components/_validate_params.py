"""Parameters of `validate`: the policy of every rule, and where the rules draw their lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, create_model

from components._frame.params import Section
from longtail.validation.rules import RULES

Policy = Literal["error", "quarantine", "warn", "off"]
RepairPolicy = Literal["error", "quarantine", "repair", "warn", "off"]


class _ByRule(Section):
    """error: stop · quarantine: set aside · repair: fix · warn: report · off: do not look."""

    def by_code(self) -> Mapping[str, str]:
        """Rule code → policy."""
        return {
            code: policy for rules in self.model_dump().values() for code, policy in rules.items()
        }


def _policies(about: str) -> type[Section]:
    """A field for each rule of the group, described by what the rule finds."""
    fields: dict[str, Any] = {
        code: (RepairPolicy if rule.repairs else Policy, Field(description=rule.finds))
        for code, rule in RULES.items()
        if rule.about == about
    }
    return create_model(f"{about.title()}Policy", __base__=Section, **fields)


_groups: dict[str, Any] = {rule.about: (_policies(rule.about), ...) for rule in RULES.values()}
PolicyByRule = create_model("PolicyByRule", __base__=_ByRule, **_groups)


class LimitParams(Section):
    """Where the rules draw their lines."""

    least_words: int = Field(ge=1, description="words of a text, at least")
    most_characters: int = Field(ge=1, description="characters of a text, at most")
    most_labels: int = Field(ge=1, description="labels of a document, at most")
    least_support: int = Field(ge=1, description="documents of a label, at least")
    near_similarity: float = Field(ge=0.5, le=1, description="Jaccard index of word triples")
    usual_language_share: float = Field(ge=0, le=1, description="of documents, 0 to 1")
    most_disagreement: float = Field(ge=0, le=1, description="mean MASI distance, 0 to 1")
    periods: int = Field(ge=2, le=100, description="parts of equal size that dates are cut into")
    significance: float = Field(gt=0, lt=1, description="corrected p-value of a shift")
    least_rate_ratio: float = Field(gt=1, description="rate of a label here over elsewhere")


class SuspectParams(Section):
    """The list of suspected label errors."""

    top: int = Field(ge=0, description="rows of each kind (wrong, missing); 0: no list")
    n_features: int = Field(ge=2, le=2000, description="dimensions of the reduced TF-IDF")
    seed: int = Field(ge=0, description="of the reduction")
