"""Time and memory of the `report` stage on simulated evaluations, small and very large.

`python -m benchmarks.report [small] [large]`; the large case needs 6 GB of disk for its scores.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from components import report
from components._formats.assignment import write_assignment
from components._formats.corpus import write_corpus
from components._frame.params import load_params
from longtail import label_matrix
from longtail.frequency import class_frequencies, cooccurrence, statistics
from longtail.models import classifier

CASES = {
    # test documents, labels, labels per document, train documents, bootstrap draws
    "small": (3_000, 90, 2.0, 7_800, 1000),
    "large": (45_000, 18_211, 5.0, 45_000, 1000),
}
WORDS = [f"w{i}" for i in range(20_000)]
ENCODER = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
           "intermediate_size": 1536, "max_position_embeddings": 512}  # fmt: skip
OUTPUTS = {"metrics": "metrics.json", "details": "report.json", "page": "report.html",
           "markdown": "report.md", "figures": "figures"}  # fmt: skip
INPUTS = {
    "corpus": "corpus.parquet", "assignment": "assignment.parquet",
    "frequencies": "frequencies.json", "cooccurrence": "cooccurrence.npz",
    "findings": "findings.json", "suspects": "suspects.csv", "split_report": "split.json",
    "baseline_test_scores": "baseline", "model": "model", "test_scores": "test",
    "comparison": "comparison", "history": "history.csv", "summary": "summary.json",
    "thresholds": "thresholds.json",
}  # fmt: skip


def label_lists(
    n_docs: int, n_labels: int, per_doc: float, rng: np.random.Generator
) -> list[list[str]]:
    """Labels with a Zipf tail, each at least once."""
    share = 1 / (10 + np.arange(n_labels))
    share /= share.sum()
    sizes = 1 + rng.poisson(per_doc - 1, n_docs)
    drawn = rng.choice(n_labels, size=int(sizes.sum()), p=share)
    ends = np.cumsum(sizes)
    lists = [
        sorted({f"label {i:05d}" for i in drawn[e - s : e]})
        for s, e in zip(sizes, ends, strict=True)
    ]
    for i in range(n_labels):
        lists[i % n_docs] = sorted({*lists[i % n_docs], f"label {i:05d}"})
    return lists


def network(labels: list[str]) -> classifier.Classifier:
    """A model of the default encoder's size with random weights, to time attributions."""
    vocabulary = {w: i for i, w in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=512
    )
    torch.manual_seed(0)
    encoder = BertModel(BertConfig(vocab_size=len(vocabulary), **ENCODER))
    return classifier.build(encoder, tokenizer, labels, hidden=512, dropout=0.3, max_length=128)


def write_scores(
    folder: Path,
    ids: list[str],
    labels: list[str],
    targets: sp.csr_matrix,
    noise: float,
    rng: np.random.Generator,
) -> None:
    """A score folder, written in blocks of rows."""
    folder.mkdir(parents=True)
    shape = targets.shape
    out = np.lib.format.open_memmap(folder / "scores.npy", "w+", np.float32, shape)
    for start in range(0, shape[0], 1000):
        truth = targets[start : start + 1000].toarray()
        z = 7.0 * truth - 6.0 + noise * rng.standard_normal(truth.shape, dtype=np.float32)
        out[start : start + 1000] = 1 / (1 + np.exp(-z))
    out.flush()
    sp.save_npz(folder / "targets.npz", targets.astype(np.int8))
    (folder / "index.json").write_text(json.dumps({"ids": ids, "labels": labels}))


def simulate(root: Path, n_test: int, n_labels: int, per_doc: float, n_train: int) -> None:
    rng = np.random.default_rng(0)
    lists = label_lists(n_test, n_labels, per_doc, rng) + label_lists(
        n_train, n_labels, per_doc, rng
    )
    lengths = rng.integers(30, 200, len(lists))
    texts = [" ".join(rng.choice(WORDS, size)) for size in lengths]
    ids = [f"d{i}" for i in range(len(lists))]
    frame = pd.DataFrame({"id": ids, "text": texts, "labels": lists})
    frame["source"] = rng.choice(["a", "b", "c"], len(lists))
    write_corpus(frame, root / "corpus.parquet")
    parts = ["test"] * n_test + ["train"] * n_train
    folds = [-1] * n_test + [i % 5 for i in range(n_train)]
    retired = [False] * len(ids)
    write_assignment(root / "assignment.parquet", ids, parts, ids, retired, folds)
    labels = label_matrix.vocabulary(lists)
    test = label_matrix.encode(lists[:n_test], labels)
    train = label_matrix.encode(lists[n_test:], labels)
    folders = {"model": root / "test", "baseline": root / "baseline",
               "bce": root / "comparison" / "bce" / "test"}  # fmt: skip
    for name, noise in (("model", 1.4), ("baseline", 1.7), ("bce", 1.5)):
        write_scores(folders[name], ids[:n_test], labels, test, noise, rng)
    write_json(root, labels, test, train, folders)
    model = network(labels)
    classifier.save(model, root / "model")


def write_json(
    root: Path,
    labels: list[str],
    test: sp.csr_matrix,
    train: sp.csr_matrix,
    folders: dict[str, Path],
) -> None:
    freq, found = class_frequencies(train), class_frequencies(test)
    cuts = {
        name: {"thresholds": [0.6] * len(labels), "blend_weight": 0.0, "val": {}}
        for name in folders
    }
    files = {
        "frequencies.json": {
            "labels": labels, "class_freq": freq.tolist(), "val_freq": [0] * len(labels),
            "test_freq": found.tolist(), "head": 35, "tail": 8,
            "statistics": {"train": statistics(train), "test": statistics(test)},
        },
        "thresholds.json": {"objective": "fixed", "labels": labels, "models": cuts,
                            "without": {"encoder": "baseline", "loss": "bce"}},
        "findings.json": {}, "split.json": {}, "summary.json": {"loss": "db"},
    }  # fmt: skip
    for name, value in files.items():
        (root / name).write_text(json.dumps(value))
    for name in ("history.csv", "suspects.csv"):
        (root / name).write_text("")
    sp.save_npz(root / "cooccurrence.npz", cooccurrence(train))


def measure(root: Path, n_draws: int) -> None:
    """Run the stage on the files in `root`; called in its own process."""
    torch.set_num_threads(2)
    paths = {name: root / file for name, file in {**INPUTS, **OUTPUTS}.items()}
    start, cpu = time.perf_counter(), time.process_time()
    params = load_params("report", report.Params).model_copy(update={"n_draws": n_draws})
    report.run(**paths, params=params)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    size = paths["page"].stat().st_size / 2**20
    found = {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_GiB": round(peak, 2),
        "page_MiB": round(size, 2),
    }
    print(json.dumps(found))


def main(names: list[str]) -> None:
    for name in names or list(CASES):
        *shape, n_draws = CASES[name]
        root = Path(tempfile.mkdtemp(prefix=f"benchmark-report-{name}-"))
        try:
            simulate(root, *shape)
            command = [sys.executable, "-m", "benchmarks.report", "--measure", str(root),
                       str(n_draws)]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.strip().splitlines()[-1])
            print(f"{name:6} {shape[0]:>7,} documents × {shape[1]:>6,} labels  {found}")
        finally:
            shutil.rmtree(root)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(sys.argv[1:])
