"""What the SVM loses if a label learns from some of the documents without it.

`python -m benchmarks.negatives FOLDER [NEGATIVES…]` fits train and scores val of a folder in which
`validate` and `split` have run, at C = 1 in one thread: with every number of negatives and with all
of them, each with all coefficients and without the small ones.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from components._formats.assignment import read_parts
from components._formats.learned import learned
from longtail.evaluation.keeping import EVERYTHING, Keep
from longtail.models.linear import fit_svm


def main(folder: Path, *numbers: int) -> None:
    labels, parts = read_parts(
        folder / "artifacts/validate/corpus.parquet", folder / "artifacts/split/assignment.parquet"
    )
    docs, plan = learned(parts, folds=False)
    print(f"{len(parts['train'].ids):,} documents × {len(labels):,} labels in train")
    print("negatives,coefficients kept,CPU seconds,micro-F1,macro-F1")
    sparse = Keep(len(labels) - 1, 0.0)
    for negatives in (*numbers, len(docs.ids)):
        for keep in (EVERYTHING, sparse):
            start = time.process_time()
            model, _, [row] = fit_svm(
                docs.texts, docs.targets, plan, costs=[1.0], negatives=negatives, keep=keep,
                n_jobs=1,
            )  # fmt: skip
            seconds = time.process_time() - start
            coef = model.coef
            kept = np.count_nonzero(coef) if isinstance(coef, np.ndarray) else coef.nnz
            share = kept / (coef.shape[0] * coef.shape[1])
            f1 = ",".join(f"{100 * row[name]:.2f}" for name in ("micro_f1", "macro_f1"))
            print(f"{negatives},{share:.3f},{seconds:.1f},{f1}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
