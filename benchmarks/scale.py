"""Time and peak memory of every stage but `train` on a CSV of 0/1 columns: 40,000 × 1,500.

`python -m benchmarks.scale [FOLDER]`. Simulated scores, and an encoder of the default's size with
random weights, take the place of `train`. Needs 2 GB of disk; a FOLDER is kept, and stages that
have already run there are not run again.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
N_DOCS, N_LABELS = 40_000, 1_500
TABLE = "matrix.csv"


def write_matrix(folder: Path) -> None:
    """Write the synthetic corpus with one row per document and one 0/1 column per label."""
    from longtail.corpora.synthetic import synthetic_corpus

    records, _ = synthetic_corpus(N_DOCS, N_LABELS)
    names = sorted({label for record in records for label in record["labels"]})
    column = {name: i for i, name in enumerate(names)}
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "text", "annotator", "annotated_at", *names])
        for record in records:
            cells = ["0"] * len(names)
            for label in record["labels"]:
                cells[column[label]] = "1"
            when = record["annotated_at"].isoformat()
            table.writerow([record["id"], record["text"], record["annotator"], when, *cells])


def simulate_train(folder: Path) -> None:
    """Write what `train` does: scores σ(z) of val and test that rank labels well, and a model."""
    import numpy as np

    from benchmarks.report import network, write_scores
    from components._formats.assignment import read_parts
    from longtail.models import classifier

    labels, parts = read_parts(
        folder / "artifacts/validate/corpus.parquet", folder / "artifacts/split/assignment.parquet"
    )
    rng, out = np.random.default_rng(0), folder / "artifacts/train"
    for part in ("val", "test"):
        ids, targets = parts[part].ids, parts[part].targets
        write_scores(out / part, ids, labels, targets, 1.4, rng)
        for loss in ("bce", "cb_ntr", "db"):
            write_scores(out / "comparison" / loss / part, ids, labels, targets, 1.5, rng)
    classifier.save(network(labels), out / "model")
    said = folder / "reports/train"
    said.mkdir()
    (said / "summary.json").write_text(
        '{"loss": "db", "objective": "mean_f1", "label_names": false}'
    )
    (said / "history.csv").write_text("")


def measured(name: str, command: list[str], folder: Path) -> None:
    """Run one stage; its wall-clock and CPU seconds, peak memory and exit code go to times.csv."""
    log, times = folder / f"{name}.log", folder / "times.csv"
    if times.exists() and f"{name}," in times.read_text():
        return
    env = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    with log.open("w") as said:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
    wall, code = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
    if code:
        sys.exit(f"{name} ended with {code}; see {log}")
    row = f"{name},{wall:.1f},{used.ru_utime + used.ru_stime:.1f},{used.ru_maxrss / 2**20:.2f}"
    with times.open("a") as file:
        file.write(row + "\n")
    print(row, flush=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    run = [sys.executable, "-m"]
    # A child starts with the memory of its parent, so the parent stays small.
    this = [*run, "benchmarks.scale", "--make"]
    print("stage,seconds,CPU seconds,peak GiB")
    measured("(matrix)", [*this, "matrix", str(folder)], folder)
    measured("ingest", [*run, "components.ingest", "onehot", TABLE], folder)
    for name in ("validate", "split", "frequencies", "baseline", "thresholds", "report"):
        if name == "thresholds":
            measured("(train)", [*this, "train", str(folder)], folder)
        measured(name, [*run, *stages[name]["cmd"].split()[2:]], folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        {"matrix": write_matrix, "train": simulate_train}[sys.argv[2]](Path(sys.argv[3]))
    elif sys.argv[1:]:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="benchmark-scale-") as scratch:
            main(Path(scratch))
