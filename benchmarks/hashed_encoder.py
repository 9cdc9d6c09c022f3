"""Makes the stand-in for an encoder that `benchmarks.sizes` needs where the real one takes a day.

`python -m benchmarks.hashed_encoder FOLDER CORPUS.parquet [WIDTH]` writes a transformer whose only
layer changes nothing, and whose embedding of each of the corpus's words is drawn at random: the
mean of a text's vectors is a random projection of its bag of words, as feature hashing gives.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
MOST_WORDS = 200_000


def tokenizer_of(corpus: Path) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the most frequent words."""
    counts: Counter[str] = Counter()
    for batch in pq.ParquetFile(corpus).iter_batches(columns=["text"]):
        for text in batch.column(0).to_pylist():
            counts.update(re.findall(r"\w+", text.lower()))
    words = [*SPECIAL, *(word for word, _ in counts.most_common(MOST_WORDS))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip


def main(folder: Path, corpus: Path, width: int = 128) -> None:
    tokenizer = tokenizer_of(corpus)
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=1,
            initializer_range=1.0,
        )
    )
    with torch.no_grad():  # a bag has no order, and no sentences
        model.embeddings.position_embeddings.weight.zero_()
        model.embeddings.token_type_embeddings.weight.zero_()
        layer = model.encoder.layer[0]
        for dense in (layer.attention.output.dense, layer.output.dense):
            dense.weight.zero_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
