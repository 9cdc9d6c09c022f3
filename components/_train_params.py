"""The parameters of `train`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from components._frame.params import Section
from longtail.losses import LOSSES
from longtail.models.encoder import BUNDLED


class HeadParams(Section):
    hidden: int = Field(512, ge=0, description="GELU units; 0: a linear head")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of the hidden units dropped")
    label_names: bool = Field(True, description="a prototype per label, at first its name")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="peak of the cosine schedule")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW's")
    epochs: int = Field(30, ge=1, description="passes over train")
    batch_size: int = Field(64, ge=1, description="documents")


class FineTuneParams(Section):
    learning_rate: float = Field(5e-5, gt=0, le=1, description="encoder, peak of the schedule")
    head_learning_rate: float = Field(2e-4, gt=0, le=1, description="head, peak of the schedule")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW's")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps")
    epochs: int = Field(8, ge=1, description="passes over train at most")
    patience: int = Field(4, ge=1, description="epochs without a better val score")
    batch_tokens: int = Field(4096, ge=16, description="tokens of a batch, padding included")
    accumulation: int = Field(1, ge=1, description="batches a step")
    frozen_layers: int = Field(
        0, ge=-1, description="0: embeddings only; k: k layers too; -1: none"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="of the encoder")
    bf16: bool = Field(True, description="mixed precision, where the device computes in it")


class Params(Section):
    profile: Literal["auto", "probe", "finetune"] = Field(
        "auto", description="auto: finetune where there is a GPU, else probe"
    )
    encoder: str = Field(BUNDLED, min_length=1, description="bundled name, folder or hub name")
    max_length: int = Field(128, ge=8, le=8192, description="tokens; the rest of a text is cut")
    loss: str = Field("auto", description="auto: the best of `losses` on val; or a name")
    losses: list[str] = Field(
        ["db", "cb_ntr", "logit_adjusted"], min_length=1, description="candidates of `auto`"
    )
    mu: float | Literal["auto"] = Field("auto", description="of DB; auto: suggested by frequencies")
    objective: Literal["micro_f1", "macro_f1", "mean_f1"] = Field(
        "mean_f1", description="what `auto` and the best epoch go by, on val"
    )
    seed: int = Field(0, ge=0, description="of weights, order and dropout")
    head: HeadParams = HeadParams()
    finetune: FineTuneParams = FineTuneParams()

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
