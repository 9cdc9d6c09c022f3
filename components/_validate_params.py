"""Parameters of `validate`: the policy of every rule, and where the rules draw their lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from components._frame.params import Section

Policy = Literal["error", "quarantine", "warn", "off"]
RepairPolicy = Literal["error", "quarantine", "repair", "warn", "off"]


class DocumentPolicy(Section):
    """Rules about a document as a whole."""

    blank_id: Policy = Field(default="error", description="the id is blank")
    repeated_id: Policy = Field(default="error", description="another document has the same id")
    unknown_split: Policy = Field(
        default="error", description="frozen split not train, val or test"
    )


class TextPolicy(Section):
    """Rules about the text."""

    empty_text: Policy = Field(default="quarantine", description="white space only")
    tiny_text: Policy = Field(default="warn", description="fewer words than limits.least_words")
    huge_text: Policy = Field(default="warn", description="more than limits.most_characters")
    mojibake: Policy = Field(default="warn", description="UTF-8 read as another encoding")
    replacement_character: Policy = Field(default="warn", description="characters lost in decoding")
    control_character: Policy = Field(default="warn", description="control characters")
    other_language: Policy = Field(default="warn", description="a language that few documents use")


class LabelPolicy(Section):
    """Rules about a document's labels; `repair` mends the label and keeps the document."""

    blank_label: RepairPolicy = Field(
        default="repair", description="null or blank; repair drops it"
    )
    label_white_space: RepairPolicy = Field(default="repair", description="repair collapses it")
    label_alias: RepairPolicy = Field(
        default="repair", description="repair puts the label that is meant"
    )
    repeated_label: RepairPolicy = Field(default="repair", description="repair keeps the first")
    unknown_label: Policy = Field(default="quarantine", description="not in labels.yaml")
    no_label: Policy = Field(default="quarantine", description="no label at all")
    many_labels: Policy = Field(default="warn", description="more labels than limits.most_labels")


class VocabularyPolicy(Section):
    """Rules about the labels in use."""

    case_variant: Policy = Field(default="warn", description="differs from another label by case")
    space_variant: Policy = Field(default="warn", description="differs by white space, - or _")
    spelling_variant: Policy = Field(default="warn", description="one letter from a frequent label")
    rare_label: Policy = Field(
        default="warn", description="fewer documents than limits.least_support"
    )


class DuplicatePolicy(Section):
    """Rules about the same text twice."""

    duplicate_conflict: Policy = Field(default="warn", description="same text, other labels")
    near_duplicate_conflict: Policy = Field(
        default="warn", description="nearly the same, other labels"
    )
    duplicate_across_splits: Policy = Field(
        default="warn", description="same text, other frozen split"
    )
    near_duplicate_across_splits: Policy = Field(default="warn", description="nearly the same")


class AnnotatorPolicy(Section):
    """Rules that need annotators or dates."""

    annotators_disagree: Policy = Field(default="warn", description="over limits.most_disagreement")
    annotator_shift: Policy = Field(default="warn", description="a label used unlike the others do")
    period_shift: Policy = Field(default="warn", description="a label used unlike other periods do")


class PolicyByRule(Section):
    """error: stop · quarantine: set aside · repair: mend · warn: tell · off: do not look."""

    documents: DocumentPolicy = DocumentPolicy()
    texts: TextPolicy = TextPolicy()
    labels: LabelPolicy = LabelPolicy()
    vocabulary: VocabularyPolicy = VocabularyPolicy()
    duplicates: DuplicatePolicy = DuplicatePolicy()
    annotators: AnnotatorPolicy = AnnotatorPolicy()

    def by_code(self) -> Mapping[str, str]:
        """Rule code → policy."""
        return {
            code: policy for rules in self.model_dump().values() for code, policy in rules.items()
        }


class LimitParams(Section):
    """Where the rules draw their lines."""

    least_words: int = Field(default=3, ge=1, description="words of a text, at least")
    most_characters: int = Field(
        default=1_000_000, ge=1, description="characters of a text, at most"
    )
    most_labels: int = Field(default=50, ge=1, description="labels of a document, at most")
    least_support: int = Field(default=3, ge=1, description="documents of a label, at least")
    near_similarity: float = Field(
        default=0.8, ge=0.5, le=1, description="Jaccard index of word triples"
    )
    usual_language_share: float = Field(
        default=0.05, ge=0, le=1, description="of documents, 0 to 1"
    )
    most_disagreement: float = Field(
        default=0.8, ge=0, le=1, description="mean MASI distance, 0 to 1"
    )
    periods: int = Field(
        default=4, ge=2, le=100, description="parts of equal size that dates are cut into"
    )
    significance: float = Field(
        default=0.001, gt=0, lt=1, description="corrected p-value of a shift"
    )
    least_rate_ratio: float = Field(
        default=3.0, gt=1, description="rate of a label here over elsewhere"
    )


class SuspectParams(Section):
    """The list of suspected label errors."""

    top: int = Field(
        default=500, ge=0, description="rows of each kind (wrong, missing); 0: no list"
    )
    n_features: int = Field(
        default=256, ge=2, le=2000, description="dimensions of the reduced TF-IDF"
    )
    seed: int = Field(default=0, ge=0, description="of the reduction")
