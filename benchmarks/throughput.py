"""Documents per second of training and inference, compared with the published recipe.

    python -m benchmarks.throughput --corpus CORPUS.parquet              # MiniLM; Reuters
    python -m benchmarks.throughput --random-init bert-base --docs 2048  # no weights needed

The recipe: every text padded to 512 tokens, batches of 32, float32, all weights trained, dropout
0.1, AdamW. Ours: `make_trainer`, which `fine_tune` runs, and `Classifier.scores`, on the same texts
with the same encoder, head and loss (DB), once with texts truncated to 512 tokens as well, once to
128, the profile's default. Training is in bf16 if the device computes in it. In each turn all peers
take the same documents, one after the other; the ratio is the median over the turns. A GPU is used
if there is one (CUDA_VISIBLE_DEVICES= prevents it). Evaluation, checkpoints and tokenizing before
training (once per run) are left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from transformers import AutoModel, BertConfig, PreTrainedModel, PreTrainedTokenizerBase

from components._frame.params import load_params
from components._train.finetuned import fine_tuning
from components._train.params import Params
from longtail.corpora.synthetic import synthetic_corpus
from longtail.frequency import class_frequencies
from longtail.label_matrix import encode, vocabulary
from longtail.losses import make_loss
from longtail.models.bundled import BUNDLED
from longtail.models.classifier import Classifier, build
from longtail.models.documents import Documents
from longtail.models.encoder import load_encoder
from longtail.models.finetune import FineTuning, make_trainer

PADDED, RECIPE_BATCH, RECIPE_DROPOUT = 512, 32, 0.1
Seconds = tuple[float, float]  # elapsed, of CPU
Encoder = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def read_corpus(path: Path | None) -> tuple[list[str], sp.csr_matrix, list[str]]:
    """Texts, targets `(n_docs, n_labels)` and labels; the synthetic corpus if `path` is None."""
    frame = pd.read_parquet(path) if path else pd.DataFrame(synthetic_corpus(4000)[0])
    if "split" in frame and (frame["split"] == "train").any():
        frame = frame[frame["split"] == "train"]
    frame = frame.sample(frac=1, random_state=0)
    labels = vocabulary(frame["labels"])
    return frame["text"].tolist(), encode(frame["labels"].tolist(), labels), labels


def read_encoder(random_init: bool) -> Encoder:
    """MiniLM, or BERT-base with random weights and MiniLM's tokenizer, which is BERT's."""
    encoder, tokenizer = load_encoder(BUNDLED)
    return (AutoModel.from_config(BertConfig()) if random_init else encoder), tokenizer


class Peers:
    """Everything that trains or scores, on documents `rows` of one corpus."""

    def __init__(
        self, texts: list[str], targets: sp.csr_matrix, labels: list[str], encoder: Encoder
    ) -> None:
        self.texts, self.targets, self.labels, self.encoder = texts, targets, labels, encoder
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        class_freq = class_frequencies(targets)
        self.loss = make_loss("db", class_freq, len(texts)).to(self.device)

    def model(self, max_length: int) -> Classifier:
        torch.manual_seed(0)
        model = build(*self.encoder, self.labels, hidden=0, dropout=0, max_length=max_length)
        return torch.nn.Module.to(model, self.device)

    def train_recipe(self, rows: np.ndarray) -> Seconds:
        model = self.model(PADDED).train()
        for module in model.encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = RECIPE_DROPOUT
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        encoded = self._padded(model, rows)
        targets = torch.from_numpy(self.targets[rows].toarray().astype(np.float32))

        def train() -> None:
            for start in range(0, len(rows), RECIPE_BATCH):
                part = slice(start, start + RECIPE_BATCH)
                logits = model.logits(*(t[part].to(self.device) for t in encoded))
                self.loss(logits, targets[part].to(self.device)).backward()
                optimizer.step()
                optimizer.zero_grad()

        return self._seconds(train)

    def train_ours(self, rows: np.ndarray, how: FineTuning, max_length: int) -> Seconds:
        model = self.model(max_length)
        ids = model.tokenize([self.texts[row] for row in rows])
        documents = Documents(ids, self.targets[rows])
        with tempfile.TemporaryDirectory() as folder:
            trainer = make_trainer(
                model, self.loss, documents, documents, how=how, checkpoints=Path(folder)
            )
            trainer.args.eval_strategy = trainer.args.save_strategy = "no"
            trainer.args.load_best_model_at_end = False
            return self._seconds(trainer.train)

    def score_recipe(self, rows: np.ndarray) -> Seconds:
        model = self.model(PADDED).eval()

        def score() -> None:
            encoded = self._padded(model, rows)
            for start in range(0, len(rows), RECIPE_BATCH):
                part = slice(start, start + RECIPE_BATCH)
                model.logits(*(t[part].to(self.device) for t in encoded)).sigmoid().cpu()

        with torch.no_grad():
            return self._seconds(score)

    def score_ours(self, rows: np.ndarray, max_length: int) -> Seconds:
        model = self.model(max_length)
        return self._seconds(lambda: model.scores([self.texts[row] for row in rows]))

    def _padded(self, model: Classifier, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        encoded = model.tokenizer(
            [self.texts[row] for row in rows],
            padding="max_length",
            truncation=True,
            max_length=PADDED,
            return_tensors="pt",
        )
        return encoded["input_ids"], encoded["attention_mask"]

    def _seconds(self, act: Callable[[], object]) -> Seconds:
        wait = torch.cuda.synchronize if self.device == "cuda" else lambda: None
        wait()
        started = time.perf_counter(), time.process_time()
        act()
        wait()
        return time.perf_counter() - started[0], time.process_time() - started[1]


def one_epoch() -> FineTuning:
    """The settings of params.yaml, for an epoch."""
    return replace(fine_tuning(load_params("train", Params)), epochs=1)


def peers_of(peers: Peers) -> dict[str, dict[str, Callable[[np.ndarray], Seconds]]]:
    """For each task, the recipe first, then ours."""
    how = one_epoch()
    whole = replace(how, frozen_layers=-1)
    deeper = replace(how, frozen_layers=peers.encoder[0].config.num_hidden_layers // 2)
    return {
        "training": {
            "recipe, 512 tokens padded": peers.train_recipe,
            "ours, nothing frozen, float32, up to 512": lambda rows: peers.train_ours(
                rows, replace(whole, bf16=False), 512
            ),
            "ours, nothing frozen, up to 512": lambda rows: peers.train_ours(rows, whole, 512),
            "ours, embeddings frozen (default), up to 512": lambda rows: peers.train_ours(
                rows, how, 512
            ),
            "ours, lower half frozen too, up to 512": lambda rows: peers.train_ours(
                rows, deeper, 512
            ),
            "ours, embeddings frozen, up to 128 (default)": lambda rows: peers.train_ours(
                rows, how, 128
            ),
        },
        "inference": {
            "recipe, 512 tokens padded": peers.score_recipe,
            "ours, up to 512": lambda rows: peers.score_ours(rows, 512),
            "ours, up to 128 (default)": lambda rows: peers.score_ours(rows, 128),
        },
    }


def compare(
    task: str,
    runs: dict[str, Callable[[np.ndarray], Seconds]],
    n_docs: int,
    turns: list[np.ndarray],
) -> None:
    spent: dict[str, list[Seconds]] = {name: [] for name in runs}
    for run in runs.values():
        run(turns[0][:8])  # warm-up
    for rows in turns:
        for name, run in runs.items():
            spent[name].append(run(rows))
    first = next(iter(spent.values()))
    print(f"\n| {task} | docs/s | × recipe | docs per CPU s | × recipe, CPU s |")
    print("|---|---|---|---|---|")
    for name, mine in spent.items():
        cells = []
        for clock in (0, 1):
            cells.append(f"{statistics.median(n_docs / s[clock] for s in mine):.2f}")
            ratios = [a[clock] / b[clock] for a, b in zip(first, mine, strict=True)]
            cells.append(f"{statistics.median(ratios):.2f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="default: 4,000 synthetic documents")
    parser.add_argument("--random-init", choices=["bert-base"], help="default: MiniLM's weights")
    parser.add_argument("--docs", type=int, default=256, help="documents per turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", default=["training", "inference"])
    args = parser.parse_args()
    texts, targets, labels = read_corpus(args.corpus)
    peers = Peers(texts, targets, labels, read_encoder(bool(args.random_init)))
    device = torch.cuda.get_device_name() if peers.device == "cuda" else "cpu"
    print(
        f"{args.random_init or BUNDLED} on {device}, {torch.get_num_threads()} threads, "
        f"{args.turns} turns of {args.docs} documents, torch {torch.__version__}"
    )
    turns = [np.arange(args.docs) + turn * args.docs for turn in range(args.turns)]
    if turns[-1][-1] >= len(texts):
        parser.error(f"{args.turns} turns of {args.docs} documents need more than {len(texts)}.")
    for task in args.tasks:
        compare(task, peers_of(peers)[task], args.docs, turns)


if __name__ == "__main__":
    main()
