"""The parameters of `train`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from components._formats.choices import KeepChoice
from components._formats.comparison import COMPARED
from components._frame.params import MOST_DOCS, Section, Seed
from longtail.losses import LOSSES, make_loss


class HeadParams(Section):
    hidden: int = Field(ge=0, le=65_536, description="GELU units; 0: a linear head")
    dropout: float = Field(ge=0, lt=1, description="share of hidden units dropped, 0 to 1")
    label_names: bool = Field(description="one prototype per label, starting from its name")
    learning_rate: float = Field(gt=0, le=1, description="peak of the cosine schedule")
    weight_decay: float = Field(ge=0, le=1, description="of AdamW")
    epochs: int = Field(ge=1, le=10_000, description="passes over the documents")
    batch_size: int = Field(ge=1, le=1_000_000, description="documents per batch")
    bf16: bool = Field(description="mixed precision, if the device supports it")
    negatives: int = Field(
        ge=1,
        le=MOST_DOCS,
        description="labels of none of its documents that a batch learns from, at most",
    )


class FineTuneParams(Section):
    learning_rate: float = Field(gt=0, le=1, description="of the encoder, peak of the schedule")
    head_learning_rate: float = Field(gt=0, le=1, description="of the head, peak of the schedule")
    weight_decay: float = Field(ge=0, le=1, description="of AdamW")
    warmup: float = Field(
        ge=0, lt=1, description="share of steps with a rising learning rate, 0 to 1"
    )
    epochs: int = Field(ge=1, le=10_000, description="passes over train, at most")
    patience: int = Field(
        ge=1, le=10_000, description="epochs without a better val score before stopping"
    )
    batch_tokens: int = Field(
        ge=16, le=10_000_000, description="tokens per batch, including padding"
    )
    accumulation: int = Field(ge=1, le=10_000, description="batches per step, of all processes")
    frozen_layers: int = Field(
        ge=-1, le=1000, description="0: embeddings only; k: also k layers; -1: none"
    )
    dropout: float = Field(ge=0, lt=1, description="of the encoder, 0 to 1")
    bf16: bool = Field(description="mixed precision, if the device supports it")
    refit: bool = Field(description="then train the chosen loss once more, on train and val")


class Params(Section):
    profile: Annotated[
        Literal["auto", "head", "finetune"],
        BeforeValidator(lambda name: "head" if name == "probe" else name),
    ] = Field(description="auto: finetune with a GPU, else head; `probe` is accepted for head")
    encoder: str = Field(
        min_length=1, max_length=1000, description="bundled name, folder, or name on the model hub"
    )
    max_length: int = Field(ge=8, le=8192, description="tokens per text; the rest is cut")
    loss: str = Field(description="auto: the best of `losses` as served; or a name")
    losses: list[str] = Field(min_length=1, description="candidates of `auto`")
    keep_choice: KeepChoice
    mu: Annotated[float, Field(ge=-10, le=10)] | Literal["auto"] = Field(
        description="of R-FL and DB; auto: as suggested by `frequencies`"
    )
    loss_options: dict[str, dict[str, Any]] = Field(
        description="options per loss, such as db: {kappa: 0.1}"
    )
    objective: Literal["micro_f1", "macro_f1", "mean_f1"] = Field(
        description="held-out metric by which loss and the SVM's weight are chosen"
    )
    seed: Seed = Field(description="of weights, order and dropout")
    head: HeadParams
    finetune: FineTuneParams

    @property
    def candidates(self) -> list[str]:
        """The losses to choose from, and the one that they are compared with."""
        names = self.losses if self.loss == "auto" else [self.loss]
        return list(dict.fromkeys([*names, COMPARED]))

    @field_validator("loss")
    @classmethod
    def _known(cls, name: str) -> str:
        return name if name == "auto" else cls._all_known([name])[0]

    @field_validator("losses")
    @classmethod
    def _all_known(cls, names: list[str]) -> list[str]:
        unknown = sorted(set(names) - set(LOSSES))
        if unknown:
            raise ValueError(f"unknown {', '.join(unknown)}; valid: auto, {', '.join(LOSSES)}")
        return names

    @field_validator("loss_options")
    @classmethod
    def _known_options(cls, options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Make each loss once with two labels, so that a bad value is found before training."""
        cls._all_known(list(options))
        for name, given in options.items():
            per_label = {"pos_weight"} & given.keys()  # its length is known only with the labels
            short = {key: given[key][:2] for key in per_label if isinstance(given[key], list)}
            make_loss(name, [1, 1], 2, **given | short)
        return options
