"""The model: transformer encoder, pooled features, and a small head with one logit per label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from longtail.models.batching import CPU_TOKENS, GPU_TOKENS, token_budget_batches
from longtail.models.beginning import beginning
from longtail.models.lazy_rows import Rows, blocks, total
from longtail.models.progress import no_bars
from longtail.models.threads import each_in_a_thread

N_POOLS = 4
Columns: TypeAlias = Tensor | slice
EVERY = slice(None)


class ClassifierConfig(PretrainedConfig):
    """What the model's `config.json` holds: the encoder's own config, the head, the labels.

    transformers builds configs without arguments too, so every field needs a default.
    """

    model_type = "longtail"

    # Declared as fields: an undeclared `max_length` would be rejected as a setting of generation.
    encoder: dict[str, Any] = field(default_factory=lambda: {"model_type": "bert"})
    hidden: int = 512
    dropout: float = 0.3
    max_length: int = 128
    label_names: bool = False


class LabelSimilarity(nn.Module):
    """Scores labels by similarity to one prototype per label, which starts as the label's name.

    The score is the cosine of the text's projected mean token vector `(batch, width)` and the
    label's prototype, standardized over train, times a weight per label. The projection (initially
    the identity), the prototypes and the weights are trained. A label with three documents learns
    mostly from here; names that mean nothing are unlearned.

    Args:
        width: width of the token vectors.
        n_labels: number of labels.
        weight: initial weight of every label.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, n_labels: int, weight: float) -> None:
        super().__init__()
        self.projection = nn.Parameter(torch.eye(width))
        self.prototypes = nn.Parameter(torch.zeros(n_labels, width))
        self.weight = nn.Parameter(torch.full((n_labels,), weight))
        self.register_buffer("mean", torch.zeros(n_labels))
        self.register_buffer("std", torch.ones(n_labels))

    @torch.no_grad()
    def fit(self, names: Tensor, center: Tensor, covariance: Tensor) -> None:
        """Start from the vectors of the label names and of the train texts.

        Args:
            names: `(n_labels, width)`.
            center: `(width,)`, mean of the texts' vectors, each of length 1.
            covariance: `(width, width)` of them.
        """
        self.prototypes.copy_(functional.normalize(names, dim=1))
        # Mean and variance of all cosines, without the (n_docs, n_labels) matrix of them.
        self.mean.copy_(self.prototypes @ center)
        variance = ((self.prototypes @ covariance) * self.prototypes).sum(1)
        self.std.copy_(variance.clamp_min(1e-12).sqrt())

    def forward(self, texts: Tensor, labels: Columns = EVERY) -> Tensor:
        texts = functional.normalize(texts @ self.projection, dim=1)
        cosine = texts @ functional.normalize(self.prototypes[labels], dim=1).T
        return self.weight[labels] * (cosine - self.mean[labels]) / self.std[labels]


class Head(nn.Module):
    """Maps features `(batch, n_features)` to logits `(batch, n_labels)`.

    Features are standardized, then go through `hidden` units with GELU and dropout, or through one
    linear layer if `hidden` is 0. With `label_names` there are two ensemble heads, whose logits are
    averaged: these layers plus a `LabelSimilarity` of the first pooled feature, and a second
    `LabelSimilarity` alone. In the sum, the layers soon memorize the few documents of a rare label
    and leave its prototype nothing to learn.

    Args:
        n_features: width of the pooled features.
        n_labels: number of labels.
        hidden: GELU units; 0 makes the head linear.
        dropout: share of the hidden units dropped.
        label_names: whether label similarities are added.

    Attributes:
        arguments: these, in this order.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, n_features: int, n_labels: int, hidden: int, dropout: float, label_names: bool
    ) -> None:
        super().__init__()
        self.arguments = (n_features, n_labels, hidden, dropout, label_names)
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("std", torch.ones(n_features))
        self.width = n_features // N_POOLS
        # Initial weights, chosen on val of the default corpus (docs/log.md).
        weights = (2.0, 0.5) if label_names else ()
        self.similarities = nn.ModuleList(
            LabelSimilarity(self.width, n_labels, weight) for weight in weights
        )
        self.layers = nn.Sequential()
        if hidden:
            self.layers.extend([nn.Linear(n_features, hidden), nn.GELU(), nn.Dropout(dropout)])
        self.layers.append(nn.Linear(hidden or n_features, n_labels))

    def standardize_by(self, features: Rows) -> None:
        """Take mean and standard deviation from the train features `(n_docs, n_features)`."""
        mean = total(block.sum(0) for block in blocks(features)) / len(features)
        squares = total(((block - mean) ** 2).sum(0) for block in blocks(features))
        self.mean.copy_(mean)
        # Never divide a dead feature (MiniLM has nine, with weights of 1e-9) by a tiny number: the
        # first steps of fine-tuning wake it up, and it would drown out all others.
        std = (squares / len(features)).sqrt()
        self.std.copy_(std.clamp_min(max(0.1 * float(std.mean()), 1e-6)))

    def name_labels(self, names: Tensor, features: Rows) -> None:
        """Start the label similarities from the features of the label names.

        Args:
            names: `(n_labels, n_features)`.
            features: of train, `(n_docs, n_features)`.
        """

        def vectors() -> Iterator[Tensor]:
            return (functional.normalize(block, dim=1) for block in blocks(features, self.width))

        center = total(block.sum(0) for block in vectors()) / len(features)
        apart = (block - center for block in vectors())
        covariance = total(block.T @ block for block in apart) / len(features)
        moments = [moment.to(self.mean) for moment in (center, covariance)]
        for similarity in self.similarities:
            cast(LabelSimilarity, similarity).fit(names[:, : self.width], *moments)

    def start_from_prior(self, class_freq: Tensor, train_num: int) -> None:
        """Set the last bias to the labels' log odds, smoothed by one document on each side."""
        prior = (class_freq + 1.0) / (train_num + 2.0)
        with torch.no_grad():
            self.layers[-1].get_parameter("bias").copy_(torch.logit(prior))

    def ensemble(self, features: Tensor, labels: Columns = EVERY) -> list[Tensor]:
        """Logits of each ensemble head; each gets its own loss, so none relies on another.

        Args:
            features: `(batch, n_features)`.
            labels: which columns are wanted.
        """
        units = self.layers[:-1]((features - self.mean) / self.std)
        last = cast(nn.Linear, self.layers[-1])
        logits = functional.linear(units, last.weight[labels], last.bias[labels])
        if not self.similarities:
            return [logits]
        vectors = features[:, : self.width]
        beside, alone = (similarity(vectors, labels) for similarity in self.similarities)
        return [logits + beside, alone]

    def forward(self, features: Tensor) -> Tensor:
        return torch.stack(self.ensemble(features)).mean(0)


class Classifier(PreTrainedModel):
    """Encoder, pooling and head; `forward` returns logits, `scores` returns σ(z) for texts."""

    config: ClassifierConfig
    config_class = ClassifierConfig
    base_model_prefix = "encoder"
    tokenizer: PreTrainedTokenizerBase

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        settings = dict(config.encoder)
        encoder = AutoConfig.for_model(settings.pop("model_type"), **settings)
        self.encoder = AutoModel.from_config(encoder)
        n_features = N_POOLS * encoder.hidden_size
        n_labels = len(config.id2label or {})
        self.head = Head(n_features, n_labels, config.hidden, config.dropout, config.label_names)
        self.post_init()

    @property
    def labels(self) -> list[str]:
        """Label names in column order."""
        by_column = {int(column): name for column, name in (self.config.id2label or {}).items()}
        return [by_column[column] for column in range(len(by_column))]

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Pooled features `(batch, 4 · hidden_size)`.

        Mean, first token and maximum of the last layer, and the mean of the middle layer, which
        keeps more of the words than the last one.
        """
        out = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True
        )
        states = out.hidden_states
        last, middle = out.last_hidden_state.float(), states[len(states) // 2].float()
        mask = attention_mask.unsqueeze(-1).to(last.dtype)
        n_tokens = mask.sum(1).clamp_min(1)
        highest = last.masked_fill(mask == 0, torch.finfo(last.dtype).min).amax(1)
        return torch.cat(
            [
                (last * mask).sum(1) / n_tokens,
                last[:, 0],
                highest,
                (middle * mask).sum(1) / n_tokens,
            ],
            dim=1,
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Any]:
        """Logits for token ids and mask, both `(batch, seq_len)`.

        Returns:
            `logits` `(batch, n_labels)`, and in training mode also `ensemble`, the logits of each
            ensemble head.
        """
        ensemble = self.head.ensemble(self.features(input_ids, attention_mask))
        logits = torch.stack(ensemble).mean(0)
        return {"logits": logits, "ensemble": ensemble} if self.training else {"logits": logits}

    def logits(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits z `(batch, n_labels)` for token ids and mask, both `(batch, seq_len)`."""
        return self.head(self.features(input_ids, attention_mask))

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, truncated to `config.max_length`."""
        return tokenize(self.tokenizer, texts, self.config.max_length)

    def scores(self, texts: Sequence[str], *, n_jobs: int | None = None) -> np.ndarray:
        """Scores σ(z) `(n_docs, n_labels)` float32 of `texts`, in their order.

        Args:
            texts: the documents.
            n_jobs: threads that compute a batch each, on a CPU, which changes no score; None: one
                per core.
        """
        self.eval()
        out = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        batches = self.batches(self.tokenize(texts))
        for rows, found in each_in_a_thread(self._scored, batches, self.device.type, n_jobs):
            out[rows] = found
        return out

    @torch.inference_mode()
    def _scored(self, batch: tuple[np.ndarray, Tensor, Tensor]) -> tuple[np.ndarray, np.ndarray]:
        rows, input_ids, mask = batch
        return rows, self.logits(input_ids, mask).float().sigmoid().cpu().numpy()

    def batches(
        self, token_ids: Sequence[Sequence[int]], batch_tokens: int | None = None
    ) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """Yield rows, padded ids and mask of length-sorted batches of at most `batch_tokens`.

        None: as many as suit the device.
        """
        batch_tokens = batch_tokens or (CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS)
        lengths = np.array([len(ids) for ids in token_ids])
        for rows in token_budget_batches(lengths, batch_tokens):
            batch = {"input_ids": [list(token_ids[row]) for row in rows]}
            padded = self.tokenizer.pad(batch, return_tensors="pt").to(self.device)
            yield rows, padded["input_ids"], padded["attention_mask"]


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int
) -> list[list[int]]:
    """Token ids of each text with the special tokens, truncated to `max_length` tokens."""
    if not texts:
        return []
    cut = [beginning(tokenizer, text, max_length) for text in texts]
    return tokenizer(cut, truncation=True, max_length=max_length)["input_ids"]


def build(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    *,
    hidden: int,
    dropout: float,
    max_length: int,
    label_names: bool = False,
) -> Classifier:
    """A classifier over `encoder` with a new head.

    Args:
        encoder: its weights are copied.
        tokenizer: of the encoder.
        labels: in column order.
        hidden: see `Head`.
        dropout: see `Head`.
        max_length: tokens; the rest of a text is cut.
        label_names: see `Head`.
    """
    settings = encoder.config.to_dict()
    settings.pop("_name_or_path", None)  # a path on this machine; the weights are copied
    config = ClassifierConfig(
        encoder=settings,
        hidden=hidden,
        dropout=dropout,
        max_length=max_length,
        label_names=label_names,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    model = Classifier(config)
    model.encoder.load_state_dict(encoder.state_dict())
    model.tokenizer = tokenizer
    return model


def load(folder: Path) -> Classifier:
    """The classifier that `save` wrote to `folder`, in evaluation mode.

    Raises:
        ValueError: weights are missing or left over, as after a change of the model's structure;
            transformers alone would fill the gaps at random.
    """
    with no_bars():
        loaded: Any = Classifier.from_pretrained(folder, output_loading_info=True)
    model, found = loaded
    wrong = sorted([*found["missing_keys"], *found["unexpected_keys"]])
    if wrong:
        raise ValueError(
            f"its weights do not match the model: {wrong[0]} and {len(wrong) - 1} more"
        )
    # Without the config, the loader would read config.json and not know its model type.
    model.tokenizer = AutoTokenizer.from_pretrained(folder, config=model.config)
    return model.eval()


def save(model: Classifier, folder: Path) -> None:
    """Write `model` and its tokenizer to `folder` (config.json, safetensors, tokenizer files)."""
    with no_bars():
        model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
