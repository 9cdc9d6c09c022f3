"""Fine-tunes encoder and head together with transformers' `Trainer`."""

from __future__ import annotations

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
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME

from longtail.errors import ParameterError
from longtail.evaluation.selection import validation_f1
from longtail.models.batching import TokenBudgetSampler, token_budget_batches
from longtail.models.classifier import Classifier
from longtail.models.documents import Collator, Documents
from longtail.models.precision import computes_bf16
from longtail.models.progress import Progress, no_bars, silent
from longtail.models.ranks import n_ranks


@dataclass(frozen=True)
class FineTuning:
    """How encoder and head are trained; the best epoch on val is kept.

    Attributes:
        learning_rate: of the encoder, peak of the cosine schedule.
        head_learning_rate: of the head, likewise.
        weight_decay: AdamW's.
        warmup: share of the optimizer steps.
        epochs: passes over train at most.
        patience: epochs without a better value on val before training stops.
        batch_tokens: tokens of a batch at most, padding included.
        accumulation: batches per optimizer step, of all ranks together; each has one at least.
        frozen_layers: see `freeze`.
        dropout: of the encoder.
        bf16: mixed precision, if the device computes in it.
    """

    learning_rate: float
    head_learning_rate: float
    weight_decay: float
    warmup: float
    epochs: int
    patience: int
    batch_tokens: int
    accumulation: int
    frozen_layers: int
    dropout: float
    bf16: bool


def batches_per_rank(accumulation: int) -> int:
    """The batches that each rank adds up per optimizer step, so that the step stays the same.

    It grows where `accumulation` is no multiple of the number of ranks.
    """
    return -(-accumulation // n_ranks())


class TokenBudgetTrainer(Trainer):
    """A Trainer whose batches hold documents of similar length within a token budget.

    The schedule of the rates is that of `schedule_epochs`, however many of them are run.
    """

    def __init__(
        self,
        train: Documents,
        val: Documents | None,
        batch_tokens: int,
        schedule_epochs: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(train_dataset=train, eval_dataset=val, **kwargs)
        self.train_documents, self.val_documents = train, val
        self.batch_tokens, self.schedule_epochs = batch_tokens, schedule_epochs

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        per_epoch = num_training_steps // int(self.args.num_train_epochs)
        return super().create_scheduler(per_epoch * self.schedule_epochs, optimizer)

    def get_train_dataloader(self) -> DataLoader:
        sampler = TokenBudgetSampler(
            self.train_documents.lengths,
            self.batch_tokens,
            seed=self.args.seed,
            multiple_of=self.accelerator.num_processes,
        )
        return self.accelerator.prepare(self._loader(self.train_documents, sampler))

    def get_eval_dataloader(self, eval_dataset: str | Dataset | None = None) -> DataLoader:
        # Every process scores all of val: batches of different sizes cannot be gathered, and the F1
        # of several copies of a set is the F1 of the set.
        assert self.val_documents is not None
        batches = token_budget_batches(self.val_documents.lengths, 2 * self.batch_tokens)
        return self._loader(self.val_documents, [batch.tolist() for batch in batches])

    def _loader(self, documents: Documents, batch_sampler: Any) -> DataLoader:
        return DataLoader(documents, batch_sampler=batch_sampler, collate_fn=self.data_collator)


@dataclass(frozen=True)
class StepProgress(TrainerCallback):
    """Reports optimizer steps, from the first process only."""

    progress: Progress

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.progress(state.global_step, state.max_steps)


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
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Train `model` in place; it ends with the weights of its best epoch.

    Ranks (see `longtail.models.ranks`) train together: each computes the gradients of its batches.

    Args:
        model: trained from its current weights.
        loss: maps logits, targets, and what entries count if `train` says so, all
            `(batch, n_labels)`, to a scalar.
        train: what is learned from.
        val: what the best epoch is chosen on.
        how: the settings.
        checkpoints: folder for a checkpoint per epoch; a killed run resumes from the last one.
        objective: `micro_f1`, `macro_f1` or `mean_f1` on val.
        seed: of the batches and of dropout.
        progress: called with the optimizer steps done and in total; early stopping ends before the
            total.

    Returns:
        One row per epoch: `epoch`, `train_loss`, and `micro_f1`, `macro_f1`, `mean_f1` on val.

    Raises:
        ParameterError: `how.frozen_layers` is more than the encoder has.
    """
    trainer = make_trainer(
        model, loss, train, val, how=how, checkpoints=checkpoints, objective=objective, seed=seed
    )
    last = _last_checkpoint(checkpoints)
    stopped = _stopped(last, how.patience) if last else None
    if stopped is not None:  # a resumed Trainer would train for another epoch before it stops
        best = Classifier.from_pretrained(stopped.best_model_checkpoint)
        model.load_state_dict(best.state_dict())
        return _history(stopped.log_history)
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=how.patience))
    trainer.add_callback(StepProgress(progress))
    with no_bars():
        trainer.train(resume_from_checkpoint=last)
    return _history(trainer.state.log_history)


def refit(
    model: Classifier,
    loss: nn.Module,
    docs: Documents,
    n_epochs: int,
    *,
    how: FineTuning,
    checkpoints: Path,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Train `model` in place as `fine_tune` does up to its best epoch, on other documents.

    The rates follow the same schedule, which ends with `how.epochs`. There is no val: all documents
    are learned from.

    Args:
        model: trained from its current weights.
        loss: see `fine_tune`.
        docs: what is learned from.
        n_epochs: passes over `docs`, at most `how.epochs`.
        how: the settings; `patience` is not used.
        checkpoints: see `fine_tune`.
        seed: see `fine_tune`.
        progress: see `fine_tune`.

    Raises:
        ParameterError: `how.frozen_layers` is more than the encoder has.
    """
    trainer = make_trainer(
        model, loss, docs, None, how=how, checkpoints=checkpoints, seed=seed, n_epochs=n_epochs
    )
    trainer.add_callback(StepProgress(progress))
    with no_bars():
        trainer.train(resume_from_checkpoint=_last_checkpoint(checkpoints))


def make_trainer(
    model: Classifier,
    loss: nn.Module,
    train: Documents,
    val: Documents | None,
    *,
    how: FineTuning,
    checkpoints: Path,
    objective: str = "micro_f1",
    seed: int = 0,
    n_epochs: int | None = None,
) -> TokenBudgetTrainer:
    """The trainer that `fine_tune` and `refit` run, without its callbacks.

    It freezes layers of `model`. See `fine_tune` and `refit` for arguments and errors.
    """
    freeze(model, how.frozen_layers)
    _set_dropout(model.encoder, how.dropout)
    bf16 = how.bf16 and computes_bf16(model.device.type)
    if bf16 and model.device.type == "cpu":
        # PyTorch's fused attention goes back through bf16 so slowly that 128 tokens take 1.4 times
        # as long in all.
        model.encoder.set_attn_implementation("eager")
    sampler = TokenBudgetSampler(train.lengths, how.batch_tokens, seed=seed)
    trainer = TokenBudgetTrainer(
        train,
        val,
        how.batch_tokens,
        how.epochs,
        model=model,
        args=TrainingArguments(
            output_dir=str(checkpoints),
            # Otherwise torchrun's processes would each train alone instead of together over gloo.
            use_cpu=not torch.cuda.is_available(),
            num_train_epochs=n_epochs or how.epochs,
            gradient_accumulation_steps=batches_per_rank(how.accumulation),
            warmup_steps=how.warmup,
            bf16=bf16,
            seed=seed,
            **({} if val is None else _with_val(objective)),
            **ALWAYS,
        ),
        data_collator=Collator(model.tokenizer),
        compute_loss_func=_loss_function(
            loss.to(model.device),
            sampler.documents_per_batch * batches_per_rank(how.accumulation),
        ),
        compute_metrics=_val_metrics,
        optimizers=(_optimizer(model, how), None),
    )
    trainer.remove_callback(PrinterCallback)  # it takes the place of the bar and prints every log
    return trainer


def freeze(model: Classifier, n_layers: int) -> None:
    """Freeze the embeddings and the lowest `n_layers` layers; -1 freezes nothing.

    Raises:
        ParameterError: the encoder has fewer layers, or none that can be found.
    """
    if n_layers < 0:
        return
    layers = getattr(getattr(model.encoder, "encoder", None), "layer", None)
    if layers is None or n_layers > len(layers):
        kind = model.encoder.config.model_type
        found = "no known layers" if layers is None else f"{len(layers)} layers"
        raise ParameterError(
            f"frozen_layers is {n_layers}, but the encoder ({kind}) has {found}; "
            "use -1 to freeze nothing."
        )
    for module in (model.encoder.embeddings, *layers[:n_layers]):
        module.requires_grad_(False)


def _set_dropout(encoder: nn.Module, p: float) -> None:
    """Use one rate for all dropout of the encoder: 0 is faster, and as good for a few epochs."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = p


def _optimizer(model: Classifier, how: FineTuning) -> torch.optim.AdamW:
    """AdamW; the new head learns faster than the pretrained encoder."""
    groups = [
        {"params": [p for p in module.parameters() if p.requires_grad], "lr": rate}
        for module, rate in (
            (model.encoder, how.learning_rate),
            (model.head, how.head_learning_rate),
        )
    ]
    return torch.optim.AdamW(groups, weight_decay=how.weight_decay, fused=True)


# What every run of the Trainer has in common.
ALWAYS: dict[str, Any] = {
    "lr_scheduler_type": "cosine",
    "save_strategy": "epoch",
    "logging_strategy": "epoch",
    "save_total_limit": 2,
    "report_to": [],
    "disable_tqdm": True,
    "remove_unused_columns": False,
    "label_names": ["labels"],
    # Otherwise the loss would be multiplied by the number of processes.
    "average_tokens_across_devices": False,
    "accelerator_config": {"even_batches": False},
}


def _with_val(objective: str) -> dict[str, Any]:
    return {
        "eval_strategy": "epoch",
        "load_best_model_at_end": True,
        # Otherwise a resumed run would forget how many epochs it has already waited.
        "restore_callback_states_from_checkpoint": True,
        "metric_for_best_model": objective,
        "greater_is_better": True,
    }


def _loss_function(loss: nn.Module, documents_per_step: float) -> Any:
    """The loss as the Trainer wants it: a batch counts by its documents.

    Batches within a token budget hold few long documents or many short ones. If every batch gave
    its mean, a document's weight would grow with its length: on the default corpus the shortest
    quarter had 0.59 of the mean weight, the longest 1.38. Divided by the same number in every step,
    each document weighs the same in an epoch. DDP averages the gradients of its processes, so the
    number is that of one process.
    """

    def compute(
        outputs: dict[str, Any], labels: Tensor, num_items_in_batch: Tensor | None = None
    ) -> Tensor:
        # As in `train_head`: each ensemble head has a loss of its own.
        ensemble = outputs.get("ensemble", [outputs["logits"]])
        answers = labels.unbind(1) if labels.ndim == 3 else (labels,)
        value = torch.stack([loss(logits.float(), *answers) for logits in ensemble]).mean()
        return value * (len(labels) / documents_per_step)

    return compute


def _val_metrics(prediction: EvalPrediction) -> dict[str, float]:
    logits = torch.from_numpy(np.asarray(prediction.predictions, dtype=np.float32))
    return validation_f1(logits.sigmoid().numpy(), sp.csr_matrix(prediction.label_ids))


def _last_checkpoint(folder: Path) -> str | None:
    """The last complete checkpoint; Trainer writes its state file last."""
    complete = [state.parent for state in folder.glob(f"checkpoint-*/{TRAINER_STATE_NAME}")]
    return str(max(complete, key=lambda path: int(path.name.split("-")[1]))) if complete else None


def _stopped(checkpoint: str, patience: int) -> TrainerState | None:
    """The state of a run that has stopped early; None if it may go on."""
    state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
    waiting = state.stateful_callbacks.get(EarlyStoppingCallback.__name__, {})
    waited = waiting.get("attributes", {}).get("early_stopping_patience_counter", 0)
    return state if waited >= patience else None


def _history(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trainer's log entries as one row per epoch."""
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
