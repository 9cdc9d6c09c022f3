"""Time and peak memory of `thresholds` and `report` on sparse and dense scores: 20,000 × 2,000.

`python -m benchmarks.sparse_scores FOLDER [BEST_LABELS]`. Simulated scores, of which 200 a document
are kept by default (2,000: all, dense), and an encoder with random weights take the place of
`baseline` and `train`. FOLDER is kept; stages that have already run there are not run again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from benchmarks.scale import ROOT, measured
from components._frame.pipeline import load_stages

N_DOCS, N_LABELS = "20000", "2000"


def simulate(folder: Path, best_labels: int) -> None:
    """Write what `baseline` and `train` do: scores that rank labels well, and a model."""
    import numpy as np
    import scipy.sparse as sp
    from scipy.special import expit

    from benchmarks.report import network
    from components._formats.assignment import Part, read_parts
    from components._formats.curve_file import write_curve
    from components._formats.learned import learned
    from components._formats.scores import Scores, write_scores
    from longtail.evaluation.keeping import Keep
    from longtail.models import classifier

    labels, parts = read_parts(
        folder / "artifacts/validate/corpus.parquet", folder / "artifacts/split/assignment.parquet"
    )
    keep, rng, out = Keep(best_labels, 0.001), np.random.default_rng(0), folder / "artifacts"

    def write(path: Path, part: Part, noise: float) -> None:
        def score(rows: slice) -> np.ndarray:
            truth: sp.csr_matrix = part.targets[rows]
            shape = truth.shape
            z = 7 * truth.toarray() - 6 + noise * rng.standard_normal(shape, dtype=np.float32)
            return expit(z).astype(np.float32)

        path.parent.mkdir(parents=True, exist_ok=True)
        scores = keep.scored(score, part.targets)
        write_scores(path, Scores(part.ids, labels, scores, part.targets))

    for name, part in {"val": learned(parts).scored, "test": parts["test"]}.items():
        write(out / "baseline" / name, part, 1.6)
        write(out / "train" / name, part, 1.4)
        for loss in ("bce", "cb_ntr", "db"):
            write(out / "train/comparison" / loss / name, part, 1.5)
    write_curve(out / "baseline/curve.parquet", [], labels, [])
    classifier.save(network(labels), out / "train/model")
    said = folder / "reports/train"
    said.mkdir(parents=True)
    facts = '{"loss": "db", "objective": "mean_f1", "label_names": false, "kept_since": null}'
    (said / "summary.json").write_text(facts)
    (said / "history.csv").write_text("")


def main(folder: Path, best_labels: str = "200") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["scores"]["best_labels"] = int(best_labels)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    run = [sys.executable, "-m"]
    print("stage,seconds,CPU seconds,peak GiB")
    corpus = ["components.ingest", "synthetic", "--docs", N_DOCS, "--labels", N_LABELS]
    measured("ingest", [*run, *corpus], folder)
    for stage in load_stages(ROOT / "dvc.yaml"):
        if stage.name == "thresholds":  # a child of its own, so that this one stays small
            this = [*run, "benchmarks.sparse_scores", "--make", str(folder), best_labels]
            measured("(scores)", this, folder)
        if stage.name not in ("baseline", "train"):
            measured(stage.name, [*run, *stage.argv[2:]], folder)


if __name__ == "__main__":
    if sys.argv[1] == "--make":
        simulate(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
