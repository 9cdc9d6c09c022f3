"""Fine-tunes encoder and head together with transformers' `Trainer`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from longtail.errors import ParameterError
from longtail.evaluation.selection import validation_f1
from longtail.models.batching import TokenBudgetSampler, token_budget_batches
from longtail.models.classifier import Classifier


@dataclass(frozen=True)
class FineTuning:
    """How encoder and head are trained; the best epoch on val is kept."""

    learning_rate: float = 5e-5
    head_learning_rate: float = 2e-4
    weight_decay: float = 0.01
    warmup: float = 0.1
    epochs: int = 8
    patience: int = 4
    batch_tokens: int = 4096
    accumulation: int = 1
    frozen_layers: int = 0
    dropout: float = 0.0
    bf16: bool = True


class Documents(Dataset):
    """Token ids and target rows `(n_labels,)`; targets stay sparse until a batch is made."""

    def __init__(self, token_ids: Sequence[Sequence[int]], targets: sp.csr_matrix) -> None:
        self.token_ids, self.targets = token_ids, targets
        self.lengths = np.array([len(ids) for ids in token_ids])

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"input_ids": self.token_ids[row], "labels": self.targets[row]}


@dataclass(frozen=True)
class Collator:
    """Pads token ids to the longest of the batch and makes its targets dense."""

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, documents: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch = self.tokenizer.pad(
            {"input_ids": [document["input_ids"] for document in documents]}, return_tensors="pt"
        )
        targets = sp.vstack([document["labels"] for document in documents]).toarray()
        return {
            "input_ids": batch["input_ids"],
            "attention_mask": batch["attention_mask"],
            "labels": torch.from_numpy(targets.astype(np.float32)),
        }


class TokenBudgetTrainer(Trainer):
    """A Trainer whose batches hold documents of similar length under a budget of tokens."""

    def __init__(self, train: Documents, val: Documents, batch_tokens: int, **kwargs: Any) -> None:
        super().__init__(train_dataset=train, eval_dataset=val, **kwargs)
        self.train_documents, self.val_documents = train, val
        self.batch_tokens = batch_tokens

    def get_train_dataloader(self) -> DataLoader:
        sampler = TokenBudgetSampler(
            self.train_documents.lengths,
            self.batch_tokens,
            seed=self.args.seed,
            multiple_of=self.accelerator.num_processes,
        )
        return self.accelerator.prepare(self._loader(self.train_documents, sampler))

    def get_eval_dataloader(self, eval_dataset: str | Dataset | None = None) -> DataLoader:
        # Every process scores all of val: batches of different sizes cannot be gathered, and F1
        # over copies of one set is F1 over the set.
        batches = token_budget_batches(self.val_documents.lengths, 2 * self.batch_tokens)
        return self._loader(self.val_documents, [batch.tolist() for batch in batches])

    def _loader(self, documents: Documents, batch_sampler: Any) -> DataLoader:
        return DataLoader(documents, batch_sampler=batch_sampler, collate_fn=self.data_collator)


def fine_tune(
    model: Classifier,
    loss: nn.Module,
    train: Documents,
    val: Documents,
    *,
    how: FineTuning,
    checkpoints: Path,
    objective: str = "micro_f1",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Train `model` in place; it ends with the weights of its best epoch by val `objective`.

    Checkpoints go to `checkpoints` every epoch; a run that was killed goes on from the last one.
    Mixed precision (`how.bf16`) where the device computes in it; several processes where torchrun
    started them. Returns one row an epoch: `epoch`, `train_loss`, `micro_f1`, `macro_f1`,
    `mean_f1`.
    """
    trainer = make_trainer(
        model, loss, train, val, how=how, checkpoints=checkpoints, objective=objective, seed=seed
    )
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=how.patience))
    trainer.train(resume_from_checkpoint=_last_checkpoint(checkpoints))
    return _history(trainer.state.log_history)


def make_trainer(
    model: Classifier,
    loss: nn.Module,
    train: Documents,
    val: Documents,
    *,
    how: FineTuning,
    checkpoints: Path,
    objective: str = "micro_f1",
    seed: int = 0,
) -> TokenBudgetTrainer:
    """The trainer that `fine_tune` runs, without early stopping; it freezes layers of `model`."""
    freeze(model, how.frozen_layers)
    _set_dropout(model.encoder, how.dropout)
    return TokenBudgetTrainer(
        train,
        val,
        how.batch_tokens,
        model=model,
        args=_arguments(how, checkpoints, objective, seed),
        data_collator=Collator(model.tokenizer),
        compute_loss_func=_loss_function(loss.to(model.device)),
        compute_metrics=_val_metrics,
        optimizers=(_optimiser(model, how), None),
    )


def freeze(model: Classifier, n_layers: int) -> None:
    """Freeze the embeddings and the lowest `n_layers` layers; -1 freezes nothing."""
    if n_layers < 0:
        return
    layers = getattr(getattr(model.encoder, "encoder", None), "layer", None)
    if layers is None or n_layers > len(layers):
        found = "no layers" if layers is None else f"{len(layers)} layers"
        raise ParameterError(
            f"train.finetune.frozen_layers is {n_layers}, but the encoder "
            f"{model.encoder.config.model_type!r} shows {found}; use -1 to freeze nothing."
        )
    for module in (model.encoder.embeddings, *layers[:n_layers]):
        module.requires_grad_(False)


def _set_dropout(encoder: nn.Module, p: float) -> None:
    """One rate for the encoder's dropout: 0 is faster and loses nothing in a few epochs."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = p


def _optimiser(model: Classifier, how: FineTuning) -> torch.optim.AdamW:
    """AdamW; the head, which is new, learns faster than the pretrained encoder."""
    groups = [
        {"params": [p for p in module.parameters() if p.requires_grad], "lr": rate}
        for module, rate in (
            (model.encoder, how.learning_rate),
            (model.head, how.head_learning_rate),
        )
    ]
    return torch.optim.AdamW(groups, weight_decay=how.weight_decay, fused=True)


def computes_bf16() -> bool:
    """Whether the device multiplies in bf16 itself; emulated, it is slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def _arguments(how: FineTuning, checkpoints: Path, objective: str, seed: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(checkpoints),
        # Or torchrun's processes would each train alone: only with it do they meet over gloo.
        use_cpu=not torch.cuda.is_available(),
        num_train_epochs=how.epochs,
        gradient_accumulation_steps=how.accumulation,
        warmup_steps=how.warmup,
        lr_scheduler_type="cosine",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        # Otherwise a resumed run would forget the epochs it has already waited.
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model=objective,
        greater_is_better=True,
        bf16=how.bf16 and computes_bf16(),
        seed=seed,
        report_to=[],
        remove_unused_columns=False,
        label_names=["labels"],
        accelerator_config={"even_batches": False},
    )


def _loss_function(loss: nn.Module) -> Any:
    def compute(
        outputs: dict[str, Any], labels: Tensor, num_items_in_batch: Tensor | None = None
    ) -> Tensor:
        # As for the probe: a loss for each member of the head.
        members = outputs.get("members", [outputs["logits"]])
        value = torch.stack([loss(logits.float(), labels) for logits in members]).mean()
        if num_items_in_batch is None:
            return value
        # The count spans all accumulated batches: each adds its share of the mean.
        return value * (labels.numel() / num_items_in_batch)

    return compute


def _val_metrics(prediction: EvalPrediction) -> dict[str, float]:
    logits = torch.from_numpy(np.asarray(prediction.predictions, dtype=np.float32))
    return validation_f1(logits.sigmoid().numpy(), sp.csr_matrix(prediction.label_ids))


def _last_checkpoint(folder: Path) -> str | None:
    """The last complete checkpoint: Trainer writes its state file last."""
    complete = [state.parent for state in folder.glob("checkpoint-*/trainer_state.json")]
    return str(max(complete, key=lambda path: int(path.name.split("-")[1]))) if complete else None


def _history(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trainer's log entries, one row an epoch."""
    rows: dict[int, dict[str, Any]] = {}
    for entry in log:
        row = rows.setdefault(round(entry["epoch"]), {"epoch": round(entry["epoch"])})
        if "loss" in entry:
            row["train_loss"] = entry["loss"]
        row.update(
            {
                name[5:]: value
                for name, value in entry.items()
                if name.startswith("eval_") and name.endswith("_f1")
            }
        )
    return [row for row in rows.values() if "micro_f1" in row]
