"""How many of the texts most like a label, by its name and description, have the label.

    python -m benchmarks.new_labels CORPUS.parquet ASSIGNMENT.parquet [DESCRIPTIONS.yaml]

Every label in turn is taken for one that no model knows, and train for the pool, as in `longtail
queue`. LONGTAIL_CACHE holds the features of the encoder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml

from benchmarks.scores import read
from components._cli.new_labels import likeness
from components._formats.labels_file import AllowedLabels

BEST = 20  # texts per label
BOUNDS = {"all labels": (1, np.inf), "under 10 documents": (1, 10), "10 to 49": (10, 50),
          "50 and more": (50, np.inf)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("assignment", type=Path)
    parser.add_argument("descriptions", type=Path, nargs="?", help="label: text, in YAML")
    given = parser.parse_args()
    told = {}
    if given.descriptions:
        told = yaml.safe_load(given.descriptions.read_text(encoding="utf-8"))
    data = read(given.corpus, given.assignment, None)
    texts, targets = data.parts["train"].texts, data.parts["train"].targets.toarray()
    found = likeness(texts, data.labels, AllowedLabels(descriptions=told))
    best = np.argsort(-found, axis=0, kind="stable")[:BEST]
    hits = np.take_along_axis(targets, best, axis=0).sum(axis=0)
    counts = targets.sum(axis=0)
    print(
        f"| documents of the label | labels | right among {BEST} | at random | with one at least |"
    )
    print("|---|---|---|---|---|")
    for name, (low, high) in BOUNDS.items():
        mine = (counts >= low) & (counts < high)
        if mine.any():
            print(
                f"| {name} | {mine.sum()} | {hits[mine].mean() / BEST:.1%} | "
                f"{counts[mine].mean() / len(texts):.2%} | {(hits[mine] > 0).mean():.0%} |"
            )


if __name__ == "__main__":
    main()
